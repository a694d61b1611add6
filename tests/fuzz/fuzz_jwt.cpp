// A token of anybody, and what it claims.
#include "api/claims.hpp"
#include "api/jwt.hpp"
#include "encoding/base64.hpp"

using namespace davit::api;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string text{reinterpret_cast<const char*>(data), size}, why;
  if (auto token = jwt::parse(text, why)) {
    // What was taken apart is what was written.
    auto again = token->signed_part + '.' + davit::encoding::base64url_encode_bare(token->signature);
    if (again != text || token->algorithm.empty())
      __builtin_trap();
    (void)token_claims::parse(token->claims, why);
  }
  // A header and claims of any kind: the first line is the one, the rest the other.
  auto end = text.find('\n');
  if (end != std::string::npos)
    (void)jwt::parse(davit::encoding::base64url_encode_bare(text.substr(0, end)) + ".e30.AAAA", why);
  if (auto claims = token_claims::parse(end == std::string::npos ? text : text.substr(end + 1), why)) {
    (void)wrong_times(*claims, {});
    if (auto owner = davit::owner_template::make("{sub}/{a/b}", why))
      (void)owner->expand(claims->all, why);
    if (auto rule = davit::claim_rule::make("sub=.+", why))
      (void)rule->holds(claims->all);
  }
  return 0;
}
