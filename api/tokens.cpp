#include "api/tokens.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "encoding/base64.hpp"
#include "encoding/digest.hpp"
#include "secrets/random_bytes.hpp"
#include "secrets/secret_file.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace davit {

namespace {

/// The secret has 256 random bits, so that one round of a plain hash is enough: there is nothing to be guessed.
std::string hash_of(std::string_view salt, std::string_view secret) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  auto input = std::string{salt} + std::string{secret};
  EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return encoding::base64_encode(std::string_view{reinterpret_cast<const char*>(digest.data()), size});
}

} // namespace

new_token make_token(std::string name, std::vector<api_scope> scopes, std::optional<policy_profile> profile,
                     std::optional<timestamp> expires_at, std::string owner, std::optional<named_ceilings> ceilings,
                     std::optional<std::vector<std::string>> volumes_allow, std::string cache_scope) {
  new_token made;
  auto secret = encoding::hex(secrets::random_bytes(32));
  made.entry = {encoding::hex(secrets::random_bytes(6)),
                std::move(name),
                std::move(scopes),
                profile,
                encoding::base64_encode(secrets::random_bytes(16)),
                "",
                std::chrono::system_clock::now(),
                expires_at,
                std::move(owner),
                ceilings,
                std::move(volumes_allow),
                std::move(cache_scope)};
  made.entry.hash = hash_of(made.entry.salt, secret);
  made.text = "davit_" + made.entry.id + "_" + secret;
  return made;
}

bool allows(const std::vector<api_scope>& scopes, api_scope wanted) {
  return std::any_of(scopes.begin(), scopes.end(), [&](api_scope one) {
    return one == wanted || one == api_scope::admin
        || (one == api_scope::read_all && (wanted == api_scope::read || wanted == api_scope::metrics))
        || (one == api_scope::cancel_all && wanted == api_scope::cancel);
  });
}

std::optional<token_list> token_list::load(const std::filesystem::path& file, std::string& error) {
  auto content = secrets::read_secret_file(file, "davit token create", error);
  if (!content)
    return std::nullopt;
  auto list = json::read<token_list>(std::string_view{*content}, json::unknown_fields::refuse);
  if (!list) {
    error = file.string() + " is not a valid list of tokens: " + list.error().text();
    return std::nullopt;
  }
  return std::move(*list);
}

std::string token_list::save(const std::filesystem::path& file) const {
  return secrets::write_secret_file(file, json::write(*this) + "\n");
}

const api_token* token_list::find(std::string_view presented, timestamp now) const {
  constexpr std::string_view prefix = "davit_";
  if (!presented.starts_with(prefix))
    return nullptr;
  presented.remove_prefix(prefix.size());
  auto middle = presented.find('_');
  if (middle == std::string_view::npos)
    return nullptr;
  auto id = presented.substr(0, middle), secret = presented.substr(middle + 1);
  for (const auto& one : tokens)
    if (one.id == id) {
      auto hash = hash_of(one.salt, secret);
      if (hash.size() == one.hash.size() && CRYPTO_memcmp(hash.data(), one.hash.data(), hash.size()) == 0
          && (!one.expires_at || now < *one.expires_at))
        return &one;
    }
  return nullptr;
}

} // namespace davit
