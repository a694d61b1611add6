#include "api/public_key.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

namespace davit::api {

namespace {

template <auto Free>
struct freed_by {
  void operator()(auto* one) const { Free(one); }
};
using big_number = std::unique_ptr<BIGNUM, freed_by<&BN_free>>;
using param_builder = std::unique_ptr<OSSL_PARAM_BLD, freed_by<&OSSL_PARAM_BLD_free>>;
using params = std::unique_ptr<OSSL_PARAM, freed_by<&OSSL_PARAM_free>>;
using key_context = std::unique_ptr<EVP_PKEY_CTX, freed_by<&EVP_PKEY_CTX_free>>;
using digest_context = std::unique_ptr<EVP_MD_CTX, freed_by<&EVP_MD_CTX_free>>;
using ecdsa_signature = std::unique_ptr<ECDSA_SIG, freed_by<&ECDSA_SIG_free>>;

constexpr std::size_t p256_bytes = 32;

const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

big_number number_of(std::string_view bytes) {
  return big_number{BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr)};
}

/// What a failed call leaves is nobody else's affair.
struct error_guard {
  ~error_guard() { ERR_clear_error(); }
};

EVP_PKEY* make_key(const char* type, OSSL_PARAM_BLD* from) {
  params all{OSSL_PARAM_BLD_to_param(from)};
  key_context context{EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr)};
  EVP_PKEY* key = nullptr;
  if (!all || !context || EVP_PKEY_fromdata_init(context.get()) != 1
      || EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, all.get()) != 1)
    return nullptr;
  return key;
}

/// The signature's two numbers (RFC 7518, 3.4) as OpenSSL takes them; empty: they are not two numbers.
std::string der_of(std::string_view signature) {
  if (signature.size() != 2 * p256_bytes)
    return {};
  ecdsa_signature made{ECDSA_SIG_new()};
  auto r = number_of(signature.substr(0, p256_bytes)), s = number_of(signature.substr(p256_bytes));
  if (!made || !r || !s || ECDSA_SIG_set0(made.get(), r.get(), s.get()) != 1)
    return {};
  static_cast<void>(r.release()); // the signature has them now
  static_cast<void>(s.release());
  unsigned char* bytes = nullptr;
  auto size = i2d_ECDSA_SIG(made.get(), &bytes);
  std::string der;
  if (size > 0)
    der.assign(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

} // namespace

struct public_key::handle {
  explicit handle(EVP_PKEY* key) : key(key) {}
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  ~handle() { EVP_PKEY_free(key); }
  EVP_PKEY* key;
};

std::optional<public_key> public_key::rsa(std::string_view modulus, std::string_view exponent, std::string& why) {
  error_guard guard;
  constexpr std::size_t longest = 1024; // bytes
  if (modulus.size() > longest + 1 || exponent.size() > 8) {
    why = "an RSA key must have at most 8192 bits, and its exponent 64";
    return std::nullopt;
  }
  auto n = number_of(modulus), e = number_of(exponent);
  if (!n || !e || BN_num_bits(n.get()) < 2048 || BN_num_bits(n.get()) > 8192) {
    why = "an RSA key must have from 2048 to 8192 bits";
    return std::nullopt;
  }
  if (!BN_is_odd(n.get()) || !BN_is_odd(e.get()) || BN_is_one(e.get())) {
    why = "an RSA key's modulus and exponent must be odd, and the exponent not 1";
    return std::nullopt;
  }
  param_builder builder{OSSL_PARAM_BLD_new()};
  EVP_PKEY* key = nullptr;
  if (builder && OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1
      && OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1)
    key = make_key("RSA", builder.get());
  if (!key) {
    why = "OpenSSL does not take an RSA key";
    return std::nullopt;
  }
  return public_key{"RS256", std::make_shared<const handle>(key)};
}

std::optional<public_key> public_key::p256(std::string_view x, std::string_view y, std::string& why) {
  error_guard guard;
  if (x.size() != p256_bytes || y.size() != p256_bytes) {
    why = "a key of the curve P-256 must have 32 bytes in x and in y";
    return std::nullopt;
  }
  auto point = std::string{'\4'}.append(x).append(y); // uncompressed: SEC 1, 2.3.3
  param_builder builder{OSSL_PARAM_BLD_new()};
  EVP_PKEY* key = nullptr;
  if (builder && OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1
      && OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) == 1)
    key = make_key("EC", builder.get());
  key_context context{key ? EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr) : nullptr};
  if (!context || EVP_PKEY_public_check(context.get()) != 1) {
    EVP_PKEY_free(key);
    why = "x and y are not a point of the curve P-256";
    return std::nullopt;
  }
  return public_key{"ES256", std::make_shared<const handle>(key)};
}

bool public_key::verify(std::string_view text, std::string_view signature) const {
  error_guard guard;
  auto bytes = algorithm_ == "ES256" ? der_of(signature) : std::string{signature};
  digest_context context{EVP_MD_CTX_new()};
  // An RSA key takes the padding of PKCS #1 v1.5, which is what RS256 has.
  return !bytes.empty() && context
      && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_->key) == 1
      && EVP_DigestVerify(context.get(), raw(bytes), bytes.size(), raw(text), text.size()) == 1;
}

} // namespace davit::api
