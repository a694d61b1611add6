// What an identity provider says of a caller, and what davit makes of it. Pure functions.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit {

/// One claim of a token. Numbers and truth values are texts here.
struct claim {
  std::vector<std::string> values;
  bool is_list = false;
};

/// By name; a claim inside of another by its path: `kubernetes.io/namespace`.
using claim_map = std::map<std::string, claim, std::less<>>;

/// `ref_protected=true`, `project_path=group/.*`: a value of the claim must match an RE2 pattern as a whole.
class claim_rule {
public:
  /// None: `wrong` says why the text is not one.
  static std::optional<claim_rule> make(const std::string& text, std::string& wrong);

  /// A claim that is not there matches nothing. Of a list, one value must match.
  bool holds(const claim_map& claims) const;

  const std::string& text() const { return text_; }

private:
  struct pattern;
  claim_rule() = default;

  std::string text_, name_;
  std::shared_ptr<const pattern> pattern_;
};

/// `{project_path}`, `{repository_owner}/{environment}`: names an owner by claims. No two lists of values give the same
/// owner: between two claims there is a slash, and a slash in a value is escaped if there are several claims.
class owner_template {
public:
  static constexpr std::size_t longest_owner = 256;

  /// None: `wrong` says why the text is not one.
  static std::optional<owner_template> make(const std::string& text, std::string& wrong);

  /// The owner's name. None: `wrong` says which claim can't be used.
  std::optional<std::string> expand(const claim_map& claims, std::string& wrong) const;

private:
  struct part {
    std::string text;
    bool is_claim = false;
  };
  std::vector<part> parts_;
  bool escape_slash_ = false;
};

} // namespace davit
