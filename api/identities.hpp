// Whom bearer tokens stand for: those of the tokens file, and those that are signed.
#pragma once

#include "api/caller.hpp"
#include "api/minted.hpp"
#include "api/tokens.hpp"
#include "api/watched_file.hpp"

namespace davit::api {

/// For the API's actor alone.
class identities {
public:
  explicit identities(const access_settings& settings);

  /// Whether callers can have tokens here at all.
  bool any() const { return tokens_ || mint_keys_; }

  judgement judge(std::string_view bearer, timestamp now);

  /// Another number when a token may be judged in another way than before, the passing of time aside.
  std::uint64_t version();

private:
  judgement judge_listed(std::string_view bearer, timestamp now);
  judgement judge_signed(std::string_view bearer, timestamp now);

  std::optional<watched_file<token_list>> tokens_;
  std::optional<watched_file<mint_key_list>> mint_keys_;
  duration mint_lifetime_;
};

} // namespace davit::api
