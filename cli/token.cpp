#include "cli/token.hpp"

#include "api/minted.hpp"
#include "api/tokens.hpp"
#include "cli/print.hpp"
#include "cli/task_flags.hpp"
#include "json/write.hpp"
#include "messages/regular_file.hpp"
#include "policy/cache_keys.hpp"
#include "policy/policy.hpp"

#include <algorithm>
#include <fcntl.h>
#include <iostream>
#include <sys/file.h>
#include <unistd.h>

namespace davit {

namespace {

token_list load_tokens(const std::filesystem::path& file, bool may_be_missing) {
  if (may_be_missing && !std::filesystem::exists(file))
    return {};
  std::string error;
  auto list = token_list::load(file, error);
  if (!list)
    usage(error);
  return std::move(*list);
}

void save_tokens(const token_list& list, const std::filesystem::path& file) {
  if (auto error = list.save(file); !error.empty())
    usage(error);
}

} // namespace

file_lock::file_lock(const std::filesystem::path& file) {
  if (auto wrong = wrong_kind(file); !wrong.empty()) // before a file is made beside it
    usage(file.string() + ' ' + wrong);
  fd_ = ::open((file.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0 || ::flock(fd_, LOCK_EX) != 0)
    usage(file.string() + ".lock can't be locked");
}

file_lock::~file_lock() {
  ::close(fd_);
}

std::vector<api_scope> read_scopes(const std::vector<std::string>& names) {
  std::vector<api_scope> scopes;
  for (const auto& one : names) {
    api_scope scope{};
    if (!from_string(one, scope))
      usage("--scope: \"" + one + "\" must be " + expected_text(scope));
    scopes.push_back(scope);
  }
  return scopes;
}

std::optional<policy_profile> read_profile(const std::string& name) {
  policy_profile value{};
  if (name.empty())
    return std::nullopt;
  if (!from_string(name, value))
    usage("--profile: must be " + expected_text(value));
  return value;
}

std::optional<named_ceilings> read_ceiling_flags(const std::vector<std::string>& texts) {
  named_ceilings ceilings;
  if (auto wrong = read_ceilings(texts, ceilings); !wrong.empty())
    usage("--ceiling: " + wrong);
  return texts.empty() ? std::nullopt : std::optional{ceilings};
}

std::optional<std::vector<std::string>> read_volume_flags(const std::vector<std::string>& patterns) {
  for (const auto& one : patterns)
    if (auto wrong = check_regex(one); !wrong.empty())
      usage("--shared-volume: \"" + one + "\" " + wrong);
  return patterns.empty() ? std::nullopt : std::optional{patterns};
}

std::string read_scope_flag(const std::string& scope) {
  if (auto wrong = wrong_cache_scope(scope); !wrong.empty())
    usage("--cache-scope: \"" + scope + "\" " + wrong);
  return scope;
}

int create_token(const std::filesystem::path& file, const new_token_flags& flags) {
  const auto& name = flags.name;
  if (name.empty() || !api::is_plain_name(name))
    usage("the token's name: letters, digits, dot, underscore, hyphen and @ only");
  if (!api::is_plain_name(flags.owner) || flags.owner == "loopback")
    usage("--owner: letters, digits, dot, underscore, hyphen and @ only, and not \"loopback\"");
  auto scopes = read_scopes(flags.scopes);
  auto profile = read_profile(flags.profile);
  auto ceilings = read_ceiling_flags(flags.ceilings);
  auto volumes = read_volume_flags(flags.volumes);
  std::optional<timestamp> expires_at;
  if (!flags.expires.empty())
    expires_at = std::chrono::system_clock::now() + read_duration(flags.expires, "--expires");
  file_lock lock{file};
  auto list = load_tokens(file, true);
  if (std::any_of(list.tokens.begin(), list.tokens.end(), [&](const api_token& one) { return one.name == name; }))
    usage("there is already a token with the name " + name + "; revoke it first, or use another name");
  auto made = make_token(name, std::move(scopes), profile, expires_at, flags.owner, ceilings, std::move(volumes),
                         read_scope_flag(flags.cache_scope));
  list.tokens.push_back(std::move(made.entry));
  save_tokens(list, file);
  std::cout << made.text << '\n';
  std::cerr << "The token is shown only once; " << file.string() << " has only its hash.\n";
  return 0;
}

int list_tokens(const std::filesystem::path& file, bool as_json) {
  auto list = load_tokens(file, false);
  std::vector<std::vector<std::string>> rows{
    {"ID", "NAME", "OWNER", "SCOPES", "PROFILE", "CEILINGS", "CREATED", "EXPIRES"}};
  for (auto& one : list.tokens) {
    std::string scopes;
    for (auto scope : one.scopes)
      scopes += (scopes.empty() ? "" : ",") + to_string(scope);
    rows.push_back({one.id, printable(one.name), printable(one.owner), scopes,
                    one.profile ? to_string(*one.profile) : "", one.ceilings ? to_string(*one.ceilings) : "",
                    format_timestamp(one.created_at), one.expires_at ? format_timestamp(*one.expires_at) : "never"});
    one.salt.clear();
    one.hash.clear();
    if (as_json)
      std::cout << json_for_stdout(json::write(one)) << '\n';
  }
  if (!as_json)
    print_table(rows);
  return 0;
}

int revoke_token(const std::filesystem::path& file, const std::string& name) {
  file_lock lock{file};
  auto list = load_tokens(file, false);
  if (std::erase_if(list.tokens, [&](const api_token& one) { return one.name == name || one.id == name; }) == 0)
    usage("there is no token with the name or id " + name);
  save_tokens(list, file);
  return 0;
}

} // namespace davit
