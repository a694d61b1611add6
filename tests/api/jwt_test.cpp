// Tokens and key sets of identity providers, against the examples of the RFCs and against OpenSSL: what a key has
// signed is believed, and nothing that was changed.
#include "api/claims.hpp"
#include "api/fetched_keys.hpp"
#include "api/jwks.hpp"
#include "encoding/base64.hpp"
#include "fixture/test_issuer.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <random>

using namespace davit;
using namespace davit::api;
using namespace davit::test;
using encoding::base64url_decode_bare;
using encoding::base64url_encode_bare;

namespace {

constexpr auto rfc_claims
  = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

key_set parse_set(const std::string& text) {
  std::string why;
  auto set = key_set::parse(text, why);
  INFO(why);
  REQUIRE(set);
  return *set;
}

bool is_set(const std::string& text) {
  std::string why;
  return key_set::parse(text, why).has_value();
}

bool verifies(const std::string& token, const key_set& keys) {
  std::string why;
  auto parsed = jwt::parse(token, why);
  return parsed && keys.verify(*parsed);
}

std::string decoded(const char* text) {
  auto bytes = base64url_decode_bare(text);
  REQUIRE(bytes);
  return *bytes;
}

} // namespace

TEST_CASE("base64url without padding: RFC 4648's examples, and one text only for the same bytes") {
  for (auto [bytes, text] : std::vector<std::pair<std::string, std::string>>{
         {"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"\xfb\xff", "-_8"}}) {
    CHECK(base64url_encode_bare(bytes) == text);
    CHECK(base64url_decode_bare(text) == bytes);
  }
  for (auto wrong : {"Z", "Zg==", "Zh", "Zm9", "+_8", "Z g", "Zg\n", "Zm9vYg=", "=", "Zm9v="})
    CHECK_FALSE(base64url_decode_bare(wrong));
  std::mt19937 random{Catch::getSeed()};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto size = random() % 8; text.size() < size;)
      text += "AQgw-_8=+/ z"[random() % 12];
    if (auto bytes = base64url_decode_bare(text); bytes && base64url_encode_bare(*bytes) != text)
      FAIL(text);
  }
}

