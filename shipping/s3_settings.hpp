// A bucket of S3 where blobs are kept, and how it is reached.
#pragma once

#include "blobs/error.hpp"
#include "messages/units.hpp"
#include "transport/endpoint.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace davit::shipping {

/// Credentials are not here: they are found as AWS's own tools find them (find_aws_credentials).
struct s3_settings {
  std::string bucket;
  /// What all keys begin with, without a slash at either end; empty: they are at the top of the bucket. Another prefix
  /// below this one does no harm.
  std::string prefix;
  /// Such as eu-central-1. Empty: what AWS's environment variables and files say; and `us-east-1` if these say nothing
  /// and there is an endpoint.
  std::string region;
  /// `https://host:port` of another server than AWS's. Empty: https://s3.REGION.amazonaws.com.
  std::string endpoint;
  /// The bucket is in the path (https://host/bucket), not in the name of the host (https://bucket.host). It always is
  /// if its name has a dot, which no certificate covers, and if the host is an address.
  bool path_style = false;
  std::string tls_ca; ///< File, PEM: who signs the server's certificate. Empty: the system's authorities.

  duration patience{30'000}; ///< How long a request is made again that fails for a reason that passes.
  /// Of a part of an upload, and so of the memory of a writer; S3 takes no less than 5 MiB. Parts of objects of more
  /// than 10 GiB are larger.
  std::uint64_t part_bytes = 8 * 1024 * 1024;
  std::size_t read_bytes = 4 * 1024 * 1024; ///< The most that one request reads, and the memory of a reader.
};

/// Bucket and prefix of `s3://bucket/prefix`. The error says what to write instead.
blobs::result<s3_settings> parse_s3_url(std::string_view text);

/// `s3://bucket/prefix`
std::string to_string(const s3_settings& settings);

/// Where requests go, once the settings are put together.
struct s3_place {
  transport::endpoint where;
  std::string region;
  std::string path;  ///< Of the bucket, encoded: "/bucket", or "" if the host's name says which it is.
  std::string shown; ///< `s3://bucket/prefix`, for messages.
};

/// Checks the settings. `get` is std::getenv, or a test's.
blobs::result<s3_place> find_s3_place(const s3_settings& settings, const std::function<const char*(const char*)>& get);

} // namespace davit::shipping
