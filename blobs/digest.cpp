#include "blobs/digest.hpp"

#include "encoding/digest.hpp"

#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace davit::blobs {

namespace {

constexpr std::string_view prefix = "sha256:";

int value_of(char digit) {
  if (digit >= '0' && digit <= '9')
    return digit - '0';
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void require(int done) {
  if (done != 1)
    throw std::runtime_error("OpenSSL has no SHA-256");
}

} // namespace

std::string to_text(const digest& value) {
  return std::string{prefix} + encoding::hex({reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()});
}

std::optional<digest> parse_digest(std::string_view text) {
  digest value;
  if (text.size() != prefix.size() + 2 * value.bytes.size() || !text.starts_with(prefix))
    return std::nullopt;
  text.remove_prefix(prefix.size());
  for (std::size_t i = 0; i < value.bytes.size(); ++i) {
    auto high = value_of(text[2 * i]), low = value_of(text[2 * i + 1]);
    if (high < 0 || low < 0)
      return std::nullopt;
    value.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return value;
}

digest digest_of(std::string_view bytes) {
  digest value;
  require(EVP_Digest(bytes.data(), bytes.size(), value.bytes.data(), nullptr, EVP_sha256(), nullptr));
  return value;
}

const digest& empty_digest() {
  static const auto value = digest_of({});
  return value;
}

struct hasher::context {
  EVP_MD_CTX* state = EVP_MD_CTX_new();
  context() = default;
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() { EVP_MD_CTX_free(state); }
  void begin() const { require(state ? EVP_DigestInit_ex(state, EVP_sha256(), nullptr) : 0); }
};

hasher::hasher() : context_(std::make_unique<context>()) {
  context_->begin();
}
hasher::~hasher() = default;
hasher::hasher(hasher&&) noexcept = default;
hasher& hasher::operator=(hasher&&) noexcept = default;

void hasher::add(std::string_view piece) {
  require(EVP_DigestUpdate(context_->state, piece.data(), piece.size()));
}

void hasher::add_zeros(std::uint64_t count) {
  static constexpr char zeros[1 << 16] = {};
  while (count != 0) {
    auto size = std::min<std::uint64_t>(count, sizeof zeros);
    add({zeros, static_cast<std::size_t>(size)});
    count -= size;
  }
}

digest hasher::finish() {
  digest value;
  require(EVP_DigestFinal_ex(context_->state, value.bytes.data(), nullptr));
  context_->begin();
  return value;
}

} // namespace davit::blobs

std::size_t std::hash<davit::blobs::digest>::operator()(const davit::blobs::digest& value) const noexcept {
  static const auto seed = [] {
    std::random_device random;
    return static_cast<std::uint64_t>(random()) << 32 | random();
  }();
  return XXH3_64bits_withSeed(value.bytes.data(), value.bytes.size(), seed);
}
