#include "shipping/s3_settings.hpp"

#include "shipping/aws_profile.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>

namespace davit::shipping {

namespace {

constexpr auto small_and_digits = "abcdefghijklmnopqrstuvwxyz0123456789";
/// What can stand in a key without being encoded: Amazon S3 User Guide, "Naming Amazon S3 objects".
constexpr auto safe_in_keys = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
constexpr std::size_t longest_prefix = 512;

bool is_address(const std::string& host) {
  boost::system::error_code ec;
  boost::asio::ip::make_address(host, ec);
  return !ec;
}

/// Amazon S3 User Guide, "General purpose bucket naming rules"; underscores are other servers'. Empty: it is right.
std::string wrong_bucket(const std::string& name) {
  if (name.empty())
    return "the name of the bucket is missing";
  if (name.size() < 3 || name.size() > 63)
    return "the name of a bucket has 3 to 63 characters";
  if (name.find_first_not_of(std::string{small_and_digits} + "-._") != std::string::npos)
    return "the name of a bucket has small letters, digits, dots and dashes only";
  if (std::string{small_and_digits}.find(name.front()) == std::string::npos
      || std::string{small_and_digits}.find(name.back()) == std::string::npos)
    return "the name of a bucket begins and ends with a letter or a digit";
  if (name.find("..") != std::string::npos || is_address(name))
    return "the name of a bucket is not an IP address, and has no two dots side by side";
  return {};
}

std::string wrong_prefix(const std::string& prefix) {
  if (prefix.size() > longest_prefix)
    return "the prefix is longer than " + std::to_string(longest_prefix) + " characters";
  if (prefix.find_first_not_of(safe_in_keys) != std::string::npos)
    return "the prefix may have letters, digits, slashes, dashes, dots and underscores only";
  auto inside = '/' + prefix + '/';
  for (auto part : {"//", "/./", "/../"})
    if (!prefix.empty() && inside.find(part) != std::string::npos)
      return "the prefix has an empty part, \".\" or \"..\", or a slash at its begin or end";
  return {};
}

} // namespace

blobs::result<s3_settings> parse_s3_url(std::string_view text) {
  auto bad = [&](const std::string& why) {
    return blobs::error{blobs::errc::invalid, "\"" + std::string{text.substr(0, 200)} + "\" is not a place in S3: "
                                                + why + "; write s3://bucket or s3://bucket/prefix"};
  };
  constexpr std::string_view scheme = "s3://";
  if (!text.starts_with(scheme))
    return bad("it does not begin with s3://");
  auto rest = text.substr(scheme.size());
  if (rest.find('@') != std::string_view::npos) // not shown: it may be a password
    return blobs::error{blobs::errc::invalid,
                        "a place in S3 has no credentials in its URL: they come from the environment or the "
                        "files of AWS's tools; write s3://bucket or s3://bucket/prefix"};
  auto slash = rest.find('/');
  s3_settings settings;
  settings.bucket = rest.substr(0, slash);
  if (slash != std::string_view::npos)
    settings.prefix = rest.substr(slash + 1);
  if (settings.prefix.ends_with('/'))
    settings.prefix.pop_back();
  if (auto wrong = wrong_bucket(settings.bucket); !wrong.empty())
    return bad(wrong);
  if (auto wrong = wrong_prefix(settings.prefix); !wrong.empty())
    return bad(wrong);
  return settings;
}

std::string to_string(const s3_settings& settings) {
  return "s3://" + settings.bucket + (settings.prefix.empty() ? "" : "/" + settings.prefix);
}

blobs::result<s3_place> find_s3_place(const s3_settings& settings, const std::function<const char*(const char*)>& get) {
  s3_place place;
  place.shown = to_string(settings);
  auto bad = [&](const std::string& why) {
    return blobs::error{blobs::errc::invalid, place.shown + " can't be used: " + why};
  };
  if (auto wrong = wrong_bucket(settings.bucket); !wrong.empty())
    return bad(wrong);
  if (auto wrong = wrong_prefix(settings.prefix); !wrong.empty())
    return bad(wrong);
  if (settings.part_bytes == 0 || settings.read_bytes == 0)
    return bad("parts and reads have at least a byte");
  place.region = settings.region.empty() ? find_aws_region(get) : settings.region;
  auto url = settings.endpoint;
  if (place.region.empty() && url.empty())
    return bad("no AWS region is known; set the region, or AWS_REGION");
  if (place.region.empty())
    place.region = "us-east-1";
  if (place.region.find_first_not_of(std::string{small_and_digits} + '-') != std::string::npos)
    return bad("\"" + place.region + "\" is not the name of a region, such as eu-central-1");
  if (url.empty())
    url = "https://s3." + place.region + (place.region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return bad("\"" + url + "\" is not the address of a server; write https://host:port or http://host:port");
  transport::tls_settings tls;
  tls.ca = settings.tls_ca;
  auto where = transport::parse_endpoint(url, tls, "write https://host:port or http://host:port");
  if (!where)
    return bad(where.error().message);
  place.where = *where;
  if (settings.path_style || settings.bucket.find('.') != std::string::npos || is_address(place.where.host))
    place.path = '/' + settings.bucket;
  else
    place.where.host = settings.bucket + '.' + place.where.host;
  return place;
}

} // namespace davit::shipping
