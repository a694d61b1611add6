// Envelopes: DSSE's own vectors, all that must be refused, and every change of one byte.
#include "attestation/envelope.hpp"
#include "encoding/base64.hpp"
#include "fixture/test_engine.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fstream>
#include <random>

using namespace davit;
using namespace davit::attestation;
using davit::test::scratch_folder;

namespace {

std::string unhex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string{text.substr(i, 2)}, nullptr, 16));
  return bytes;
}

public_key key_of(std::string_view hex) {
  std::array<unsigned char, public_key::bytes> point{};
  auto bytes = unhex(hex);
  std::copy(bytes.begin(), bytes.end(), point.begin());
  return public_key{point};
}

/// The public keys of RFC 8032, 7.1, tests 1 and 2, with which DSSE's vectors are signed.
const auto key_a = key_of("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
           key_b = key_of("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");

const std::string payload = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==",
                  sig_a = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==",
                  sig_b = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==",
                  type = "application/vnd.in-toto+json";

std::string with(const std::string& type, const std::string& payload, const std::string& signatures) {
  return R"({"payload":")" + payload + R"(","payloadType":")" + type + R"(","signatures":[)" + signatures + "]}";
}

std::string signed_by(const std::string& sig, const std::string& key_id = {}) {
  return R"({"sig":")" + sig + (key_id.empty() ? "\"}" : R"(","keyid":")" + key_id + "\"}");
}

std::optional<public_key> judge(const std::string& text, const trusted_keys& trusted) {
  std::string why;
  auto read = read_envelope(text, why);
  INFO(why);
  REQUIRE(read);
  return signer_of(*read, trusted);
}

std::string refusal(const std::string& text) {
  std::string why;
  CHECK(!read_envelope(text, why));
  return why;
}

std::shared_ptr<const signing_key> fresh_key(const scratch_folder& folder, const std::string& name = "key") {
  std::string error;
  auto key = signing_key::open(folder / name, error);
  INFO(error);
  REQUIRE(key);
  return key;
}

} // namespace

TEST_CASE("the text that is signed is DSSE's", "[attest]") {
  CHECK(pre_authentication_encoding("http://example.com/HelloWorld", "hello world")
        == "DSSEv1 29 http://example.com/HelloWorld 11 hello world"); // protocol.md, "Test Vectors"
  CHECK(pre_authentication_encoding("", "") == "DSSEv1 0  0 ");
  CHECK(pre_authentication_encoding("\u00e4", std::string_view{"\0\xff", 2})
        == std::string_view{"DSSEv1 2 \u00e4 2 \0\xff", 16}); // lengths in bytes
}

TEST_CASE("DSSE's vectors with Ed25519 are judged as they say", "[attest]") {
  auto one = with(type, payload, signed_by(sig_a, "A"));
  CHECK(judge(one, {{key_a}, {}}) == key_a);
  CHECK(judge(one, {{key_b, key_a}, {}}) == key_a);
  CHECK(!judge(one, {{key_b}, {}}));
  CHECK(!judge(one, {}));
  SECTION("URL-safe base64") {
    CHECK(
      judge(with(type, "-_-_Pj8=",
                 signed_by("P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==")),
            {{key_a}, {}})
      == key_a);
  }
  SECTION("another payload type than the signed one") {
    CHECK(!judge(with("application/vnd.example.other+json", payload, signed_by(sig_a, "A")), {{key_a}, {}}));
  }
  SECTION("a type that is not ASCII, whose length is in bytes") {
    CHECK(
      judge(with("application/vnd.exämple+json", payload,
                 signed_by("xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==")),
            {{key_a}, {}}));
  }
  SECTION("an empty payload") {
    CHECK(
      judge(with(type, "",
                 signed_by("gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==")),
            {{key_a}, {}}));
  }
  SECTION("several signatures: a good one among those of strangers is enough, whatever the key ids say") {
    auto two = signed_by(sig_a, "A") + ',' + signed_by(sig_b, "B");
    CHECK(judge(with(type, payload, two), {{key_b}, {}}) == key_b);
    CHECK(judge(with(type, payload, signed_by(sig_a, "B") + ',' + signed_by(sig_b, "A")), {{key_b}, {}}) == key_b);
    CHECK(judge(with(type, payload, R"({"keyid":null,"sig":")" + sig_b + "\"}"), {{key_b}, {}}));
    CHECK(!judge(with(type, payload, signed_by("AAAA") + ',' + signed_by("")), {{key_a, key_b}, {}}));
  }
}

TEST_CASE("what davit seals is whole, and by a fingerprint too", "[attest]") {
  scratch_folder folder;
  auto key = fresh_key(folder), other = fresh_key(folder, "other");
  auto text = seal(*key, "{}");
  CHECK(text == seal(*key, "{}"));
  CHECK(text.find('\n') == std::string::npos);
  CHECK(judge(text, {{}, {key->shown().id()}}) == key->shown());
  CHECK(!judge(text, {{}, {other->shown().id()}}));
  CHECK(!judge(text, {{other->shown()}, {other->shown().id()}}));
  // The key in the envelope is not trusted for being there.
  CHECK(!judge(text, {}));
  // Nor does another key's signature count for the one whose fingerprint is trusted.
  auto forged = seal(*other, "{}");
  auto put = [&](const public_key& own, const public_key& instead) {
    auto there = encoding::base64_encode(own.der());
    auto changed = forged;
    return changed.replace(changed.find(there), there.size(), encoding::base64_encode(instead.der()));
  };
  CHECK(!judge(put(other->shown(), key->shown()), {{}, {key->shown().id()}}));
}

