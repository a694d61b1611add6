// Text from elsewhere, made harmless for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace davit::encoding {

/// What could move a cursor, change colours, retitle a terminal or make a text read as another becomes visible, byte by
/// byte: `\x1b`. These are the control characters (C0, DEL, C1), the marks that turn the direction of writing around,
/// characters without width, line and paragraph separators, tags, and bytes that are not valid UTF-8. A tab and a line
/// end become a blank, so that one text is one line. All else stays as it is.
std::string printable(std::string_view text);

/// At most so many bytes of UTF-8, and no part of a character; what is cut off is `...`.
std::string cut_to(std::string text, std::size_t most);

/// The same for JSON, which stays JSON that means the same: `\u001b`. Line ends and tabs between values stay. Bytes
/// that are not valid UTF-8 become U+FFFD.
std::string printable_json(std::string_view json);

} // namespace davit::encoding
