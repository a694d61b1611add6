// Hexadecimal digits, and SHA-256 (FIPS 180-4) by OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace davit::encoding {

/// Two lower-case digits for each byte.
std::string hex(std::string_view bytes);

/// 64 hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

} // namespace davit::encoding
