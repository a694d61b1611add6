// The body of an agent's answer, as it comes.
#pragma once

#include "blobs/stream.hpp"
#include "cli/client.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>
#include <string>

namespace davit {

class interrupts;

/// Blocks while nothing comes, five minutes at most.
class http_body final : public blobs::byte_reader {
public:
  /// Throws a command_failure if the answer is not 2xx. With `stop`, the first signal ends reading with an error.
  http_body(api_client& client, transport::http_request request, const interrupts* stop);
  ~http_body() override;

  blobs::result<std::size_t> read(std::span<char> into) override;
  /// A signal came.
  bool interrupted() const { return control_->cancelled(); }

private:
  template <class Work>
  void run(Work work);

  api_client& client_;
  transport::control_ptr control_ = std::make_shared<transport::call_control>();
  boost::asio::posix::stream_descriptor signals_;
  std::unique_ptr<transport::response_stream> stream_;
  std::string_view ready_; ///< What has come and was not asked for yet.
};

} // namespace davit
