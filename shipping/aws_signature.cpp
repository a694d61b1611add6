#include "shipping/aws_signature.hpp"

#include "encoding/digest.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <ctime>
#include <vector>

namespace davit::shipping {

namespace {

std::string hmac(std::string_view key, std::string_view text) {
  std::string digest(32, '\0');
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), reinterpret_cast<unsigned char*>(digest.data()), &length);
  return digest;
}

std::string sorted_query(const std::string& query) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < query.size();) {
    auto end = std::min(query.find('&', begin), query.size());
    auto part = query.substr(begin, end - begin);
    if (part.find('=') == std::string::npos)
      part += '=';
    parts.push_back(std::move(part));
    begin = end + 1;
  }
  std::sort(parts.begin(), parts.end());
  std::string all;
  for (const auto& one : parts)
    all += (all.empty() ? "" : "&") + one;
  return all;
}

/// Without blanks around it, and with one where there were many.
std::string trimmed(const std::string& value) {
  std::string result;
  for (char c : value)
    if (c != ' ' || (!result.empty() && result.back() != ' '))
      result += c;
  while (result.ends_with(' '))
    result.pop_back();
  return result;
}

} // namespace

std::map<std::string, std::string> aws_sign(const aws_request& request, const aws_credentials& credentials,
                                            const std::string& region, const std::string& service, timestamp at) {
  auto seconds
    = std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::system_clock::duration>(at));
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  std::string time = text, day = time.substr(0, 8);
  auto headers = request.headers;
  headers["x-amz-date"] = time;
  if (!credentials.session_token.empty())
    headers["x-amz-security-token"] = credentials.session_token;
  std::string canonical = request.method + '\n' + request.path + '\n' + sorted_query(request.query) + '\n', names;
  for (const auto& [name, value] : headers) {
    canonical += name + ':' + trimmed(value) + '\n';
    names += (names.empty() ? "" : ";") + name;
  }
  canonical
    += '\n' + names + '\n' + (request.body_sha256.empty() ? encoding::sha256_hex(request.body) : request.body_sha256);
  auto scope = day + '/' + region + '/' + service + "/aws4_request";
  auto to_sign = "AWS4-HMAC-SHA256\n" + time + '\n' + scope + '\n' + encoding::sha256_hex(canonical);
  auto key = hmac(hmac(hmac(hmac("AWS4" + credentials.secret_key, day), region), service), "aws4_request");
  std::map<std::string, std::string> added{{"X-Amz-Date", time},
                                           {"Authorization", "AWS4-HMAC-SHA256 Credential=" + credentials.access_key
                                                               + '/' + scope + ", SignedHeaders=" + names
                                                               + ", Signature=" + encoding::hex(hmac(key, to_sign))}};
  if (!credentials.session_token.empty())
    added["X-Amz-Security-Token"] = credentials.session_token;
  return added;
}

} // namespace davit::shipping