TEST_CASE("the signatures of RFC 7515, appendices A.2 and A.3") {
  std::string why;
  auto rsa = public_key::rsa(
    decoded(
      "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
      "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2"
      "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD"
      "TW9gb54h4FRWyuXpoQ"),
    decoded("AQAB"), why);
  REQUIRE(rsa);
  auto text = std::string{"eyJhbGciOiJSUzI1NiJ9."} + rfc_claims;
  auto signature = decoded(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1d"
    "nZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu"
    "sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77"
    "Rw");
  CHECK(rsa->algorithm() == "RS256");
  CHECK(rsa->verify(text, signature));
  CHECK_FALSE(rsa->verify(text + 'x', signature));
  auto p256 = public_key::p256(decoded("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
                               decoded("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"), why);
  REQUIRE(p256);
  text = std::string{"eyJhbGciOiJFUzI1NiJ9."} + rfc_claims;
  signature = decoded("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  CHECK(p256->algorithm() == "ES256");
  CHECK(p256->verify(text, signature));
  CHECK_FALSE(p256->verify(text, signature.substr(1)));
  CHECK_FALSE(p256->verify(text, std::string(64, '\0')));
  CHECK_FALSE(p256->verify(text, std::string(64, '\xff')));
  CHECK_FALSE(p256->verify(text, ""));
}

TEST_CASE("a key set: the keys that are of use, and those that are not") {
  signing_key rsa{"RS256", "r"}, p256{"ES256", "e"}, p384{"ES384", "p"}, small{"RS256-1024", "s"};
  auto claims = R"({"sub":"x"})";
  auto keys = parse_set(
    key_set_of({R"({"kty":"oct","kid":"o","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"})",
                R"({"kty":"OKP","kid":"x","crv":"Ed25519","x":"AA"})", "{}", "7",
                R"({"kty":"RSA","kid":"broken","n":"***","e":"AQAB"})", p384.jwk(), small.jwk(),
                rsa.jwk(R"(,"use":"sig","alg":"RS256","x5t":"unknown")"), p256.jwk(R"(,"key_ops":["verify"])")}));
  CHECK(verifies(rsa.sign(claims), keys));
  CHECK(verifies(p256.sign(claims), keys));
  CHECK_FALSE(verifies(p384.sign(claims), keys));
  CHECK_FALSE(verifies(small.sign(claims), keys));
  // The other key's id, another algorithm than the key's, no id.
  CHECK_FALSE(verifies(rsa.sign(claims, R"({"alg":"RS256","kid":"e"})"), keys));
  CHECK_FALSE(verifies(rsa.sign(claims, R"({"alg":"ES256","kid":"r"})"), keys));
  CHECK_FALSE(verifies(rsa.sign(claims, R"({"alg":"PS256","kid":"r"})"), keys));
  CHECK_FALSE(verifies(rsa.sign(claims, R"({"alg":"RS256"})"), keys));
  CHECK_FALSE(verifies(rsa.sign(claims, R"({"alg":"RS256","kid":"r","crit":["x"]})"), keys));
  CHECK_FALSE(verifies(signing_key{"RS256", "r"}.sign(claims), keys)); // who only claims to be it
  // Keys for something else.
  for (auto other : {R"(,"use":"enc")", R"(,"key_ops":["sign"])", R"(,"alg":"RS512")"})
    CHECK_FALSE(is_set(key_set_of({rsa.jwk(other)})));
  for (auto wrong : {"", "[]", "{}", "7", R"({"keys":{}})", R"({"keys":[]})", R"({"keys":[{}]})", "{\"keys\":[\"x\"]}"})
    CHECK_FALSE(is_set(wrong));
  CHECK_FALSE(is_set(key_set_of(std::vector<std::string>(101, p256.jwk()))));
  CHECK_FALSE(is_set(key_set_of({p256.jwk()}) + std::string(key_set::most_bytes, ' ')));
  std::string why;
  CHECK_FALSE(public_key::p256(std::string(32, '\1'), std::string(32, '\2'), why)); // not on the curve
  CHECK_FALSE(public_key::p256(std::string(32, '\0'), std::string(32, '\0'), why));
  CHECK_FALSE(public_key::rsa(std::string(256, '\xff'), "\2", why));
  CHECK_FALSE(public_key::rsa(std::string(256, '\xff'), "\1", why));
  CHECK_FALSE(public_key::rsa(std::string(256, '\xfe'), "\3", why));
  CHECK_FALSE(public_key::rsa(std::string(4096, '\xff'), "\3", why));
}

TEST_CASE("a public key is never the secret of an HMAC, and no signature is none") {
  signing_key rsa{"RS256", "r"}, p256{"ES256", "e"};
  auto keys = parse_set(key_set_of({rsa.jwk(), p256.jwk()}));
  for (const auto* key : {&rsa, &p256})
    for (std::string algorithm : {"HS256", "HS384", "HS512", "none", "None", "NONE", "", "RS256", "ES256"})
      for (std::string id : {"r", "e"})
        for (const auto& secret : {key->pem(), key->jwk(), std::string{}}) {
          auto text = base64url_encode_bare(R"({"alg":")" + algorithm + R"(","kid":")" + id + "\"}") + '.'
                    + base64url_encode_bare(R"({"sub":"x"})");
          unsigned char digest[EVP_MAX_MD_SIZE];
          unsigned int size = 0;
          HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
               reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
          CHECK_FALSE(verifies(text + '.' + base64url_encode_bare({reinterpret_cast<char*>(digest), size}), keys));
          CHECK_FALSE(verifies(text + '.', keys));
          CHECK_FALSE(verifies(text, keys));
        }
}

TEST_CASE("a signed token that was changed in any place is refused") {
  signing_key rsa{"RS256", "r"}, p256{"ES256", "e"};
  auto keys = parse_set(key_set_of({rsa.jwk(), p256.jwk()}));
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
  std::mt19937 random{Catch::getSeed()};
  for (const auto& token : {rsa.sign(R"({"sub":"x","exp":1})"), p256.sign(R"({"sub":"x","exp":1})")}) {
    REQUIRE(verifies(token, keys));
    for (std::size_t i = 0; i < token.size(); ++i) {
      for (int n = 0; n < 4; ++n) {
        auto changed = token;
        changed[i] = letters[random() % letters.size()];
        if (changed != token && verifies(changed, keys))
          FAIL("byte " << i << " of " << token << " as " << changed[i]);
      }
      CHECK_FALSE(verifies(token.substr(0, i), keys));
      CHECK_FALSE(verifies(token.substr(0, i) + token.substr(i + 1), keys));
    }
    // The last letters have bits to spare.
    for (auto letter : letters) {
      auto changed = token.substr(0, token.size() - 1) + letter;
      CHECK((changed == token || !verifies(changed, keys)));
    }
  }
}

TEST_CASE("a token in compact form: three parts, 8 KiB, a header that is understood") {
  std::string why;
  auto with = [](const std::string& header) { return base64url_encode_bare(header) + ".e30.AAAA"; };
  for (auto good : {R"({"alg":"RS256"})", R"({"alg":"x","kid":"y","typ":"JWT"})", R"({"typ":"at+jwt","alg":"x"})",
                    R"({"alg":"x","jwk":{"kty":"RSA"},"jku":"https://evil.example.com","x5c":[]})"})
    CHECK(jwt::parse(with(good), why));
  for (auto wrong : {"", "{}", "[]", "null", R"({"alg":1})", R"({"alg":""})", R"({"alg":"x","crit":[]})",
                     R"({"alg":"x","typ":"logout+jwt"})", R"({"alg":"x","kid":null})", R"({"alg":"x","alg":"x"})",
                     R"({"alg":"x","zip":"DEF"})", R"({"alg":"x","jwk":1,"jwk":1})", "{\"alg\":\"\xff\"}"}) {
    INFO(wrong);
    CHECK_FALSE(jwt::parse(with(wrong), why));
    CHECK_FALSE(why.empty());
  }
  auto head = base64url_encode_bare(R"({"alg":"x"})");
  for (auto rest : {"", ".", ".e30", ".e30.", "..AAAA.", ".e30.AAAA.", ".e30.AAAA.AAAA.AAAA", ".e 0.AAAA", ".e30.A"})
    CHECK_FALSE(jwt::parse(head + rest, why));
  auto long_one = head + '.' + std::string(longest_jwt - head.size() - 6, 'A') + ".AAAA";
  REQUIRE(long_one.size() == longest_jwt);
  CHECK_FALSE(jwt::parse(long_one + "AAAA", why));
  CHECK(why.find("longer") != std::string::npos);
}

TEST_CASE("claims: texts, numbers, lists, paths and times") {
  std::string why;
  auto claims = token_claims::parse(
    R"({"sub":"x","n":7,"big":18446744073709551615,"yes":true,"null":null,"list":["a",2,{}],"exp":1700000000.9,
        "nbf":1,"iat":2,"kubernetes.io":{"namespace":"ci","serviceaccount":{"name":"runner"}}})",
    why);
  REQUIRE(claims);
  CHECK(claims->text("sub") == "x");
  CHECK(claims->text("n") == "7");
  CHECK(claims->text("big") == "18446744073709551615");
  CHECK(claims->text("yes") == "true");
  CHECK(claims->text("null").empty());
  CHECK(claims->text("list").empty());
  CHECK(claims->has("list", "a"));
  CHECK(claims->has("list", "2"));
  CHECK(claims->text("kubernetes.io/namespace") == "ci");
  CHECK(claims->text("kubernetes.io/serviceaccount/name") == "runner");
  timestamp expiry{std::chrono::seconds{1'700'000'000}};
  CHECK(claims->expires_at == expiry);
  CHECK(wrong_times(*claims, expiry + clock_leeway - duration{1}).empty());
  CHECK_FALSE(wrong_times(*claims, expiry + clock_leeway).empty());
  std::string deep = "1";
  for (int i = 0; i < 20; ++i)
    deep = "{\"a\":" + deep + '}';
  for (const std::string& wrong :
       {std::string{"[]"}, std::string{R"({"sub":"a","sub":"b"})"}, std::string{R"({"a/b":1,"a":{"b":1}})"},
        std::string{R"({"exp":"1"})"}, std::string{R"({"exp":-1})"}, std::string{R"({"exp":1e300})"},
        std::string{R"({"nbf":null})"}, std::string{R"({"iat":[]})"}, deep})
    CHECK_FALSE(token_claims::parse(wrong, why));
  auto times = [&](const std::string& text) { return wrong_times(*token_claims::parse(text, why), expiry); };
  CHECK_FALSE(times("{}").empty());
  CHECK(times(R"({"exp":1700000001,"nbf":1700000060,"iat":1700000060})").empty());
  CHECK_FALSE(times(R"({"exp":1700000001,"nbf":1700000061})").empty());
  CHECK_FALSE(times(R"({"exp":1700000001,"iat":1700000061})").empty());
  CHECK(times(R"({"exp":1699999941})").empty());
  CHECK_FALSE(times(R"({"exp":1699999940})").empty());
}

TEST_CASE("keys that can't be fetched are asked for less and less often; a failure is told once, and each 10 minutes") {
  using std::chrono::minutes, std::chrono::seconds;
  fetched_keys keys;
  auto now = fetched_keys::clock::now(), told = now;
  int lines = 0;
  for (auto rest : {10, 20, 40, 80, 160, 300, 300, 300, 300, 300}) {
    CAPTURE(rest);
    REQUIRE(keys.begin(true, now));
    if (keys.fail("refused", now)) {
      CHECK((lines == 0 || now - told >= minutes{10}));
      told = now;
      ++lines;
    }
    CHECK_FALSE(keys.begin(true, now + seconds{rest - 1}));
    now += seconds{rest};
  }
  CHECK(lines == 3);
  REQUIRE(keys.begin(false, now));
  CHECK(keys.fail("the answer was 500", now)); // another reason is news
  now += minutes{5};
  REQUIRE(keys.begin(false, now));
  keys.end(std::make_shared<const key_set>(), "a", now);
  REQUIRE(keys.begin(true, now += minutes{1}));
  CHECK(keys.fail("the answer was 500", now)); // it had worked meanwhile
  CHECK_FALSE(keys.begin(true, now + seconds{59}));
  CHECK(keys.begin(true, now + minutes{1}));
}

TEST_CASE("when keys are fetched, and how long they are good") {
  using std::chrono::hours, std::chrono::minutes, std::chrono::seconds;
  fetched_keys keys;
  auto set = std::make_shared<const key_set>();
  auto now = fetched_keys::clock::now();
  CHECK(keys.begin(false, now));
  CHECK_FALSE(keys.begin(true, now)); // one fetch at once
  CHECK(keys.look().pending);
  keys.fail("no route", now);
  CHECK(keys.look().trouble == "no route");
  CHECK_FALSE(keys.begin(false, now + seconds{9}));
  CHECK(keys.begin(false, now += seconds{10}));
  keys.end(set, "a", now);
  CHECK(keys.look().keys == set);
  CHECK_FALSE(keys.look().pending);
  CHECK(keys.version() == 1);
  // A token with an unknown key: once a minute. Else: every hour.
  CHECK_FALSE(keys.begin(true, now + seconds{59}));
  CHECK(keys.begin(true, now += minutes{1}));
  keys.end(std::make_shared<const key_set>(), "a", now);
  CHECK(keys.version() == 1); // the same keys
  CHECK(keys.look().keys == set);
  CHECK_FALSE(keys.begin(false, now + minutes{59}));
  CHECK(keys.begin(false, now += hours{1}));
  keys.end(set, "b", now);
  CHECK(keys.version() == 2);
  // If it fails, it is tried after a minute, then less often, and the keys stay for a day.
  auto fetched = now;
  CHECK(keys.begin(false, now += hours{1}));
  seconds rest{60};
  for (int failures = 1; now < fetched + hours{24} - minutes{10}; ++failures) {
    keys.fail("down", now);
    rest = failures <= 3 ? seconds{60} : std::min<seconds>(rest == seconds{60} ? seconds{80} : rest * 2, minutes{5});
    CAPTURE(failures, rest.count());
    CHECK_FALSE(keys.begin(true, now + rest - seconds{1}));
    CHECK(keys.begin(true, now += rest));
    CHECK(keys.look().keys == set);
  }
  keys.fail("down", now);
  keys.begin(false, fetched + hours{24});
  CHECK_FALSE(keys.look().keys);
  CHECK(keys.version() == 3);
}
