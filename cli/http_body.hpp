// The body of an agent's answer, as it comes.
#pragma once

#include "blobs/stream.hpp"
#include "cli/client.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>
#include <string>

namespace davit {

class interrupts;

/// Something that may pass: a lost connection, an agent that is being restarted or has too much to do.
struct passing_failure : command_failure {};

/// Whether an answer of this status may be another one later. A disk that is full (507) is said once and for all.
inline bool may_pass(int status) {
  return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 507);
}

/// Blocks while nothing comes, five minutes at most.
class http_body final : public blobs::byte_reader {
public:
  /// Throws a command_failure if the answer is not 2xx, a passing_failure if it may be later. With `stop`, the first
  /// signal ends reading with an error.
  http_body(api_client& client, transport::http_request request, const interrupts* stop);
  ~http_body() override;

  blobs::result<std::size_t> read(std::span<char> into) override;
  /// A signal came.
  bool interrupted() const { return control_->cancelled(); }
  /// The connection was lost before the end.
  bool lost() const { return lost_; }

private:
  template <class Work>
  void run(Work work);

  api_client& client_;
  transport::control_ptr control_ = std::make_shared<transport::call_control>();
  boost::asio::posix::stream_descriptor signals_;
  std::unique_ptr<transport::response_stream> stream_;
  bool lost_ = false;
  std::string_view ready_; ///< What has come and was not asked for yet.
};

} // namespace davit
