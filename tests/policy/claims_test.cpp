// Claims to owners and yes or no. Owners: two lists of values never give one owner, tried at random.
#include "policy/claims.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace davit;

namespace {

claim_map with(std::map<std::string, std::string> values) {
  claim_map all;
  for (auto& [name, value] : values)
    all[name] = {{value}, false};
  return all;
}

std::string expand(const std::string& text, const claim_map& claims) {
  std::string wrong;
  auto made = owner_template::make(text, wrong);
  INFO(wrong);
  REQUIRE(made);
  return made->expand(claims, wrong).value_or("");
}

bool holds(const std::string& rule, const claim_map& claims) {
  std::string wrong;
  auto made = claim_rule::make(rule, wrong);
  INFO(wrong);
  REQUIRE(made);
  return made->holds(claims);
}

} // namespace

TEST_CASE("an owner is named by claims") {
  auto claims = with({{"sub", "system:serviceaccount:ci:runner"},
                      {"project_path", "group/app"},
                      {"kubernetes.io/namespace", "ci"},
                      {"environment", "prod"},
                      {"odd", "a b\n%"},
                      {"empty", ""}});
  claims["list"] = {{"one"}, true};
  CHECK(expand("team", claims) == "team");
  CHECK(expand("{project_path}", claims) == "group/app");
  CHECK(expand("{sub}", claims) == "system:serviceaccount:ci:runner");
  CHECK(expand("ns-{kubernetes.io/namespace}", claims) == "ns-ci");
  CHECK(expand("{project_path}/{environment}", claims) == "group%2Fapp/prod");
  CHECK(expand("{odd}", claims) == "a%20b%0A%25");
  for (auto unusable : {"{nothing}", "{empty}", "{list}"})
    CHECK(expand(unusable, claims).empty());
  CHECK(expand("{project_path}", with({{"project_path", std::string(257, 'a')}})).empty());
  std::string wrong;
  for (auto text : {"", "{", "{}", "a{b", "{a}{b}", "{a}-{b}", "{a} x", "{a}%2F", "a\n"})
    CHECK_FALSE(owner_template::make(text, wrong));
}

TEST_CASE("different values never give the same owner") {
  std::mt19937 random{Catch::getSeed()};
  constexpr std::string_view letters = "a/%2F-b";
  auto text = [&] {
    std::string made;
    for (auto size = 1 + random() % 4; made.size() < size;)
      made += letters[random() % letters.size()];
    return made;
  };
  for (std::string pattern : {"{a}", "{a}/{b}", "x{a}/-{b}", "{a}-/{b}b", "{a}/{b}/{c}", "{a}/b/{b}"}) {
    std::map<std::string, std::string> seen;
    for (int i = 0; i < 20'000; ++i) {
      std::map<std::string, std::string> values{{"a", text()}, {"b", text()}, {"c", text()}};
      std::string used;
      for (auto name : {"a", "b", "c"})
        if (pattern.find(std::string{'{'} + name + '}') != std::string::npos)
          used += values[name] + '\n';
      auto owner = expand(pattern, with(values));
      auto [there, is_new] = seen.emplace(owner, used);
      if (!is_new && there->second != used)
        FAIL(pattern << ": " << owner << " is " << used << " and " << there->second);
    }
  }
}

TEST_CASE("a rule holds if a value of its claim matches as a whole") {
  auto claims = with({{"ref", "main"}, {"path", "group/app"}, {"two", "group/app\nx"}});
  claims["groups"] = {{"dev", "ops"}, true};
  claims["none"] = {{}, true};
  for (auto rule : {"ref=main", "ref=m.*", "path=group/.*", "path=.*", "groups=ops", "groups=d.v", "ref=(main|x)"})
    CHECK(holds(rule, claims));
  for (auto rule : {"ref=mai", "ref=ain", "path=group/", "path=group", "missing=.*", "groups=op", "none=.*",
                    "two=group/.*", "ref=", "groups=dev ops"})
    CHECK_FALSE(holds(rule, claims));
  std::string wrong;
  for (auto text : {"", "ref", "=x", "ref=(", "ref=[a"})
    CHECK_FALSE(claim_rule::make(text, wrong));
}
