#include "api/issuers.hpp"

namespace davit::api {

namespace {

constexpr std::size_t longest_name = 200; ///< Of what a claim adds to a caller's name.

/// What finds the job again: GitLab's and GitHub's numbers, else the token's own id.
std::string job_of(const token_claims& claims) {
  for (const char* name : {"job_id", "run_id", "jti"})
    if (auto value = claims.text(name); !value.empty())
      return std::string{' '} + name + ' ' + value.substr(0, longest_name);
  return {};
}

} // namespace

issuer::issuer(const issuer_settings& settings, std::unique_ptr<jwks_source> keys)
  : settings_(settings), keys_(std::move(keys)) {
  std::string wrong;
  for (const auto& one : settings_.require)
    if (auto rule = claim_rule::make(one, wrong))
      rules_.push_back(std::move(*rule));
  owner_ = owner_template::make(settings_.owner, wrong);
  // A rule that can't be read holds for nobody.
  if (rules_.size() != settings_.require.size())
    owner_.reset();
}

judgement issuer::judge(const jwt& token, const token_claims& claims, timestamp now) {
  auto found = keys_->look(token);
  if (!found.keys || (found.pending && !found.keys->knows(token)))
    return {{}, 503, "the keys of its issuer are being fetched; try again"}; // where from is for the log alone
  if (!found.keys->verify(token))
    return {{}, 401, "no key of its issuer has signed it"};
  judgement result;
  if (!claims.has("aud", settings_.audience))
    result.why = "it is for another audience than " + settings_.audience;
  else if (result.why = wrong_times(claims, now); result.why.empty())
    result.known = identity_of(claims, result.why);
  return result;
}

std::optional<identity> issuer::identity_of(const token_claims& claims, std::string& why) const {
  for (const auto& rule : rules_)
    if (!rule.holds(claims.all)) {
      why = "the issuer " + settings_.name + " requires " + rule.text();
      return std::nullopt;
    }
  auto owner = owner_ ? owner_->expand(claims.all, why) : std::nullopt;
  if (!owner)
    return std::nullopt;
  auto subject = claims.text("sub");
  identity known;
  known.who.name = "issuer " + settings_.name + " subject " + subject.substr(0, longest_name) + job_of(claims);
  known.who.owner = settings_.name + '/' + *owner; // no other owner has a slash
  known.who.scopes = settings_.scopes;
  known.who.profile = settings_.profile;
  known.who.limits.whose = "the issuer " + settings_.name;
  known.who.limits.cache_scope = settings_.cache_scope;
  if (why = read_ceilings(settings_.ceilings, known.who.limits.ceilings); !why.empty())
    return std::nullopt;
  known.subject = "issuer " + settings_.name + ' ' + subject;
  known.expires_at = *claims.expires_at + clock_leeway;
  return known;
}

judgement issuer_list::judge(const jwt& token, timestamp now) {
  judgement result;
  auto claims = token_claims::parse(token.claims, result.why);
  if (!claims)
    return result;
  auto from = claims->text("iss");
  result.why = "this agent does not know its issuer";
  for (auto& one : all_)
    if (one.url() == from) {
      auto judged = one.judge(token, *claims, now);
      if (judged.known)
        return judged;
      if (result.status != 503) // what may change is worth another try
        result = std::move(judged);
    }
  return result;
}

void issuer_list::tend() {
  for (auto& one : all_)
    one.tend();
}

std::uint64_t issuer_list::version() {
  std::uint64_t sum = 0;
  for (auto& one : all_)
    sum += one.version();
  return sum;
}

} // namespace davit::api
