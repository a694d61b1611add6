// Requests to one bucket of S3, signed, and made again if they fail for a reason that passes.
#pragma once

#include "shipping/aws_signature.hpp"
#include "shipping/s3_settings.hpp"
#include "shipping/s3_verdict.hpp"
#include "transport/http_client.hpp"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace davit::shipping {

struct s3_request {
  std::string method = "GET";
  std::string key;                                        ///< Of the object, with the prefix. Empty: the bucket.
  std::vector<std::pair<std::string, std::string>> query; ///< Not encoded.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view body;                  ///< Must outlive the call.
  std::string done = "used";              ///< For messages: what the object can't be.
  std::size_t max_body = 4 * 1024 * 1024; ///< Of the answer.
  duration answer_within{20'000};         ///< Beside the time for the bytes.
  bool once = false;                      ///< Not made again.
  /// Whether a body of 200 is what it should be; else the answer counts as lost.
  std::function<bool(std::string_view)> is_valid{};
};

/// Any number of threads may call at once: each call has a connection for itself, and runs on the caller's thread.
class s3_client {
public:
  using environment = std::function<const char*(const char*)>;
  template <class T>
  using result = boost::system::result<T, s3_failure>;

  /// `get` is std::getenv, or a test's: where the credentials are looked for.
  s3_client(const s3_settings& settings, s3_place place, environment get);
  ~s3_client();

  /// An answer of 2xx that is not an error after all (CompleteMultipartUpload can begin with 200, and fail then).
  result<transport::http_response> call(const s3_request& request);

  /// For messages: `s3://bucket/prefix/KEY`; without a key, the bucket and the prefix.
  std::string shown(std::string_view key) const;
  /// The server's clock, as far as it is known.
  timestamp now() const;
  const s3_settings& settings() const { return settings_; }

private:
  struct lane;
  struct digests {
    std::string sha256, md5;
  };
  transport::result<transport::http_response> attempt(const s3_request& request, const digests& body);
  transport::awaitable<transport::result<transport::http_response>>
  send(lane& with, const s3_request& request, const digests& body);
  transport::awaitable<transport::result<aws_credentials>> credentials(lane& with);
  transport::http_request sign(const s3_request& request, const digests& body, const aws_credentials& with) const;
  std::chrono::seconds behind() const;
  duration backoff(unsigned tries);
  std::unique_ptr<lane> take_lane();
  void give_back(std::unique_ptr<lane> one);

  s3_settings settings_;
  s3_place place_;
  environment get_;
  mutable std::mutex mutex_; ///< Of what follows. It is not held while anything is waited for.
  std::vector<std::unique_ptr<lane>> idle_;
  std::optional<aws_credentials> credentials_;
  std::chrono::seconds behind_{0}; ///< This machine's clock, behind the server's.
  std::mt19937_64 random_;
};

} // namespace davit::shipping
