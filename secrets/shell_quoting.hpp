// How shells write a value down: `set -x`, `printf %q`, `declare -p`, `${NAME@Q}`.
#pragma once

#include <string>
#include <vector>

namespace davit::secrets {

/// What stands between a shell's quotes for this value. As bash has it in single quotes (`'\''` for a quote), in
/// `$'...'` (in a UTF-8 locale and in the locale C), with backslashes and in double quotes; as dash and busybox have it
/// in single quotes (`'"'"'`). Forms may be equal, to each other and to the value.
std::vector<std::string> shell_forms(const std::string& value);

} // namespace davit::secrets
