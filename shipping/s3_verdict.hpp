// What an answer of S3 means for the request, and for people. Pure.
#pragma once

#include "blobs/error.hpp"
#include "shipping/s3_xml.hpp"
#include "transport/error.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace davit::shipping {

enum class s3_verdict : std::uint8_t {
  done,
  again,   ///< The same request may succeed a little later.
  renew,   ///< The credentials have expired, or were replaced: look for others.
  correct, ///< The clocks differ: take the server's.
  never,
};

/// What went wrong, whether the server said it or nobody answered.
struct s3_trouble {
  int status = 0;         ///< Of HTTP; 0: there was no answer.
  s3_problem problem;     ///< What the server said, if it said something.
  transport::error error; ///< Of the connection, if there was no answer.
};

/// `behind`: how long this machine's clock is behind the server's, if the answer has a date.
s3_verdict judge(const s3_trouble& trouble, std::optional<std::chrono::seconds> behind = std::nullopt);

/// A request that failed. What it is for a caller of the medium, and S3's own name for it.
struct s3_failure {
  blobs::error error;
  int status = 0;   ///< Of HTTP; 0: there was no answer.
  std::string said; ///< S3's own name for it; empty: it gave none.
};

[[noreturn]] inline void throw_exception_from_error(const s3_failure& failure, const boost::source_location&) {
  throw std::runtime_error(failure.error.message);
}

/// A sentence with what to do. `what` can't be `done`: "s3://bucket/prefix/KEY" can't be "written".
s3_failure explain(const s3_trouble& trouble, const std::string& what, const std::string& done);

/// HTTP's form of a time (RFC 9110, 5.6.7), whatever the locale.
std::optional<timestamp> parse_http_date(const std::string& text);

} // namespace davit::shipping
