// Ed25519 keys (RFC 8032) by OpenSSL: the one that an agent signs with, and those that check what agents have signed.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace davit::attestation {

/// A value. For any thread.
class public_key {
public:
  static constexpr std::size_t bytes = 32;

  /// Of a text with one `PUBLIC KEY` (RFC 8410). None: `why` says what is wrong, as a sentence behind the text's name.
  static std::optional<public_key> read_pem(const std::string& text, std::string& why);

  /// Of a SubjectPublicKeyInfo in DER: 44 bytes. None: it is not one of an Ed25519 key.
  static std::optional<public_key> read_der(std::string_view der);

  explicit public_key(const std::array<unsigned char, bytes>& point) : point_(point) {}

  std::string pem() const;
  std::string der() const;

  /// The key's fingerprint: the SHA-256 of der(), 64 hexadecimal digits.
  std::string id() const;

  /// `signature`: the 64 bytes of RFC 8032.
  bool verify(std::string_view text, std::string_view signature) const;

  bool operator==(const public_key&) const = default;

private:
  std::array<unsigned char, bytes> point_;
};

/// For any thread.
class signing_key {
public:
  /// Reads the key of a file (PEM, PKCS #8, not encrypted). A file that is not there is made, with mode 0600. Null:
  /// `error` says what is wrong with which file, and what to do.
  static std::shared_ptr<const signing_key> open(const std::filesystem::path& file, std::string& error);

  /// Reads the key, and makes none.
  static std::shared_ptr<const signing_key> read(const std::filesystem::path& file, std::string& error);

  /// The 64 bytes of RFC 8032: of one text always the same. Throws std::runtime_error if OpenSSL fails.
  std::string sign(std::string_view text) const;

  /// That checks the signatures.
  const public_key& shown() const { return public_; }

  ~signing_key();
  signing_key(const signing_key&) = delete;
  signing_key& operator=(const signing_key&) = delete;

private:
  struct handle;
  signing_key(std::unique_ptr<handle> key, const public_key& shown);
  std::unique_ptr<handle> key_;
  public_key public_;
};

} // namespace davit::attestation
