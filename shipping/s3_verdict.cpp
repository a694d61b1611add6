#include "shipping/s3_verdict.hpp"

#include "encoding/printable.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <iomanip>
#include <locale>
#include <sstream>

namespace davit::shipping {

namespace {

using namespace std::chrono_literals;

/// Amazon S3 lets clocks differ by 15 minutes; others may let them differ less.
constexpr auto usual_skew = 5min;
constexpr std::size_t longest_message = 300;

template <std::size_t Count>
bool is_one_of(std::string_view code, const std::array<std::string_view, Count>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// Amazon S3 API Reference, "Error responses"; and what Ceph, MinIO and Swift say.
constexpr std::array<std::string_view, 10> passing{
  "SlowDown",         "RequestTimeout",           "InternalError",       "ServiceUnavailable",
  "OperationAborted", "RequestLimitExceeded",     "ThrottlingException", "TooManyRequestsException",
  "BadDigest",        "XAmzContentSHA256Mismatch"};
constexpr std::array<std::string_view, 6> old_credentials{"ExpiredToken",       "ExpiredTokenException",
                                                          "InvalidToken",       "TokenRefreshRequired",
                                                          "InvalidAccessKeyId", "RequestExpired"};
constexpr std::array<std::string_view, 5> no_room{"QuotaExceeded", "EntityTooLarge", "XMinioStorageFull",
                                                  "InsufficientStorage", "InsufficientCapacity"};
constexpr std::array<std::string_view, 5> elsewhere{"PermanentRedirect", "TemporaryRedirect", "Redirect",
                                                    "AuthorizationHeaderMalformed",
                                                    "IllegalLocationConstraintException"};

struct meaning {
  blobs::errc code = blobs::errc::failed;
  std::string advice;
};

meaning meaning_of(const s3_trouble& trouble) {
  const auto& code = trouble.problem.code;
  if (trouble.status == 0)
    return {blobs::errc::failed,
            trouble.error.code == engine_errc::permission ? "" : "check the endpoint and the network"};
  if (is_one_of(code, no_room) || trouble.status == 507 || trouble.status == 413)
    return {blobs::errc::full, "make room there, or raise the quota"};
  if (code == "NoSuchBucket")
    return {blobs::errc::failed, "make the bucket, or correct its name"};
  if (code == "NoSuchUpload")
    return {blobs::errc::failed,
            "something has ended the upload, such as a rule of the bucket that ends old ones; try again"};
  if (trouble.status == 404)
    return {blobs::errc::missing, ""};
  if (trouble.status == 412)
    return {blobs::errc::missing, "something other than davit has replaced the object"};
  if (is_one_of(code, elsewhere) || trouble.status == 301 || trouble.status == 307
      || (trouble.status == 400 && code.empty() && !trouble.problem.region.empty())) // to HEAD
    return {blobs::errc::failed, trouble.problem.region.empty() ? "check the region and the endpoint"
                                                                : "set the region to " + trouble.problem.region};
  if (code == "SignatureDoesNotMatch" || is_one_of(code, old_credentials))
    return {blobs::errc::failed, "check the AWS credentials"};
  if (code == "RequestTimeTooSkewed")
    return {blobs::errc::failed, "set this machine's clock"};
  if (trouble.status == 403 || trouble.status == 401)
    return {blobs::errc::failed,
            "allow it in the policy of the bucket or of the credentials (s3:GetObject, s3:PutObject, "
            "s3:DeleteObject, s3:ListBucket, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads)"};
  if (judge(trouble) == s3_verdict::again)
    return {blobs::errc::failed, "try again later"};
  return {blobs::errc::failed, "check that the server knows S3's API"};
}

} // namespace

s3_verdict judge(const s3_trouble& trouble, std::optional<std::chrono::seconds> behind) {
  if (trouble.status == 0) {
    auto code = trouble.error.code;
    return is_connection_trouble(code) && code != engine_errc::permission ? s3_verdict::again : s3_verdict::never;
  }
  const auto& code = trouble.problem.code;
  if (is_one_of(code, passing))
    return s3_verdict::again;
  bool skewed = behind && (*behind > usual_skew || *behind < -usual_skew);
  // The answer to HEAD has no body, so it has no code.
  bool refused = trouble.status == 403 || (trouble.status == 400 && code.empty());
  if (code == "RequestTimeTooSkewed" || (skewed && refused))
    return s3_verdict::correct;
  if (is_one_of(code, old_credentials) || (refused && code.empty()))
    return s3_verdict::renew;
  if (trouble.status == 507 || trouble.status == 501 || is_one_of(code, no_room))
    return s3_verdict::never;
  if (trouble.status >= 500 || trouble.status == 429 || trouble.status == 408)
    return s3_verdict::again;
  return trouble.status >= 200 && trouble.status < 300 && code.empty() ? s3_verdict::done : s3_verdict::never;
}

s3_failure explain(const s3_trouble& trouble, const std::string& what, const std::string& done) {
  auto [code, advice] = meaning_of(trouble);
  s3_failure failure;
  failure.said = trouble.problem.code;
  failure.status = trouble.status;
  failure.error.code = code;
  auto& text = failure.error.message = what + " can't be " + done + ": ";
  if (trouble.status == 0) {
    text += encoding::printable(trouble.error.message);
  } else if (code == blobs::errc::missing && trouble.status == 404) {
    text += "it is not there";
  } else {
    text += "S3 answers " + std::to_string(trouble.status);
    if (!failure.said.empty())
      text += ' ' + encoding::printable(failure.said.substr(0, longest_message));
    if (!trouble.problem.message.empty())
      text += " (" + encoding::printable(trouble.problem.message.substr(0, longest_message)) + ')';
  }
  if (!advice.empty())
    text += "; " + advice;
  return failure;
}

std::optional<timestamp> parse_http_date(const std::string& text) {
  std::istringstream in{text};
  in.imbue(std::locale::classic());
  std::tm utc{};
  in >> std::get_time(&utc, "%a, %d %b %Y %H:%M:%S");
  if (!in)
    return std::nullopt;
  return timestamp{std::chrono::seconds{::timegm(&utc)}};
}

} // namespace davit::shipping
