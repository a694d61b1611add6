// Minted tokens: what a key has signed is believed, and nothing else, not by a bit.
#include "api/minted.hpp"
#include "api/rate_limit.hpp"
#include "encoding/base64.hpp"
#include "fixture/key_file.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"
#include "json/write.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <random>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;
using api::minted_claims;

namespace {

constexpr duration day{24h};
constexpr auto letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
const timestamp noon{std::chrono::seconds{1'800'000'000}};

minted_claims good_claims() {
  minted_claims claims;
  claims.iss = claims.aud = "davit";
  claims.sub = "job";
  claims.jti = "1";
  claims.iat = 1'800'000'000;
  claims.exp = claims.iat + 3600;
  claims.owner = "team-a";
  claims.scopes = {api_scope::submit, api_scope::read};
  claims.labels = {{"job", "17"}};
  return claims;
}

std::optional<api::identity>
check(const std::string& token, const api::mint_key_list& keys, std::string& why, timestamp now = noon) {
  auto parsed = api::jwt::parse(token, why);
  return parsed ? api::check_minted(*parsed, keys, day, now, why) : std::nullopt;
}

bool is_good(const std::string& token, const api::mint_key_list& keys, timestamp now = noon) {
  std::string why;
  auto known = check(token, keys, why, now);
  CHECK(why.empty() == known.has_value());
  return known.has_value();
}

} // namespace

TEST_CASE("a minted token is believed while it lives, and says whose it is") {
  api::mint_key_list keys{{api::make_mint_key(), api::make_mint_key()}};
  for (const auto& key : keys.keys) {
    auto token = api::mint(key, good_claims());
    std::string why;
    auto known = check(token, keys, why);
    INFO(why);
    REQUIRE(known);
    CHECK(known->who.owner == "team-a");
    CHECK(known->who.scopes == std::vector{api_scope::submit, api_scope::read});
    CHECK(known->who.labels == api::task_labels{{"job", "17"}});
    // What its tasks keep for others is kept apart from what those of other labels keep.
    auto scope = [&](api::task_labels labels, std::string own) {
      auto claims = good_claims();
      claims.labels = std::move(labels);
      claims.cache_scope = std::move(own);
      return check(api::mint(key, claims), keys, why).value().who.limits.cache_scope;
    };
    CHECK(scope({{"job", "17"}}, "").starts_with("label/"));
    CHECK(scope({{"job", "17"}}, "") == known->who.limits.cache_scope);
    CHECK(scope({{"job", "18"}}, "") != known->who.limits.cache_scope);
    CHECK(scope({{"job", "17"}}, "pr") == "pr");
    CHECK(scope({}, "").empty());
    CHECK(known->expires_at == noon + 1h);
    CHECK(known->who.name == "minted token job job=17 (1, key " + key.id + ")");
    CHECK(is_good(token, keys, noon + 3599s));
    CHECK_FALSE(is_good(token, keys, noon + 3600s));
    CHECK(is_good(token, keys, noon - 60s));
    CHECK_FALSE(is_good(token, keys, noon - 61s));
    CHECK_FALSE(is_good(token, {{api::make_mint_key()}}));
    CHECK_FALSE(is_good(token, {}));
  }
}

TEST_CASE("no claim of a minted token may be missing, malformed or too large, even if the key signed it") {
  api::mint_key_list keys{{api::make_mint_key()}};
  auto refused = [&](auto change) {
    auto claims = good_claims();
    change(claims);
    INFO(json::write(claims));
    CHECK_FALSE(is_good(api::mint(keys.keys[0], claims), keys));
  };
  refused([](auto& one) { one.iss = "https://gitlab.example.com"; });
  refused([](auto& one) { one.iss.clear(); });
  refused([](auto& one) { one.aud = "other"; });
  refused([](auto& one) { one.aud.clear(); });
  refused([](auto& one) { one.sub = "two words"; });
  refused([](auto& one) { one.sub.clear(); });
  for (auto owner : {"", "loopback", "uid 1000", "token x", "gitlab/group", "\n"})
    refused([&](auto& one) { one.owner = owner; });
  refused([](auto& one) { one.scopes.clear(); });
  refused([](auto& one) { one.scopes = {api_scope::admin}; }); // with a label
  refused([](auto& one) { one.labels["davit.task"] = "x"; });
  refused([](auto& one) { one.labels["x"] = ""; });
  refused([](auto& one) { one.exp = one.iat; });
  refused([](auto& one) { one.exp = one.iat + 24 * 3600 + 1; });
  refused([](auto& one) { one.exp = std::numeric_limits<std::int64_t>::max(); });
  refused([](auto& one) { one.iat = std::numeric_limits<std::int64_t>::min(); });
  refused([](auto& one) { one.iat = 0; });
  for (std::string claims :
       {R"([])", R"("x")", R"({"iss":"davit","iss":"davit"})", R"({})", R"(null)", R"({"limit":1})"}) {
    auto signed_part = api::jwt_signed_part("HS256", keys.keys[0].id, claims);
    auto whole = api::mint(keys.keys[0], good_claims());
    CHECK_FALSE(is_good(signed_part + whole.substr(whole.rfind('.')), keys));
  }
}

TEST_CASE("a minted token that was changed in any place is refused") {
  api::mint_key_list keys{{api::make_mint_key()}};
  auto token = api::mint(keys.keys[0], good_claims());
  REQUIRE(is_good(token, keys));
  std::mt19937 random{Catch::getSeed()};
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (auto letter : std::string_view{letters})
      if (letter != token[i]) {
        auto changed = token;
        changed[i] = letter;
        if (is_good(changed, keys))
          FAIL("byte " << i << " as " << letter);
      }
    for (int byte : {0, 10, 32, 127, 200, 255}) {
      auto changed = token;
      changed[i] = static_cast<char>(byte);
      CHECK_FALSE(is_good(changed, keys));
    }
    CHECK_FALSE(is_good(token.substr(0, i), keys));
    CHECK_FALSE(is_good(token.substr(0, i) + token.substr(i + 1), keys));
    auto longer = token;
    longer.insert(i, 1, letters[random() % 66]);
    CHECK_FALSE(is_good(longer, keys));
  }
  CHECK_FALSE(is_good(token + "=", keys));
  CHECK_FALSE(is_good(token + ".", keys));
  CHECK_FALSE(is_good(token + "A", keys));
}

TEST_CASE("no other algorithm, no critical field and no other type makes a token good, whatever its signature is") {
  api::mint_key_list keys{{api::make_mint_key()}};
  const auto& key = keys.keys[0];
  auto token = api::mint(key, good_claims());
  auto middle = token.substr(token.find('.'), token.rfind('.') - token.find('.'));
  auto secret = *encoding::base64_decode(key.key);
  auto sign = [&](std::string header) {
    if (auto at = header.find("KID"); at != std::string::npos)
      header.replace(at, 3, key.id);
    auto text = encoding::base64url_encode_bare(header) + middle;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
    return text + '.' + encoding::base64url_encode_bare({reinterpret_cast<char*>(digest), size});
  };
  CHECK(is_good(sign(R"({"alg":"HS256","kid":"KID"})"), keys));
  for (std::string header :
       {R"({"alg":"none","kid":"KID"})", R"({"alg":"HS512","kid":"KID"})", R"({"alg":"hs256","kid":"KID"})",
        R"({"alg":"RS256","kid":"KID"})", R"({"kid":"KID"})", R"({"alg":["HS256"],"kid":"KID"})",
        R"({"alg":"HS256","kid":"KID","crit":["exp"]})", R"({"alg":"HS256","kid":"KID","b64":false})",
        R"({"alg":"HS256","kid":"KID","alg":"HS256"})", R"({"alg":"HS256","kid":"KID","typ":"secevent+jwt"})",
        R"({"alg":"HS256"})", R"({"alg":"HS256","kid":7})", R"({"alg":"HS256","kid":"KID")", ""}) {
    INFO(header);
    auto made = sign(header);
    CHECK_FALSE(is_good(made, keys));
    CHECK_FALSE(is_good(made.substr(0, made.rfind('.') + 1), keys));
  }
}

TEST_CASE("davit token mint, with keys that are made, listed, chosen and removed") {
  key_file keys;
  CHECK(keys.try_run({"mint", "j", "--owner", "a", "--scope", "read", "--expires", "1h"}).exit_code != 0);
  auto first = keys.add_key(), second = keys.add_key();
  struct stat info {};
  REQUIRE(::stat(keys.path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  auto id_of = [](const std::string& token) {
    std::string why;
    return api::jwt::parse(token, why)->key_id;
  };
  CHECK(id_of(keys.mint("j", "a", "read", "1h")) == second);
  CHECK(id_of(keys.mint("j", "a", "read", "1h", {"--key", first})) == first);
  auto listed = keys.run({"list-keys"}).out;
  CHECK(listed.find(first) < listed.find(second));
  CHECK(listed.find('=') == std::string::npos); // of the keys themselves, nothing
  keys.run({"remove-key", second});
  CHECK(id_of(keys.mint("j", "a", "read", "1h")) == first);
  for (std::vector<std::string> wrong :
       {std::vector<std::string>{"remove-key", second},
        {"mint", "j", "--owner", "a", "--scope", "read", "--expires", "1h", "--key", second},
        {"mint", "j", "--owner", "loopback", "--scope", "read", "--expires", "1h"},
        {"mint", "j", "--owner", "a/b", "--scope", "read", "--expires", "1h"},
        {"mint", "j", "--owner", "a", "--scope", "all", "--expires", "1h"},
        {"mint", "j", "--owner", "a", "--scope", "read", "--expires", "0s"},
        {"mint", "j", "--owner", "a", "--scope", "read"},
        {"mint", "j", "--scope", "read", "--expires", "1h"},
        {"mint", "j", "--owner", "a", "--scope", "admin", "--expires", "1h", "--label", "a=b"},
        {"mint", "j", "--owner", "a", "--scope", "read", "--expires", "1h", "--label", "a"}}) {
    INFO(wrong[0]);
    CHECK(keys.try_run(wrong).exit_code != 0);
  }
  ::chmod(keys.path.c_str(), 0644);
  CHECK(keys.try_run({"mint", "j", "--owner", "a", "--scope", "read", "--expires", "1h"}).exit_code != 0);
}

namespace {

constexpr auto a_task = R"({"image":"busybox:test","command":["true"]})";

struct minting_agent {
  key_file keys;
  std::string first = keys.add_key();
  std::string listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.mint_key = keys.path;
                     settings.access.mint_lifetime = 2h;
                   }};

  transport::http_response
  ask(const std::string& token, const std::string& method, const std::string& target, const std::string& body = {}) {
    agent.use_token(token);
    return agent.http(method, target, {}, body);
  }
  std::string submit(const std::string& token, const std::string& body = a_task) {
    auto answer = ask(token, "POST", "/v1/tasks", body);
    INFO(answer.body);
    REQUIRE(answer.status == 202);
    return std::string{boost::json::parse(answer.body).at("id").as_string()};
  }
  std::size_t listed(const std::string& token, const std::string& query = {}) {
    return boost::json::parse(ask(token, "GET", "/v1/tasks" + query).body).at("tasks").as_array().size();
  }
};

} // namespace

TEST_CASE_METHOD(minting_agent, "a minted token carries ceilings for its tasks") {
  auto token = keys.mint("nightly", "team-a", "submit,read", "1h", {"--ceiling", "memory=64m"});
  auto refused = ask(token, "POST", "/v1/tasks", R"({"image":"busybox:test","resources":{"memory":"128m"}})");
  CHECK(refused.status == 403);
  CHECK(refused.body.find("over the limit of 64m, the ceiling of the minted token nightly") != std::string::npos);
  auto id = submit(token);
  CHECK(ask(token, "GET", "/v1/tasks/" + id).body.find(R"("memory":"64m")") != std::string::npos);
}

TEST_CASE_METHOD(minting_agent, "an agent with the key alone lets minted tokens in, until their key is removed") {
  auto token = keys.mint("nightly", "team-a", "submit,read,cancel", "1h"),
       other = keys.mint("nightly", "team-b", "submit,read,cancel", "1h");
  CHECK(ask("", "GET", "/v1/tasks").status == 401); // loopback is open no more
  auto id = submit(token);
  CHECK(ask(token, "GET", "/v1/tasks/" + id).status == 200);
  CHECK(ask(other, "GET", "/v1/tasks/" + id).status == 404);
  CHECK(listed(other) == 0);
  CHECK(ask(token, "POST", "/v1/agents/test/drain").status == 403);
  auto too_long = ask(keys.mint("x", "team-a", "read", "3h"), "GET", "/v1/tasks");
  CHECK(too_long.status == 401);
  CHECK(too_long.body.find("api.mint-lifetime is 2h") != std::string::npos);
  // A rotation: what the new key signs is accepted beside the old, then alone.
  keys.add_key();
  auto newer = keys.mint("nightly", "team-a", "read", "1h");
  CHECK(eventually([&] { return ask(newer, "GET", "/v1/tasks").status == 200; }));
  CHECK(ask(token, "GET", "/v1/tasks").status == 200);
  keys.run({"remove-key", first});
  CHECK(eventually([&] { return ask(token, "GET", "/v1/tasks").status == 401; }));
  CHECK(ask(newer, "GET", "/v1/tasks").status == 200);
  auto audit = shell("cat " + agent.data() + "/audit.log");
  CHECK(audit.find(R"("caller":"minted token nightly ()") != std::string::npos);
  CHECK(audit.find(", key " + first + ") from 127.0.0.1") != std::string::npos);
  CHECK(audit.find(token.substr(token.rfind('.') + 1)) == std::string::npos);
}

TEST_CASE_METHOD(minting_agent,
                 "a token that is bound to a label is not told another task's id, nor the owner's metrics") {
  auto whole = keys.mint("all", "team-a", "submit,read", "1h"),
       bound = keys.mint("job", "team-a", "submit,read", "1h", {"--label", "job=17"});
  constexpr auto with_key = R"({"image":"busybox:test","command":["true"],"dedupe_key":"nightly"})";
  auto id = submit(whole, with_key);
  auto refused = ask(bound, "POST", "/v1/tasks", with_key); // its task would have the label
  CHECK(refused.status == 409);
  CHECK(refused.body.find(id) == std::string::npos);
  CHECK(refused.body.find("nightly") != std::string::npos);
  auto told = ask(whole, "POST", "/v1/tasks", R"({"image":"busybox:test","command":["false"],"dedupe_key":"nightly"})");
  CHECK(told.status == 409);
  CHECK(told.body.find(id) != std::string::npos);
  CHECK(ask(whole, "GET", "/metrics").status == 200);
  CHECK(ask(bound, "GET", "/metrics").status == 403);
}

TEST_CASE_METHOD(minting_agent, "a token that is bound to a label has only tasks with this label") {
  auto bound = keys.mint("job", "team-a", "submit,read,cancel,read:all,cancel:all", "1h", {"--label", "job=17"}),
       free = keys.mint("team", "team-a", "submit,read,cancel", "1h");
  auto own = submit(bound), labelled = submit(free, R"({"image":"busybox:test","labels":{"job":"17"}})"),
       plain = submit(free), of_another = submit(free, R"({"image":"busybox:test","labels":{"job":"18"}})");
  auto document = boost::json::parse(ask(free, "GET", "/v1/tasks/" + own).body);
  CHECK(document.at("spec").at("labels").at("job").as_string() == "17");
  CHECK(listed(bound) == 2);
  CHECK(listed(free) == 4);
  CHECK(listed(bound, "?label=job=17") == 2);
  CHECK(listed(bound, "?label=job") == 2);
  CHECK(listed(bound, "?label=job=17&label=x") == 0);
  CHECK(ask(bound, "GET", "/v1/tasks?label=job=18").status == 403);
  CHECK(ask(bound, "GET", "/v1/tasks/" + labelled).status == 200);
  for (const auto& hidden : {plain, of_another})
    for (auto what : {"", "/logs", "/events", "/wait?timeout=10ms"})
      CHECK(ask(bound, "GET", "/v1/tasks/" + hidden + what).status == 404);
  for (const auto& hidden : {plain, of_another})
    for (auto what : {"/cancel", "/retry"})
      CHECK(ask(bound, "POST", "/v1/tasks/" + hidden + what).status == 404);
  CHECK(ask(bound, "GET", "/v1/events").status == 403);
  CHECK(ask(bound, "GET", "/v1/tasks/" + own + "/events").status == 200);
  CHECK(ask(bound, "POST", "/v1/tasks", R"({"image":"busybox:test","labels":{"job":"18"}})").status == 403);
  submit(bound, R"({"image":"busybox:test","labels":{"job":"17","x":"y"}})");
  CHECK(ask(bound, "POST", "/v1/tasks/" + labelled + "/retry").status == 202);
  CHECK(ask(bound, "POST", "/v1/tasks/" + labelled + "/cancel").status == 200);
}

TEST_CASE("requests are counted for each subject, and not for more subjects than fit") {
  api::rate_limit limit{2, 100};
  auto now = api::rate_limit::clock::now();
  for (int i = 0; i < 4; ++i)
    CHECK(limit.allows("a", now));
  CHECK_FALSE(limit.allows("a", now));
  CHECK(limit.allows("b", now));
  CHECK_FALSE(limit.allows("a", now + 400ms));
  CHECK(limit.allows("a", now + 600ms));
  for (int i = 0; i < 10'000; ++i) {
    CHECK(limit.allows(std::to_string(i), now + 1s + std::chrono::microseconds{i}));
    CHECK(limit.subjects() <= 100);
  }
  // Who asks all the time is not forgotten for others.
  api::rate_limit busy{2, 100};
  int allowed = 0;
  for (int i = 0; i < 1000; ++i) {
    allowed += busy.allows("busy", now + std::chrono::milliseconds{i});
    busy.allows(std::to_string(i), now + std::chrono::milliseconds{i});
  }
  CHECK(allowed <= 6);
}
