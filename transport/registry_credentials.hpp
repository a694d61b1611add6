// Credentials of image registries, from the file that `docker login` writes.
// Source: docker CLI, cli/config/configfile and docker-credential-helpers.
#pragma once

#include "transport/engine_client.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace davit::transport {

/// What one `config.json` says. Immutable.
class registry_credentials {
public:
  /// No credentials at all.
  registry_credentials() = default;

  /// Reads `auths`, `credHelpers` and `credsStore`; other keys are ignored. `source` names the text in errors, which
  /// never quote it.
  static result<registry_credentials> parse(std::string_view text, const std::string& source);

  /// Like `parse`, of a text that is a task's own: `auths` only. Helpers and stores are programs on the agent's
  /// machine, with credentials that are not the task's.
  static result<registry_credentials> parse_own(std::string_view text, const std::string& source);

  /// Whether the text names helpers or a store; false if it can't be read.
  static bool names_helpers(std::string_view text);

  /// What nobody may see of a text that is a config.json, or of a decoded `X-Registry-Auth`: passwords, tokens, and
  /// `user:password`, which goes over the wire in base64. Of a text that is neither: nothing.
  static std::vector<std::string> secret_parts(std::string_view text);

  /// The file as it is now. An empty name is no file and no error.
  static result<registry_credentials> load(const std::filesystem::path& file);

  /// What the engine is to be given with a pull of the image; empty if nothing is known of its registry. A credential
  /// helper is a program `docker-credential-NAME` on the PATH, which is killed at the deadline.
  awaitable<result<registry_auth>> of_image(std::string image, deadline until) const;

  /// The key under which a config.json has the image's registry: `https://index.docker.io/v1/` for Docker Hub, else
  /// `host[:port]`.
  static std::string registry_of(std::string_view image);

private:
  /// `https://registry.example/v2/` and `registry.example` are the same place; Docker Hub has names of its own.
  static std::string place_of(std::string_view key);

  struct entry {
    std::string username, password, identity_token, registry_token;
  };
  std::map<std::string, entry> auths_;
  std::map<std::string, std::string> helpers_; ///< By registry.
  std::string store_;                          ///< The helper for all others.
};

} // namespace davit::transport
