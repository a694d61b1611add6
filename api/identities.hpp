// Whom bearer tokens stand for: those of the tokens file, and those that are signed.
#pragma once

#include "api/caller.hpp"
#include "api/issuers.hpp"
#include "api/minted.hpp"
#include "api/tokens.hpp"
#include "api/watched_file.hpp"

namespace davit::api {

/// For the API's actor alone.
class identities {
public:
  /// `executor`: where keys of issuers are fetched.
  identities(const access_settings& settings, const boost::asio::any_io_executor& executor);

  /// Whether callers can have tokens here at all.
  bool any() const { return tokens_ || mint_keys_ || !issuers_.empty(); }

  judgement judge(std::string_view bearer, timestamp now);

  /// Fetches what is to be fetched. To be called now and then.
  void tend() { issuers_.tend(); }

  /// Another number when a token may be judged in another way than before, the passing of time aside.
  std::uint64_t version();

private:
  judgement judge_listed(std::string_view bearer, timestamp now);
  judgement judge_signed(std::string_view bearer, timestamp now);

  std::optional<watched_file<token_list>> tokens_;
  std::optional<watched_file<mint_key_list>> mint_keys_;
  duration mint_lifetime_;
  issuer_list issuers_;
};

} // namespace davit::api
