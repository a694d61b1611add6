#include "policy/claims.hpp"

#include <re2/re2.h>

#include <algorithm>

namespace davit {

struct claim_rule::pattern {
  pattern(const std::string& text, const RE2::Options& options) : compiled(text, options) {}
  RE2 compiled;
};

namespace {

constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:";

bool is_plain(char one, bool with_slash) {
  return plain.find(one) != std::string_view::npos || (with_slash && one == '/');
}

void append_escaped(std::string& to, const std::string& value, bool escape_slash) {
  static constexpr char digits[] = "0123456789ABCDEF";
  for (char one : value) {
    auto byte = static_cast<unsigned char>(one);
    if (is_plain(one, !escape_slash))
      to += one;
    else
      to.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
}

} // namespace

std::optional<claim_rule> claim_rule::make(const std::string& text, std::string& wrong) {
  auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    wrong = "\"" + text + "\" is not a rule; write claim=pattern, such as ref_protected=true";
    return std::nullopt;
  }
  RE2::Options quiet;
  quiet.set_log_errors(false);
  claim_rule rule;
  rule.text_ = text;
  rule.name_ = text.substr(0, equals);
  auto pattern = std::make_shared<claim_rule::pattern>(text.substr(equals + 1), quiet);
  if (!pattern->compiled.ok()) {
    wrong = "\"" + text.substr(equals + 1) + "\" is not a valid RE2 pattern: " + pattern->compiled.error();
    return std::nullopt;
  }
  rule.pattern_ = std::move(pattern);
  return rule;
}

bool claim_rule::holds(const claim_map& claims) const {
  auto found = claims.find(name_);
  if (found == claims.end())
    return false;
  const auto& values = found->second.values;
  return std::any_of(values.begin(), values.end(),
                     [&](const auto& one) { return RE2::FullMatch(one, pattern_->compiled); });
}

std::optional<owner_template> owner_template::make(const std::string& text, std::string& wrong) {
  owner_template made;
  std::size_t claims = 0;
  for (std::size_t at = 0; at < text.size();) {
    auto open = std::min(text.find('{', at), text.size());
    if (open > at)
      made.parts_.push_back({text.substr(at, open - at), false});
    if (open == text.size())
      break;
    auto close = text.find('}', open);
    if (close == std::string::npos || close == open + 1) {
      wrong = "\"" + text + "\" has a { without a claim's name and a }";
      return std::nullopt;
    }
    made.parts_.push_back({text.substr(open + 1, close - open - 1), true});
    ++claims;
    at = close + 1;
  }
  const auto& parts = made.parts_;
  for (std::size_t i = 0, last = parts.size(); i < parts.size(); ++i) {
    if (!parts[i].is_claim) {
      if (std::all_of(parts[i].text.begin(), parts[i].text.end(), [](char c) { return is_plain(c, true); }))
        continue;
      wrong = "\"" + text + "\" may have letters, digits and . _ - @ : / around its claims only";
      return std::nullopt;
    }
    auto parted = last == parts.size() || (i == last + 2 && parts[last + 1].text.find('/') != std::string::npos);
    if (!parted) {
      wrong = "\"" + text + "\" needs a / between two claims: else two callers could get one owner";
      return std::nullopt;
    }
    last = i;
  }
  if (parts.empty()) {
    wrong = "must not be empty; write an owner's name, or a claim such as {sub}";
    return std::nullopt;
  }
  made.escape_slash_ = claims > 1;
  return made;
}

std::optional<std::string> owner_template::expand(const claim_map& claims, std::string& wrong) const {
  std::string owner;
  for (const auto& one : parts_) {
    if (!one.is_claim) {
      owner += one.text;
      continue;
    }
    auto found = claims.find(one.text);
    if (found == claims.end() || found->second.is_list || found->second.values.size() != 1
        || found->second.values.front().empty()) {
      wrong = "the claim " + one.text + ", which names the owner, is not there, is empty or is a list";
      return std::nullopt;
    }
    append_escaped(owner, found->second.values.front(), escape_slash_);
  }
  if (owner.size() > longest_owner) {
    wrong = "the owner would have more than " + std::to_string(longest_owner) + " characters";
    return std::nullopt;
  }
  return owner;
}

} // namespace davit