TEST_CASE("an envelope that can be understood in two ways, or not at all, is refused with its fault", "[attest]") {
  auto good = with(type, payload, signed_by(sig_a));
  struct fault {
    std::string text, word;
  };
  auto one = GENERATE_COPY(values<fault>({
    {"", "envelope"},
    {"[]", "not a JSON object"},
    {"{}", "payloadType"},
    {"null", "not a JSON object"},
    {good + "x", "envelope"},
    {R"({"payloadType":"t"})", "\"payload\" is missing"},
    {R"({"payloadType":"t","payload":1})", "\"payload\" is not a text"},
    {R"({"payloadType":"t","payload":""})", "signatures"},
    {R"({"payloadType":"t","payload":"","signatures":{}})", "signatures"},
    {with(type, payload, ""), "from 1 to 64"},
    {with(type, payload, "1"), "a signature is not"},
    {with(type, payload, "{}"), "\"sig\" is missing"},
    {with(type, payload, R"({"sig":"AAAA","keyid":1})"), "\"keyid\" is not a text"},
    {with(type, payload, R"({"sig":"AAA"})"), "\"sig\" is not valid base64"},
    {with(type, "YQ", signed_by(sig_a)), "\"payload\" is not valid base64"},   // no padding
    {with(type, "YR==", signed_by(sig_a)), "\"payload\" is not valid base64"}, // bits behind the end
    {with(type, "YW-/", signed_by(sig_a)), "\"payload\" is not valid base64"}, // both alphabets
    {with(type, " YWFh", signed_by(sig_a)), "\"payload\" is not valid base64"},
    {R"({"payload":"","payload":"","payloadType":"t","signatures":[{"sig":""}]})", "\"payload\" is given twice"},
    {with(type, payload, R"({"sig":"AAAA","sig":"AAAA"})"), "\"sig\" is given twice"},
    {R"({"x":{"y":[{"z":1,"z":2}]},)" + good.substr(1), "\"z\" is given twice"},
    {R"({"x":)" + std::string(70, '[') + std::string(70, ']') + ',' + good.substr(1), "64 levels"},
    {R"({"x":)" + std::string(100'000, '['), "envelope"},
    {std::string(longest_envelope + 1, ' '), "longer than"},
  }));
  CAPTURE(one.text.substr(0, 200));
  CHECK(refusal(one.text).find(one.word) != std::string::npos);
  std::string many;
  for (int i = 0; i < 65; ++i)
    many += (i == 0 ? "" : ",") + signed_by(sig_a);
  CHECK(refusal(with(type, payload, many)).find("from 1 to 64") != std::string::npos);
  // Every beginning of it.
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK(!refusal(good.substr(0, length)).empty());
}

TEST_CASE("a changed byte of an envelope is refused, or changes nothing of what it says", "[attest]") {
  scratch_folder folder;
  auto key = fresh_key(folder);
  const std::string statement = R"({"_type":"https://in-toto.io/Statement/v1","x":[1,2.5,"ü"]})";
  auto sealed = seal(*key, statement);
  trusted_keys whole{{key->shown()}, {}}, fingerprint{{}, {key->shown().id()}};
  std::mt19937 random{1};
  std::size_t refused = 0, same = 0;
  auto look = [&](const std::string& changed) {
    for (const auto& trusted : {whole, fingerprint}) {
      std::string why;
      auto read = read_envelope(changed, why);
      if (!read || !signer_of(*read, trusted)) {
        ++refused;
        continue;
      }
      ++same;
      CHECK(read->payload == statement);
      CHECK(read->payload_type == statement_payload);
      CHECK(signer_of(*read, trusted) == key->shown());
    }
  };
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    auto changed = sealed;
    for (int bit = 0; bit < 8; ++bit) {
      changed[at] = static_cast<char>(sealed[at] ^ (1 << bit));
      look(changed);
    }
    changed[at] = static_cast<char>(random());
    if (changed != sealed)
      look(changed);
    look(sealed.substr(0, at) + sealed.substr(at + 1));
    look(sealed.substr(0, at) + static_cast<char>(random()) + sealed.substr(at));
  }
  CHECK(refused > 10 * sealed.size());
  CHECK(same > 0); // in the key id, which is a hint

  // The statement itself: no change of it has the signature.
  for (std::size_t at = 0; at < statement.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      auto other = statement;
      other[at] = static_cast<char>(other[at] ^ (1 << bit));
      auto there = encoding::base64_encode(statement);
      auto changed = sealed;
      changed.replace(changed.find(there), there.size(), encoding::base64_encode(other));
      std::string why;
      auto read = read_envelope(changed, why);
      REQUIRE(read);
      REQUIRE(read->payload == other);
      CHECK(!signer_of(*read, whole));
    }
}
