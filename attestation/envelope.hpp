// Envelopes that carry a signed text: DSSE 1.0 (github.com/secure-systems-lab/dsse, protocol.md and envelope.md).
#pragma once

#include "attestation/signing_key.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::attestation {

/// Of an in-toto statement.
inline constexpr std::string_view statement_payload = "application/vnd.in-toto+json";

inline constexpr std::size_t longest_envelope = 64 << 20; ///< Bytes; a longer one is refused.
inline constexpr std::size_t most_signatures = 64;

struct envelope_signature {
  std::string key_id;            ///< A hint, which anybody may have changed.
  std::string signature;         ///< Bytes.
  std::optional<public_key> key; ///< davit's own field, as little to be trusted as the rest: see signer_of().
};

/// Nothing of it is known to be true before signer_of() has found a key.
struct envelope {
  std::string payload_type;
  std::string payload; ///< Bytes.
  std::vector<envelope_signature> signatures;
};

/// The text that is signed: `DSSEv1 LEN(type) type LEN(body) body`, lengths in bytes.
std::string pre_authentication_encoding(std::string_view type, std::string_view body);

/// The envelope as one line of JSON, without a newline. The same key and statement give the same bytes.
std::string seal(const signing_key& key, std::string_view statement);

/// None: `why` says what is wrong with the text. Base64 may have either alphabet, with padding. Fields that are not
/// known are passed over; a field that is given twice is refused, because readers differ in which one they take.
std::optional<envelope> read_envelope(std::string_view text, std::string& why);

/// The keys that somebody trusts: whole ones, and fingerprints.
struct trusted_keys {
  std::vector<public_key> keys;
  std::vector<std::string> ids;
};

/// A trusted key that has signed the payload and its type. None: there is none, whatever the key ids say. A key from
/// the envelope counts only if its fingerprint is a trusted one.
std::optional<public_key> signer_of(const envelope& sealed, const trusted_keys& trusted);

} // namespace davit::attestation
