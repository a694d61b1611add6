#include "api/identities.hpp"

namespace davit::api {

identities::identities(const access_settings& settings, const boost::asio::any_io_executor& executor)
  : mint_lifetime_(settings.mint_lifetime) {
  if (!settings.tokens_file.empty())
    tokens_.emplace(settings.tokens_file, "the API's tokens", &token_list::load);
  if (!settings.mint_key.empty())
    mint_keys_.emplace(settings.mint_key, "the keys of minted tokens", &mint_key_list::load);
  for (const auto& one : settings.issuers)
    issuers_.add({one, make_jwks_source(one, executor)});
}

judgement identities::judge(std::string_view bearer, timestamp now) {
  return looks_like_jwt(bearer) ? judge_signed(bearer, now) : judge_listed(bearer, now);
}

judgement identities::judge_listed(std::string_view bearer, timestamp now) {
  auto found = tokens_ ? tokens_->now().find(bearer, now) : nullptr;
  if (!found)
    return {{}, 401, "this token is unknown or has expired"};
  identity known;
  known.who.name = "token " + found->name;
  known.who.owner = found->owner.empty() ? "token " + found->name : found->owner;
  known.who.scopes = found->scopes;
  known.who.profile = found->profile;
  known.who.limits = {"the token " + found->name, found->ceilings.value_or(named_ceilings{}), found->volumes_allow,
                      found->cache_scope};
  known.subject = "token " + found->id;
  known.expires_at = found->expires_at;
  return {std::move(known), 200, ""};
}

judgement identities::judge_signed(std::string_view bearer, timestamp now) {
  judgement result;
  auto token = jwt::parse(bearer, result.why);
  if (token && token->algorithm == "HS256") { // a key of one kind never checks the other
    result.why = "no key of this agent has signed it";
    if (mint_keys_)
      result.known = check_minted(*token, mint_keys_->now(), mint_lifetime_, now, result.why);
  } else if (token) {
    result = issuers_.judge(*token, now);
  }
  if (!result.known && result.status == 401)
    result.why = "this token is not accepted: " + result.why;
  return result;
}

std::uint64_t identities::version() {
  return (tokens_ ? tokens_->version() : 0) + (mint_keys_ ? mint_keys_->version() : 0) + issuers_.version();
}

} // namespace davit::api
