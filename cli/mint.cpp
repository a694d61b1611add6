#include "cli/mint.hpp"

#include "api/minted.hpp"
#include "cli/print.hpp"
#include "cli/task_flags.hpp"
#include "cli/token.hpp"
#include "configuration/configuration.hpp"
#include "encoding/digest.hpp"
#include "secrets/random_bytes.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>

namespace davit {

namespace {

using api::mint_key_list;

/// The keys' file, and the longest lifetime if a configuration says it.
struct mint_place {
  std::string file;
  std::optional<duration> longest;
};

mint_place place_of(const mint_flags& flags) {
  mint_place place{flags.key_file, std::nullopt};
  if (!flags.config_file.empty()) {
    auto access = read_configuration(flags.config_file, {}).agent.access;
    if (place.file.empty())
      place.file = access.mint_key;
    place.longest = access.mint_lifetime;
  }
  if (place.file.empty())
    usage("name the keys' file: --key-file FILE, or --config-file FILE of an agent whose configuration has "
          "api.mint-key");
  return place;
}

mint_key_list load(const std::filesystem::path& file, bool may_be_missing) {
  if (may_be_missing && !std::filesystem::exists(file))
    return {};
  std::string error;
  auto list = mint_key_list::load(file, error);
  if (!list)
    usage(error);
  return std::move(*list);
}

void save(const mint_key_list& list, const std::filesystem::path& file) {
  if (auto error = list.save(file); !error.empty())
    usage(error);
}

int create_key(const std::filesystem::path& file) {
  file_lock lock{file};
  auto list = load(file, true);
  list.keys.push_back(api::make_mint_key());
  save(list, file);
  std::cout << list.keys.back().id << '\n';
  return 0;
}

int list_keys(const std::filesystem::path& file) {
  std::vector<std::vector<std::string>> rows{{"ID", "CREATED"}};
  for (const auto& one : load(file, false).keys)
    rows.push_back({printable(one.id), format_timestamp(one.created_at)});
  print_table(rows);
  return 0;
}

int remove_key(const std::filesystem::path& file, const std::string& id) {
  file_lock lock{file};
  auto list = load(file, false);
  if (std::erase_if(list.keys, [&](const auto& one) { return one.id == id; }) == 0)
    usage("there is no key with the id " + id);
  save(list, file);
  return 0;
}

const api::mint_key& choose_key(const mint_key_list& list, const std::string& id, const std::string& file) {
  auto found
    = std::find_if(list.keys.rbegin(), list.keys.rend(), [&](const auto& one) { return id.empty() || one.id == id; });
  if (found == list.keys.rend())
    usage(file + " has no key" + (id.empty() ? "; davit token create-key makes one" : " with the id " + id));
  return *found;
}

int mint_token(const mint_flags& flags, const mint_place& place) {
  using std::chrono::floor;
  using std::chrono::seconds;
  api::minted_claims claims;
  auto lifetime = floor<seconds>(read_duration(flags.expires, "--expires"));
  if (lifetime < seconds{1})
    usage("--expires: must be at least 1s");
  if (place.longest && lifetime > *place.longest)
    usage("--expires: is over api.mint-lifetime, which is " + format_duration(*place.longest));
  claims.iss = claims.aud = api::minted_claims::issuer;
  claims.sub = flags.name;
  claims.jti = encoding::hex(secrets::random_bytes(6));
  claims.iat = floor<seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  claims.exp = claims.iat + lifetime.count();
  claims.owner = flags.owner;
  claims.scopes = read_scopes(flags.scopes);
  claims.profile = read_profile(flags.profile);
  claims.ceilings = read_ceiling_flags(flags.ceilings);
  claims.volumes_allow = read_volume_flags(flags.volumes);
  claims.cache_scope = read_scope_flag(flags.cache_scope);
  for (const auto& one : flags.labels) {
    auto equals = std::min(one.find('='), one.size());
    if (!claims.labels.emplace(one.substr(0, equals), one.substr(std::min(equals + 1, one.size()))).second)
      usage("--label: names " + one.substr(0, equals) + " twice");
  }
  if (auto wrong = api::wrong_claims(claims); !wrong.empty())
    usage(wrong);
  auto list = load(place.file, false);
  auto token = api::mint(choose_key(list, flags.key_id, place.file), claims);
  if (token.size() > api::longest_jwt)
    usage("the token would be longer than " + std::to_string(api::longest_jwt) + " bytes; give it fewer labels");
  std::cout << token << '\n';
  return 0;
}

} // namespace

void add_limit_options(CLI::App& command, std::vector<std::string>& ceilings, std::vector<std::string>& volumes,
                       std::string& cache_scope) {
  command
    .add_option("--ceiling", ceilings,
                "NAME=VALUE: a ceiling of its tasks, such as memory=4g or timeout=1h, if it is lower than the policy's")
    ->allow_extra_args(false);
  command
    .add_option("--shared-volume", volumes,
                "RE2 pattern: of the volumes that all owners share, its tasks may use only those that match")
    ->allow_extra_args(false);
  command.add_option("--cache-scope", cache_scope,
                     "Its tasks keep caches in this scope or below it, such as pr, and read the trusted ones");
}

void add_mint_commands(CLI::App& token, mint_flags& flags) {
  auto mint = token.add_subcommand("mint", "Print a short-lived token, signed with a key that the agents have");
  mint->add_option("name", flags.name, "A name for people and for the audit log")->required();
  mint->add_option("--owner", flags.owner, "Whose tasks its tasks are, such as a team")->required();
  mint
    ->add_option("--scope", flags.scopes,
                 "What the token allows: submit, read, cancel (tasks of its owner), read:all, cancel:all (tasks of "
                 "all), metrics, admin; separate several with commas")
    ->delimiter(',')
    ->required();
  mint->add_option("--expires", flags.expires, "How long it lives, such as 1h; see api.mint-lifetime")->required();
  mint
    ->add_option("--label", flags.labels,
                 "NAME=VALUE: only tasks with this label exist for the token, and its own tasks get it")
    ->allow_extra_args(false);
  mint->add_option("--profile", flags.profile, "The widest policy profile for its tasks");
  add_limit_options(*mint, flags.ceilings, flags.volumes, flags.cache_scope);
  mint->add_option("--key", flags.key_id, "Sign with the key of this id; without it, with the newest");
  auto create = token.add_subcommand("create-key", "Add a key to the file, and print its id");
  auto list = token.add_subcommand("list-keys", "List the keys");
  auto remove = token.add_subcommand("remove-key", "Remove a key: all tokens that it has signed end");
  remove->add_option("id", flags.key_id, "Its id")->required();
  for (auto command : {mint, create, list, remove}) {
    command->add_option("--key-file", flags.key_file, "The file that the agents' api.mint-key names");
    command->add_option("--config-file", flags.config_file, "The agent's configuration, which names the file");
  }
}

std::optional<int> run_mint_command(const CLI::App& token, const mint_flags& flags) {
  auto given = [&](const char* name) { return token.got_subcommand(name); };
  if (given("mint"))
    return mint_token(flags, place_of(flags));
  if (given("create-key"))
    return create_key(place_of(flags).file);
  if (given("list-keys"))
    return list_keys(place_of(flags).file);
  if (given("remove-key"))
    return remove_key(place_of(flags).file, flags.key_id);
  return std::nullopt;
}

} // namespace davit
