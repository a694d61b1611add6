// SHA-256 (FIPS 180-4) as a value: the name of a blob.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace davit::blobs {

struct digest {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const digest&) const = default;
};

/// `sha256:` and 64 lower-case hexadecimal digits.
std::string to_text(const digest& value);

/// Takes exactly what `to_text` writes.
std::optional<digest> parse_digest(std::string_view text);

/// Of the bytes.
digest digest_of(std::string_view bytes);

/// The digest of no bytes.
const digest& empty_digest();

/// Bytes that come in pieces. Used by one thread at a time.
class hasher {
public:
  hasher();
  ~hasher();
  hasher(hasher&&) noexcept;
  hasher& operator=(hasher&&) noexcept;

  void add(std::string_view piece);
  /// So many zero bytes: the hole of a sparse file.
  void add_zeros(std::uint64_t count);
  /// Of all that was added. After this it begins anew.
  digest finish();

private:
  struct context;
  std::unique_ptr<context> context_;
};

} // namespace davit::blobs

/// Callers choose digests: the hash has a seed of this process, so nobody can choose ones that fall together.
template <>
struct std::hash<davit::blobs::digest> {
  std::size_t operator()(const davit::blobs::digest& value) const noexcept;
};
