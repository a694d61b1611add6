// Whom a container's command runs as, in numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace davit {

struct container_user {
  std::uint64_t user = 0, group = 0;
  bool operator==(const container_user&) const = default;
};

/// Whether /etc/passwd, or /etc/group, must be read to know it.
bool needs_passwd(std::string_view user);
bool needs_group(std::string_view user);

/// As the engine reads the user of a container (`name[:group]`, each a name or a number) when it starts it:
/// https://pkg.go.dev/github.com/moby/sys/user#GetExecUser. What is not in the files is root here: the engine refuses
/// to start such a container.
container_user find_user(std::string_view user, std::string_view passwd, std::string_view group);

} // namespace davit
