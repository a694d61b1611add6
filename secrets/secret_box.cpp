#include "secrets/secret_box.hpp"

#include "encoding/base64.hpp"
#include "secrets/secret_file.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <unistd.h>

namespace davit::secrets {

namespace {

constexpr std::size_t key_bytes = 32, nonce_bytes = 12, tag_bytes = 16;
constexpr std::string_view version = "v1:";

const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

unsigned char* raw(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

using cipher_context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

std::string make_key_file(const std::filesystem::path& file) {
  std::string key(key_bytes, '\0');
  if (RAND_bytes(raw(key), key_bytes) != 1)
    return "the system provides no random numbers";
  return make_secret_file(file, encoding::base64_encode(key) + "\n");
}

} // namespace

secret_box::secret_box(std::string key) : key_(std::move(key)) {}

secret_box::~secret_box() {
  OPENSSL_cleanse(key_.data(), key_.size());
}

std::shared_ptr<const secret_box> secret_box::open(const std::filesystem::path& key_file, std::string& error) {
  if (::access(key_file.c_str(), F_OK) != 0 && errno == ENOENT) {
    error = make_key_file(key_file);
    if (!error.empty())
      return nullptr;
  }
  return read(key_file, error);
}

std::shared_ptr<const secret_box> secret_box::read(const std::filesystem::path& key_file, std::string& error) {
  error = wrong_secret_file(key_file);
  if (!error.empty())
    return nullptr;
  errno = 0;
  std::ifstream in{key_file};
  if (!in) {
    error = key_file.string() + " can't be read: " + std::strerror(errno);
    return nullptr;
  }
  std::string text;
  in >> text;
  auto key = encoding::base64_decode(text);
  if (!key || key->size() != key_bytes) {
    error = key_file.string() + " has no valid key: it must be 32 bytes in base64 (openssl rand -base64 32)";
    return nullptr;
  }
  return std::shared_ptr<const secret_box>{new secret_box{std::move(*key)}};
}

std::string secret_box::seal(std::string_view name, std::string_view value) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int digest_size = 0;
  auto named = "davit secret nonce " + std::to_string(name.size()) + ":" + std::string{name} + std::string{value};
  HMAC(EVP_sha256(), key_.data(), key_bytes, raw(std::string_view{named}), named.size(), digest.data(), &digest_size);
  OPENSSL_cleanse(named.data(), named.size());
  std::string sealed(nonce_bytes + value.size() + tag_bytes, '\0');
  std::memcpy(sealed.data(), digest.data(), nonce_bytes);
  cipher_context context{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
  int count = 0;
  EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(std::string_view{key_}), digest.data());
  EVP_EncryptUpdate(context.get(), nullptr, &count, raw(name), static_cast<int>(name.size()));
  EVP_EncryptUpdate(context.get(), raw(sealed) + nonce_bytes, &count, raw(value), static_cast<int>(value.size()));
  EVP_EncryptFinal_ex(context.get(), raw(sealed) + nonce_bytes + value.size(), &count);
  EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, tag_bytes, raw(sealed) + nonce_bytes + value.size());
  return std::string{version} + encoding::base64_encode(sealed);
}

std::optional<std::string> secret_box::unseal(std::string_view name, std::string_view sealed) const {
  if (!sealed.starts_with(version))
    return std::nullopt;
  sealed.remove_prefix(version.size());
  auto decoded = encoding::base64_decode(sealed);
  if (!decoded || decoded->size() < nonce_bytes + tag_bytes)
    return std::nullopt;
  const auto& bytes = *decoded;
  auto size = bytes.size() - nonce_bytes - tag_bytes;
  std::string value(size, '\0');
  cipher_context context{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
  int count = 0;
  EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(std::string_view{key_}),
                     raw(std::string_view{bytes}));
  EVP_DecryptUpdate(context.get(), nullptr, &count, raw(name), static_cast<int>(name.size()));
  EVP_DecryptUpdate(context.get(), raw(value), &count, raw(std::string_view{bytes}) + nonce_bytes,
                    static_cast<int>(size));
  EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, tag_bytes,
                      const_cast<char*>(bytes.data()) + nonce_bytes + size);
  if (EVP_DecryptFinal_ex(context.get(), raw(value) + size, &count) != 1) {
    OPENSSL_cleanse(value.data(), value.size());
    return std::nullopt;
  }
  return value;
}

} // namespace davit::secrets
