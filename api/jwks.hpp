// An identity provider's keys: a JSON Web Key Set, RFC 7517.
#pragma once

#include "api/jwt.hpp"
#include "api/public_key.hpp"

#include <vector>

namespace davit::api {

class key_set {
public:
  static constexpr std::size_t most_bytes = 256 * 1024;
  static constexpr std::size_t most_keys = 100;

  /// Keys that davit has no use for (other types, other curves, for encryption, without an id) are passed over. None:
  /// it is not a key set, or has no key that is of use; `why` says so.
  static std::optional<key_set> parse(std::string_view text, std::string& why);

  /// Whether a key has the id that the token names.
  bool knows(const jwt& token) const;

  /// Whether a key of the token's id and algorithm has signed it.
  bool verify(const jwt& token) const;

private:
  struct entry {
    std::string id;
    public_key key;
  };
  std::vector<entry> keys_;
};

} // namespace davit::api
