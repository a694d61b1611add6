#include "policy/cache_keys.hpp"
#include "policy/profiles.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace davit;

namespace {

std::string wrong_with(const std::string& key) {
  std::string wrong;
  read_cache_key(key, wrong);
  return wrong;
}

std::vector<std::string> rules_of(const task_spec& spec) {
  std::vector<std::string> rules;
  for (const auto& one : check_profile(policy_profile::baseline, spec))
    if (one.rule.starts_with("caches"))
      rules.push_back(one.rule + ' ' + one.field);
  return rules;
}

task_spec with_cache(const std::string& key, const std::string& path) {
  task_spec spec;
  spec.image = "busybox";
  spec.caches.push_back({key, path, {}, {}});
  return spec;
}

} // namespace

TEST_CASE("a key is read as the parts that it was made of", "[caches]") {
  std::minstd_rand random{std::random_device{}()};
  auto pick = [&](std::size_t below) { return std::uniform_int_distribution<std::size_t>{0, below - 1}(random); };
  const std::string plain = "abcXYZ019_.-+@:/=", any = plain + " *?[]!~,;\xc3\xa9";
  for (int round = 0; round < 2000; ++round) {
    std::vector<cache_key_part> made;
    std::string text;
    for (auto count = 1 + pick(6); count > 0; --count) {
      cache_key_part part;
      part.is_hash = pick(2) == 0;
      if (!part.is_hash && !made.empty() && !made.back().is_hash)
        continue; // two of these are one
      for (auto length = 1 + pick(8); length > 0; --length)
        part.text += (part.is_hash ? any : plain)[pick(part.is_hash ? any.size() : plain.size())];
      if (part.is_hash && part.text.front() == '!')
        part.text.front() = 'x';
      text += part.is_hash ? "{hash:" + part.text + '}' : part.text;
      made.push_back(std::move(part));
    }
    CAPTURE(text);
    std::string wrong;
    CHECK(read_cache_key(text, wrong) == made);
    CHECK(wrong.empty());
  }
}

TEST_CASE("what is no key is refused in words", "[caches]") {
  for (const std::string text :
       {"", "a b", "a\nb", "{", "a{b}", "{hash:}", "{hash:x", "{hash:!x}", "ünï", "a}b", "{hash:a}{"})
    CHECK_FALSE(wrong_with(text).empty());
  CHECK_FALSE(wrong_with(std::string{"a\0b", 3}).empty());
  CHECK_FALSE(wrong_with(std::string(201, 'a')).empty());
  CHECK(wrong_with(std::string(200, 'a')).empty());
}

TEST_CASE("hashed files are in the working directory, or where the only input is", "[caches]") {
  const std::vector<task_input> one{{"sha256:0", "/src/"}}, two{{"sha256:0", "/src"}, {"sha256:1", "/other"}};
  CHECK(place_of_hashed("a/b", "/work", two) == "work/a/b");
  CHECK(place_of_hashed("a/b", "", one) == "src/a/b");
  CHECK(place_of_hashed("/etc/x/", "", two) == "etc/x");
  CHECK(place_of_hashed("../x", "/work/deep", one) == "work/x");
  CHECK(place_of_hashed("../../../x", "/work", one) == "x");
  CHECK(place_of_hashed("**/*.lock", "/", one) == "**/*.lock");
  CHECK(place_of_hashed("a", "", two).empty());
  CHECK(place_of_hashed("a", "", {}).empty());
}

TEST_CASE("caches have places of their own, and whole keys", "[caches]") {
  CHECK(rules_of(with_cache("key", "/cache")).empty());
  CHECK(rules_of(with_cache("", "/cache")) == std::vector<std::string>{"caches.key caches[0].key"});
  CHECK(rules_of(with_cache("{hash:x}", "/cache")) == std::vector<std::string>{"caches.key caches[0].key"});
  CHECK(rules_of(with_cache("{hash:/x}", "/cache")).empty());
  CHECK(rules_of(with_cache("key", "cache")) == std::vector<std::string>{"caches.path caches[0].path"});
  CHECK(rules_of(with_cache("key", "/proc/x")) == std::vector<std::string>{"caches.path caches[0].path"});
  auto spec = with_cache("key", "/src/build");
  spec.inputs.push_back({"sha256:" + std::string(64, '0'), "/src"});
  CHECK(rules_of(spec).empty());
  spec.caches.push_back({"key", "/src/build/", {}, {}});
  CHECK(rules_of(spec) == std::vector<std::string>{"caches.path caches[1].path"});
  spec.caches.back().path = "/";
  CHECK_FALSE(rules_of(spec).empty());
  spec.caches.back().path = "/src";
  CHECK_FALSE(rules_of(spec).empty());
  spec = with_cache("key", "/a");
  spec.inputs.push_back({"sha256:" + std::string(64, '0'), "/a/b"}); // would be kept with it
  CHECK(rules_of(spec) == std::vector<std::string>{"caches.path caches[0].path"});
  spec = with_cache("key", "/v/x");
  spec.mounts.push_back({mount_type::volume, "v", "/v", false, {}});
  CHECK(rules_of(spec) == std::vector<std::string>{"caches.path caches[0].path"});
  spec = with_cache("key", "/cache");
  spec.cache_scope = "pr//7";
  CHECK(rules_of(spec) == std::vector<std::string>{"caches.scope cache_scope"});
  spec.caches.front().restore.assign(17, "x");
  spec.cache_scope = "pr/7";
  CHECK(rules_of(spec) == std::vector<std::string>{"caches.restore caches[0].restore"});
}

TEST_CASE("a scope reads from those above it, and lies in them", "[caches]") {
  CHECK(cache_scopes("") == std::vector<std::string>{""});
  CHECK(cache_scopes("pr") == std::vector<std::string>{"pr", ""});
  CHECK(cache_scopes("pr/7/x") == std::vector<std::string>{"pr/7/x", "pr/7", "pr", ""});
  for (const std::string scope : {"", "a", "a/b", "a/b/c", "ab", "a/bc", "b"})
    for (const std::string in : {"", "a", "a/b", "a/b/c", "ab", "a/bc", "b"}) {
      CAPTURE(scope, in);
      auto above = cache_scopes(scope);
      CHECK(is_in_scope(scope, in) == (std::find(above.begin(), above.end(), in) != above.end()));
    }
}
