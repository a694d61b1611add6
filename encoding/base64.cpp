#include "encoding/base64.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <cctype>

namespace davit::encoding {

std::string base64_encode(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  auto length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string base64url_encode(std::string_view bytes) {
  auto text = base64_encode(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

std::string base64url_encode_bare(std::string_view bytes) {
  auto text = base64url_encode(bytes);
  text.resize(text.find_last_not_of('=') + 1);
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0)
    return std::nullopt;
  auto padding = text.ends_with("==") ? 2u : text.ends_with("=") ? 1u : 0u;
  // OpenSSL passes over blanks at both ends, and takes any padding for a zero.
  auto letters = text.substr(0, text.size() - padding);
  if (std::any_of(letters.begin(), letters.end(),
                  [](unsigned char c) { return !std::isalnum(c) && c != '+' && c != '/'; }))
    return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  auto length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0)
    return std::nullopt;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  if (base64_encode(bytes) != text) // bits behind the last byte, or padding in the middle
    return std::nullopt;
  return bytes;
}

std::optional<std::string> base64url_decode_bare(std::string_view text) {
  if (text.find_first_of("+/=") != std::string_view::npos)
    return std::nullopt;
  std::string plain{text};
  std::replace(plain.begin(), plain.end(), '-', '+');
  std::replace(plain.begin(), plain.end(), '_', '/');
  plain.append((4 - plain.size() % 4) % 4, '=');
  return base64_decode(plain);
}

} // namespace davit::encoding
