// Sends pieces of logs to the services that keep them.
#pragma once

#include "shipping/aws_signature.hpp"
#include "transport/byte_stream.hpp"
#include "transport/http_client.hpp"
#include "shipping/log_format.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace davit::shipping {

using transport::awaitable;
using transport::call_options;
using transport::result;

/// What became of a delivery.
struct delivery {
  enum class verdict : std::uint8_t {
    taken, ///< All of it is there.
    again, ///< The service is away, or is busy: send the same again.
    never, ///< The service will not have it: there is no point in sending it again.
  };
  verdict how = verdict::taken;
  std::string message;       ///< The service's own words, if it was not taken.
  duration wait{0};          ///< How long the service asks to be left alone.
  std::uint64_t refused = 0; ///< Of the batches that were taken, how many the service has thrown something away of.
  std::string kind{};        ///< The service's own name for what went wrong, if it has one.
};

/// One remote place. Everything runs on the executor, a strand.
class log_service {
public:
  virtual ~log_service() = default;

  /// Sends the records of one attempt, in their order. Sending the same twice does no harm but to be there twice.
  virtual awaitable<delivery> send(std::shared_ptr<const log_names> names,
                                   std::shared_ptr<const std::vector<log_record>> records, call_options options)
    = 0;
};

/// Of type loki, otlp or cloudwatch. The settings have been checked.
result<std::shared_ptr<log_service>> make_log_service(boost::asio::any_io_executor executor,
                                                      const sink_settings& settings,
                                                      std::function<const char*(const char*)> get);

} // namespace davit::shipping
