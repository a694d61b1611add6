#include "attestation/envelope.hpp"

#include "attestation/json_shape.hpp"
#include "encoding/base64.hpp"
#include "json/write.hpp"

#include <algorithm>

namespace davit::attestation {

namespace {

/// Base64 in either alphabet, not in both at once.
std::optional<std::string> decode(std::string_view text) {
  if (text.find_first_of("-_") == std::string_view::npos)
    return encoding::base64_decode(text);
  if (text.find_first_of("+/") != std::string_view::npos)
    return std::nullopt;
  std::string plain{text};
  std::replace(plain.begin(), plain.end(), '-', '+');
  std::replace(plain.begin(), plain.end(), '_', '/');
  return encoding::base64_decode(plain);
}

/// Empty: the field was read.
std::string read_text(simdjson::dom::object from, std::string_view name, std::string& into) {
  std::string_view text;
  auto code = from.at_key(name).get_string().get(text);
  if (code == simdjson::NO_SUCH_FIELD)
    return "the field \"" + std::string{name} + "\" is missing";
  if (code != simdjson::SUCCESS)
    return "the field \"" + std::string{name} + "\" is not a text";
  into = text;
  return {};
}

std::string read_bytes(simdjson::dom::object from, std::string_view name, std::string& into) {
  std::string text;
  if (auto wrong = read_text(from, name, text); !wrong.empty())
    return wrong;
  auto bytes = decode(text);
  if (!bytes)
    return "the field \"" + std::string{name} + "\" is not valid base64";
  into = std::move(*bytes);
  return {};
}

std::string read_signature(json::element from, envelope_signature& into) {
  simdjson::dom::object fields;
  if (from.get_object().get(fields) != simdjson::SUCCESS)
    return "a signature is not a JSON object";
  if (auto wrong = read_bytes(fields, "sig", into.signature); !wrong.empty())
    return wrong;
  std::string_view key_id, key;
  if (auto code = fields.at_key("keyid").get_string().get(key_id);
      code != simdjson::SUCCESS && code != simdjson::NO_SUCH_FIELD && !fields.at_key("keyid").is_null())
    return "the field \"keyid\" is not a text";
  into.key_id = key_id;
  // davit's own field; what others may mean by it is passed over.
  if (fields.at_key("publicKey").get_string().get(key) == simdjson::SUCCESS)
    if (auto der = decode(key))
      into.key = public_key::read_der(*der);
  return {};
}

} // namespace

std::string pre_authentication_encoding(std::string_view type, std::string_view body) {
  auto text = "DSSEv1 " + std::to_string(type.size()) + ' ';
  text.append(type).append(" " + std::to_string(body.size()) + ' ').append(body);
  return text;
}

std::string seal(const signing_key& key, std::string_view statement) {
  auto signature = key.sign(pre_authentication_encoding(statement_payload, statement));
  json::object signed_by{{"keyid", key.shown().id()},
                         {"sig", encoding::base64_encode(signature)},
                         {"publicKey", encoding::base64_encode(key.shown().der())}};
  json::object whole{{"payloadType", std::string{statement_payload}},
                     {"payload", encoding::base64_encode(statement)},
                     {"signatures", json::array{std::move(signed_by)}}};
  return json::write(json::value(std::move(whole)));
}

std::optional<envelope> read_envelope(std::string_view text, std::string& why) {
  envelope read;
  auto refuse = [&](std::string wrong) -> std::optional<envelope> {
    why = "it is not a valid envelope: " + std::move(wrong);
    return std::nullopt;
  };
  if (text.size() > longest_envelope)
    return refuse("it is longer than " + std::to_string(longest_envelope) + " bytes");
  json::parser parser;
  auto root = parser.parse(text);
  if (!root)
    return refuse(root.error().text());
  simdjson::dom::object fields;
  if (root->get_object().get(fields) != simdjson::SUCCESS)
    return refuse("it is not a JSON object");
  auto wrong = wrong_shape(*root);
  if (wrong.empty())
    wrong = read_text(fields, "payloadType", read.payload_type);
  if (wrong.empty())
    wrong = read_bytes(fields, "payload", read.payload);
  simdjson::dom::array signatures;
  if (wrong.empty() && fields.at_key("signatures").get_array().get(signatures) != simdjson::SUCCESS)
    wrong = "the field \"signatures\" is missing, or not a list";
  if (wrong.empty() && (signatures.size() == 0 || signatures.size() > most_signatures))
    wrong = "it must have from 1 to " + std::to_string(most_signatures) + " signatures";
  if (!wrong.empty())
    return refuse(wrong);
  for (auto one : signatures)
    if (wrong = read_signature(one, read.signatures.emplace_back()); !wrong.empty())
      return refuse(wrong);
  return read;
}

std::optional<public_key> signer_of(const envelope& sealed, const trusted_keys& trusted) {
  auto text = pre_authentication_encoding(sealed.payload_type, sealed.payload);
  for (const auto& one : sealed.signatures) {
    for (const auto& key : trusted.keys)
      if (key.verify(text, one.signature))
        return key;
    if (one.key && std::find(trusted.ids.begin(), trusted.ids.end(), one.key->id()) != trusted.ids.end()
        && one.key->verify(text, one.signature))
      return one.key;
  }
  return std::nullopt;
}

} // namespace davit::attestation
