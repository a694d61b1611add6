// Base64, RFC 4648, by OpenSSL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace davit::encoding {

std::string base64_encode(std::string_view bytes);

/// The alphabet of section 5 (`-` and `_`), with padding, as Docker wants its credentials.
std::string base64url_encode(std::string_view bytes);

/// The bytes of a text in the plain alphabet, with padding; none if the text is not valid.
std::optional<std::string> base64_decode(std::string_view text);

} // namespace davit::encoding
