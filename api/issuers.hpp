// Tokens of identity providers (OpenID Connect): GitLab, GitHub Actions, Kubernetes.
#pragma once

#include "api/caller.hpp"
#include "api/claims.hpp"
#include "api/jwks_source.hpp"

#include <memory>
#include <vector>

namespace davit::api {

/// One group of `davit.api.issuers`. For the API's actor alone.
class issuer {
public:
  /// The settings' owner and rules are valid.
  issuer(const issuer_settings& settings, std::unique_ptr<jwks_source> keys);

  const std::string& url() const { return settings_.issuer; }

  /// 503: its keys are not there yet, or it may have new ones.
  judgement judge(const jwt& token, const token_claims& claims, timestamp now);

  void tend() { keys_->tend(); }
  std::uint64_t version() { return keys_->version(); }

private:
  std::optional<identity> identity_of(const token_claims& claims, std::string& why) const;

  issuer_settings settings_;
  std::unique_ptr<jwks_source> keys_;
  std::vector<claim_rule> rules_;
  std::optional<owner_template> owner_;
};

/// All of them. Of several with the same issuer, the first that lets a token in counts.
class issuer_list {
public:
  void add(issuer one) { all_.push_back(std::move(one)); }
  bool empty() const { return all_.empty(); }

  judgement judge(const jwt& token, timestamp now);
  void tend();
  std::uint64_t version();

private:
  std::vector<issuer> all_;
};

} // namespace davit::api
