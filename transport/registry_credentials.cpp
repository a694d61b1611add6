#include "transport/registry_credentials.hpp"

#include "json/read.hpp"
#include "encoding/base64.hpp"
#include "messages/regular_file.hpp"

namespace davit::transport {

namespace {

constexpr std::string_view docker_hub = "https://index.docker.io/v1/";

struct file_entry {
  std::string auth, username, password, identitytoken, registrytoken;
};
template <class Inspector>
bool inspect(Inspector& f, file_entry& x) {
  return f.object(x).fields(f.field("auth", x.auth), f.field("username", x.username), f.field("password", x.password),
                            f.field("identitytoken", x.identitytoken), f.field("registrytoken", x.registrytoken));
}

struct file_content {
  std::map<std::string, file_entry> auths;
  std::map<std::string, std::string> helpers;
  std::string store;
};
template <class Inspector>
bool inspect(Inspector& f, file_content& x) {
  return f.object(x).fields(f.field("auths", x.auths), f.field("credHelpers", x.helpers),
                            f.field("credsStore", x.store));
}

error wrong(const std::string& source, const std::string& what) {
  return {engine_errc::refused, 0, source + " is not a valid Docker config.json: " + what};
}

/// Helpers are named by docker's own rule, so that no name leads to another program.
bool is_helper_name(const std::string& name) {
  return !name.empty()
      && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
           == std::string::npos;
}

} // namespace

std::string registry_credentials::place_of(std::string_view key) {
  if (auto scheme = key.find("://"); scheme != std::string_view::npos)
    key.remove_prefix(scheme + 3);
  auto host = key.substr(0, key.find('/'));
  return host == "index.docker.io" || host == "docker.io" || host == "registry-1.docker.io" ? "docker.io"
                                                                                            : std::string{host};
}

result<registry_credentials> registry_credentials::parse(std::string_view text, const std::string& source) {
  auto content = json::read<file_content>(text, json::unknown_fields::ignore);
  if (!content) // what is wrong with a value could quote it
    return wrong(source, content.error().path.empty() ? "it is not JSON" : "look at " + content.error().path);
  registry_credentials all;
  for (auto& [registry, from] : content->auths) {
    entry one{std::move(from.username), std::move(from.password), std::move(from.identitytoken),
              std::move(from.registrytoken)};
    if (!from.auth.empty()) {
      auto decoded = encoding::base64_decode(from.auth);
      auto colon = decoded ? decoded->find(':') : std::string::npos;
      if (colon == std::string::npos)
        return wrong(source, "auths[" + registry + "].auth is not the base64 of user:password");
      one.username = decoded->substr(0, colon);
      one.password = decoded->substr(colon + 1);
      one.password.erase(one.password.find_last_not_of('\0') + 1);
    }
    if (!one.username.empty() || !one.identity_token.empty() || !one.registry_token.empty())
      all.auths_[place_of(registry)] = std::move(one);
  }
  for (auto& [registry, helper] : content->helpers) {
    if (!is_helper_name(helper))
      return wrong(source, "credHelpers[" + registry + "] is not a valid name of a credential helper");
    all.helpers_[place_of(registry)] = std::move(helper);
  }
  if (!content->store.empty() && !is_helper_name(content->store))
    return wrong(source, "credsStore is not a valid name of a credential helper");
  all.store_ = std::move(content->store);
  return all;
}

result<registry_credentials> registry_credentials::parse_own(std::string_view text, const std::string& source) {
  if (names_helpers(text))
    return error{
      engine_errc::refused, 0,
      source
        + " names credential helpers (credHelpers or credsStore), which only the agent's own file may; write "
          "the credentials as auths"};
  return parse(text, source);
}

std::vector<std::string> registry_credentials::secret_parts(std::string_view text) {
  std::vector<std::string> parts;
  auto add = [&](std::string one) {
    if (!one.empty())
      parts.push_back(std::move(one));
  };
  auto add_pair = [&](const std::string& user, const std::string& password) {
    add(password);
    if (!password.empty())
      add(user + ':' + password);
  };
  auto add_all = [&](const file_entry& one) {
    add(one.auth);
    add(one.identitytoken);
    add(one.registrytoken);
    add_pair(one.username, one.password);
    if (auto decoded = encoding::base64_decode(one.auth))
      if (auto colon = decoded->find(':'); colon != std::string::npos)
        add_pair(decoded->substr(0, colon), decoded->substr(colon + 1));
  };
  if (auto content = json::read<file_content>(text, json::unknown_fields::ignore))
    for (const auto& [registry, one] : content->auths)
      add_all(one);
  if (auto one = json::read<file_entry>(text, json::unknown_fields::ignore))
    add_all(*one);
  return parts;
}

bool registry_credentials::names_helpers(std::string_view text) {
  auto content = json::read<file_content>(text, json::unknown_fields::ignore);
  return content && (!content->helpers.empty() || !content->store.empty());
}

result<registry_credentials> registry_credentials::load(const std::filesystem::path& file) {
  if (file.empty())
    return registry_credentials{};
  regular_file in{file};
  auto text = in.read();
  if (!text)
    return error{engine_errc::refused, 0,
                 "the agent's registry credentials (davit.agent.docker-config): the file " + in.wrong()};
  return parse(*text, file.string());
}

std::string registry_credentials::registry_of(std::string_view image) {
  auto slash = image.find('/');
  auto first = image.substr(0, slash);
  if (slash == std::string_view::npos || (first != "localhost" && first.find_first_of(".:") == std::string_view::npos)
      || place_of(first) == "docker.io")
    return std::string{docker_hub};
  return std::string{first};
}

} // namespace davit::transport
