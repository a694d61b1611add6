// Public keys that check signatures of tokens: RS256 and ES256 of RFC 7518, by OpenSSL.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace davit::api {

/// May be copied; copies share the key.
class public_key {
public:
  /// RSA, from 2048 to 8192 bits: the modulus and the exponent, big-endian. None: `why` says what is wrong.
  static std::optional<public_key> rsa(std::string_view modulus, std::string_view exponent, std::string& why);

  /// A point of the curve P-256: 32 bytes each, big-endian.
  static std::optional<public_key> p256(std::string_view x, std::string_view y, std::string& why);

  /// The one algorithm that it is for: `RS256` or `ES256`.
  const std::string& algorithm() const { return algorithm_; }

  bool verify(std::string_view text, std::string_view signature) const;

private:
  struct handle;
  public_key(std::string algorithm, std::shared_ptr<const handle> key)
    : algorithm_(std::move(algorithm)), key_(std::move(key)) {}

  std::string algorithm_;
  std::shared_ptr<const handle> key_;
};

} // namespace davit::api
