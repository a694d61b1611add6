#include "attestation/signing_key.hpp"

#include "encoding/digest.hpp"
#include "secrets/secret_file.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <unistd.h>

namespace davit::attestation {

namespace {

template <auto Free>
struct freed_by {
  void operator()(auto* one) const { Free(one); }
};
using key_handle = std::unique_ptr<EVP_PKEY, freed_by<&EVP_PKEY_free>>;
using memory_bio = std::unique_ptr<BIO, freed_by<&BIO_free>>;
using digest_context = std::unique_ptr<EVP_MD_CTX, freed_by<&EVP_MD_CTX_free>>;

constexpr std::size_t signature_bytes = 64;
constexpr std::string_view makes_one = "openssl genpkey -algorithm ed25519 makes one";

/// What is before the 32 bytes in a SubjectPublicKeyInfo of RFC 8410.
constexpr std::string_view der_head{"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12};

/// What a failed call leaves is not the next one's affair.
struct error_guard {
  ~error_guard() { ERR_clear_error(); }
};

const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// A key that is sealed with a passphrase is not to stop at a terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

std::string text_of(BIO* from) {
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(from, &bytes);
  return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string{};
}

std::optional<public_key> public_half(const EVP_PKEY* key) {
  std::array<unsigned char, public_key::bytes> point{};
  auto size = point.size();
  if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_public_key(key, point.data(), &size) != 1
      || size != point.size())
    return std::nullopt;
  return public_key{point};
}

std::string make_file(const std::filesystem::path& file) {
  error_guard guard;
  key_handle key{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")};
  memory_bio out{BIO_new(BIO_s_mem())};
  if (!key || !out || PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return file.string() + " can't be made: OpenSSL gives no Ed25519 key";
  return secrets::make_secret_file(file, text_of(out.get()));
}

} // namespace

std::optional<public_key> public_key::read_pem(const std::string& text, std::string& why) {
  error_guard guard;
  if (text.find("PRIVATE KEY-----") != std::string::npos) {
    why = "holds a private key; name a file with the public one (openssl pkey -pubout writes it)";
    return std::nullopt;
  }
  memory_bio in{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
  key_handle key{in ? PEM_read_bio_PUBKEY(in.get(), nullptr, &no_passphrase, nullptr) : nullptr};
  if (!key) {
    why = "has no public key in PEM (-----BEGIN PUBLIC KEY-----)";
    return std::nullopt;
  }
  auto shown = public_half(key.get());
  if (!shown)
    why = "has a key of another kind than Ed25519";
  return shown;
}

std::optional<public_key> public_key::read_der(std::string_view der) {
  if (der.size() != der_head.size() + bytes || !der.starts_with(der_head))
    return std::nullopt;
  std::array<unsigned char, bytes> point{};
  std::copy_n(raw(der) + der_head.size(), bytes, point.begin());
  return public_key{point};
}

std::string public_key::der() const {
  return std::string{der_head}.append(reinterpret_cast<const char*>(point_.data()), point_.size());
}

std::string public_key::pem() const {
  error_guard guard;
  key_handle key{EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, point_.data(), point_.size())};
  memory_bio out{BIO_new(BIO_s_mem())};
  if (!key || !out || PEM_write_bio_PUBKEY(out.get(), key.get()) != 1)
    throw std::runtime_error("OpenSSL can't write an Ed25519 key");
  return text_of(out.get());
}

std::string public_key::id() const {
  return encoding::sha256_hex(der());
}

bool public_key::verify(std::string_view text, std::string_view signature) const {
  error_guard guard;
  key_handle key{EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, point_.data(), point_.size())};
  digest_context context{EVP_MD_CTX_new()};
  return signature.size() == signature_bytes && key && context
      && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1
      && EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(text), text.size()) == 1;
}

struct signing_key::handle {
  key_handle key;
};

signing_key::signing_key(std::unique_ptr<handle> key, const public_key& shown) : key_(std::move(key)), public_(shown) {}

signing_key::~signing_key() = default;

std::shared_ptr<const signing_key> signing_key::open(const std::filesystem::path& file, std::string& error) {
  if (::access(file.c_str(), F_OK) != 0 && errno == ENOENT) {
    error = make_file(file);
    if (!error.empty())
      return nullptr;
  }
  return read(file, error);
}

std::shared_ptr<const signing_key> signing_key::read(const std::filesystem::path& file, std::string& error) {
  error_guard guard;
  auto text = secrets::read_secret_file(file, "the agent", error);
  if (!text)
    return nullptr;
  memory_bio in{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  key_handle key{in ? PEM_read_bio_PrivateKey(in.get(), nullptr, &no_passphrase, nullptr) : nullptr};
  OPENSSL_cleanse(text->data(), text->size());
  if (!key) {
    error
      = file.string() + " has no private key in PEM that can be read without a passphrase; " + std::string{makes_one};
    return nullptr;
  }
  auto shown = public_half(key.get());
  if (!shown) {
    error = file.string() + " has a key of another kind than Ed25519; " + std::string{makes_one};
    return nullptr;
  }
  auto held = std::make_unique<handle>();
  held->key = std::move(key);
  return std::shared_ptr<const signing_key>{new signing_key{std::move(held), *shown}};
}

std::string signing_key::sign(std::string_view text) const {
  error_guard guard;
  digest_context context{EVP_MD_CTX_new()};
  std::string signature(signature_bytes, '\0');
  auto size = signature.size();
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->key.get()) != 1
      || EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, raw(text),
                        text.size())
           != 1
      || size != signature_bytes)
    throw std::runtime_error("OpenSSL can't sign with the agent's key");
  return signature;
}

} // namespace davit::attestation
