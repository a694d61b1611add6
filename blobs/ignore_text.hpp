// What the readers of ignore files and of their patterns share: Go's ways with text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace davit::blobs {

/// `strings.TrimSpace`.
std::string_view trimmed(std::string_view text);

/// The size of the UTF-8 character at the beginning; 0 if there is none that is valid.
std::size_t character_size(std::string_view text);

/// Go takes each byte that is not valid UTF-8 for U+FFFD.
std::string as_utf8(std::string_view text);

/// Whether `filepath.Match(pattern, ".")` gives no error: moby's test of a pattern. It looks at a malformed class only
/// as far as it has to go.
bool is_accepted(std::string_view pattern);

} // namespace davit::blobs
