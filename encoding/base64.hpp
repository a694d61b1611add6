// Base64, RFC 4648, by OpenSSL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace davit::encoding {

std::string base64_encode(std::string_view bytes);

/// The alphabet of section 5 (`-` and `_`), with padding, as Docker wants its credentials.
std::string base64url_encode(std::string_view bytes);

/// The same without padding, as JSON Web Signatures have it (RFC 7515, appendix C).
std::string base64url_encode_bare(std::string_view bytes);

/// The bytes of a text in the plain alphabet, with padding; none if the text is not valid.
std::optional<std::string> base64_decode(std::string_view text);

/// The bytes of a text in the alphabet of section 5, without padding; none if it is not what base64url_encode_bare()
/// writes.
std::optional<std::string> base64url_decode_bare(std::string_view text);

} // namespace davit::encoding
