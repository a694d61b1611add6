// Ceilings of profiles and tokens: whose counts, who is named, and that a token's hold when nobody knows the token.
#include "policy/policy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace davit;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<const policy> rules_of(const policy_settings& settings) {
  std::string error;
  auto rules = policy::make(settings, error);
  INFO(error);
  REQUIRE(rules);
  return rules;
}

task_spec alpine() {
  task_spec spec;
  spec.image = "alpine";
  return spec;
}

const violation* of_rule(const judgement& judged, const std::string& rule) {
  auto found = std::find_if(judged.violations.begin(), judged.violations.end(),
                            [&](const violation& one) { return one.rule == rule; });
  return found == judged.violations.end() ? nullptr : &*found;
}

named_ceilings read(const std::vector<std::string>& texts) {
  named_ceilings ceilings;
  REQUIRE(read_ceilings(texts, ceilings).empty());
  return ceilings;
}

/// In small numbers, so that they meet often.
template <class Below>
named_ceilings random_ceilings(Below below) {
  named_ceilings all;
  auto maybe = [&](auto& place, auto value) {
    if (below(2) == 0)
      place = value;
  };
  maybe(all.cpus, 1.0 + static_cast<double>(below(4)));
  maybe(all.memory, byte_size{(6 + below(4)) << 20});
  maybe(all.pids, static_cast<std::int64_t>(1 + below(4)));
  maybe(all.shm, byte_size{1 + below(4)});
  maybe(all.timeout, duration{1000 + below(4)});
  maybe(all.stop_timeout, duration{below(4)});
  maybe(all.queue_timeout, duration{1000 + below(4)});
  maybe(all.pull_timeout, duration{1000 + below(4)});
  maybe(all.priority, static_cast<std::int64_t>(below(4)));
  maybe(all.attempts, static_cast<std::uint32_t>(3 + below(4)));
  maybe(all.backoff, duration{60'000 + below(4)});
  for (auto* one : {&all.mounts, &all.env, &all.labels, &all.hosts, &all.entries})
    maybe(*one, static_cast<std::uint32_t>(below(4)));
  for (auto* one : {&all.mounts_size, &all.env_size, &all.labels_size, &all.hosts_size})
    maybe(*one, byte_size{below(4)});
  return all;
}

} // namespace

TEST_CASE("a profile's ceilings stand in place of the policy's, and a refusal names it") {
  policy_settings settings;
  settings.ceilings.memory = byte_size{2ull << 30};
  settings.profiles = {{"restricted", read({"memory=1g", "stop-timeout=20s", "labels=1"}), {}},
                       {"privileged", read({"memory=8g"}), {}}};
  auto rules = rules_of(settings);
  auto spec = alpine();
  spec.resources.memory = byte_size{4ull << 30};
  CHECK(of_rule(rules->judge(spec, policy_profile::restricted), "limits.memory")->message
        == "4g is over the limit of 1g, the ceiling of the profile restricted");
  CHECK(of_rule(rules->judge(spec, policy_profile::baseline), "limits.memory")->message
        == "4g is over the limit of 2g");
  CHECK_FALSE(of_rule(rules->judge(spec, policy_profile::privileged), "limits.memory"));
  spec.profile = policy_profile::restricted;
  CHECK(of_rule(rules->judge(spec, policy_profile::privileged), "limits.memory"));
  spec = alpine();
  spec.stop_timeout = 30s;
  spec.labels = {{"a", "1"}, {"b", "2"}};
  auto judged = rules->judge(spec, policy_profile::restricted);
  CHECK(of_rule(judged, "limits.stop_timeout")->message
        == "30s is over the limit of 20s, the ceiling of the profile restricted");
  CHECK(of_rule(judged, "limits.labels")->message
        == "2 labels are over the limit of 1, the ceiling of the profile restricted");
  CHECK(rules->judge(spec, policy_profile::baseline).violations.empty());
}

TEST_CASE("a token's ceiling only lowers, and a refusal names the token") {
  policy_settings settings;
  settings.ceilings.memory = byte_size{2ull << 30};
  settings.profiles = {{"baseline", read({"timeout=1h"}), {}}};
  auto rules = rules_of(settings);
  auto spec = alpine();
  spec.resources.memory = byte_size{4ull << 30};
  spec.timeout = 3h;
  caller_limits limits{"the token ci", read({"memory=8g", "timeout=2h"}), {}};
  auto judged = rules->judge(spec, policy_profile::baseline, limits);
  CHECK(of_rule(judged, "limits.memory")->message == "4g is over the limit of 2g");
  CHECK(of_rule(judged, "limits.timeout")->message
        == "3h is over the limit of 1h, the ceiling of the profile baseline");
  limits.ceilings = read({"memory=512m", "timeout=10m"});
  judged = rules->judge(spec, policy_profile::baseline, limits);
  CHECK(of_rule(judged, "limits.memory")->message == "4g is over the limit of 512m, the ceiling of the token ci");
  CHECK(of_rule(judged, "limits.timeout")->message == "3h is over the limit of 10m, the ceiling of the token ci");
}

TEST_CASE("of random ceilings the ones that a second count names are in force") {
  std::mt19937 random{31};
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int i = 0; i < 3000; ++i) {
    policy_settings settings;
    auto of_profile = random_ceilings(below), of_token = random_ceilings(below);
    settings.profiles = {{"baseline", of_profile, {}}};
    if (below(2) == 0)
      settings.ceilings.memory = byte_size{(6 + below(4)) << 20};
    settings.quantities.priority = static_cast<std::int64_t>(below(4));
    auto rules = rules_of(settings);
    auto all = rules->ceilings(policy_profile::baseline);
    all.lower(of_token, "the token t");
    // Each by its own rule: the profile's, or else the policy's; then the token's if that is lower.
    auto expect = [&](const char* name, auto profile, auto token, auto general, auto found) {
      CAPTURE(name);
      auto value = profile ? std::optional{*profile} : general;
      std::string from = profile ? ", the ceiling of the profile baseline" : "";
      if (token && (!value || *token < *value)) {
        value = *token;
        from = ", the ceiling of the token t";
      }
      CHECK(std::optional{value} == std::optional{found});
      CHECK(all.told(name) == from);
    };
    expect("memory", of_profile.memory, of_token.memory, settings.ceilings.memory, all.resources.memory);
    expect("cpus", of_profile.cpus, of_token.cpus, settings.ceilings.cpus, all.resources.cpus);
    expect("timeout", of_profile.timeout, of_token.timeout, settings.max_timeout, all.timeout);
    using number = std::optional<std::int64_t>;
    using count = std::optional<std::uint32_t>;
    using size = std::optional<byte_size>;
    using time = std::optional<duration>;
    const auto& general = settings.quantities;
    const auto& now = all.quantities;
    expect("priority", of_profile.priority, of_token.priority, number{general.priority}, number{now.priority});
    expect("labels", of_profile.labels, of_token.labels, count{general.labels}, count{now.labels});
    expect("entries", of_profile.entries, of_token.entries, count{general.entries}, count{now.entries});
    expect("env-size", of_profile.env_size, of_token.env_size, size{general.env_size}, size{now.env_size});
    expect("backoff", of_profile.backoff, of_token.backoff, time{general.backoff}, time{now.backoff});
    expect("stop-timeout", of_profile.stop_timeout, of_token.stop_timeout, time{general.stop_timeout},
           time{now.stop_timeout});
  }
}

TEST_CASE("what a token's ceiling changes of a task that names nothing stays, where nobody knows the token") {
  std::mt19937 random{32};
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int i = 0; i < 2000; ++i) {
    policy_settings settings;
    if (below(2) == 0)
      settings.defaults = {};
    if (below(2) == 0)
      settings.default_timeout = duration{1000 + below(5)};
    auto rules = rules_of(settings);
    auto spec = alpine();
    caller_limits limits{"the token t", random_ceilings(below), {}};
    if (below(3) == 0)
      spec.resources.memory = byte_size{(6 + below(4)) << 20};
    auto profile = below(2) == 0 ? policy_profile::baseline : policy_profile::privileged;
    auto judged = rules->judge(spec, profile, limits);
    if (!judged.violations.empty())
      continue;
    keep_limits(spec, judged.effective, limits.ceilings);
    auto later = rules->judge(spec, profile);
    CHECK(later.violations.empty());
    CHECK(later.effective.resources == judged.effective.resources);
    CHECK(later.effective.timeout == judged.effective.timeout);
    CHECK((!limits.ceilings.memory || *later.effective.resources.memory <= *limits.ceilings.memory));
    CHECK((!limits.ceilings.cpus || *later.effective.resources.cpus <= *limits.ceilings.cpus));
    CHECK((!limits.ceilings.timeout || *later.effective.timeout <= *limits.ceilings.timeout));
  }
  auto free = alpine();
  keep_limits(free, rules_of({})->judge(free, policy_profile::baseline).effective, {});
  CHECK(free == alpine()); // defaults stay the policy's affair
}

TEST_CASE("a ceiling in text is one of the policy's names and a value of its kind") {
  auto all = read({"cpus=1.5", "memory=4g", "pids=9", "shm=64m", "timeout=1h30m", "stop-timeout=0s", "priority=0",
                   "attempts=3", "mounts-size=1k", "entries=0"});
  CHECK(all.cpus == 1.5);
  CHECK(all.memory == byte_size{4ull << 30});
  CHECK(all.timeout == 90min);
  CHECK(all.stop_timeout == 0s);
  CHECK(all.mounts_size == byte_size{1024});
  CHECK(all.entries == 0u);
  for (std::string bad : {"",
                          "=",
                          "memory",
                          "memory=",
                          "memory=lots",
                          "memory=-1",
                          "memory=5m",
                          "memory =1g",
                          "Memory=1g",
                          "cpus=0",
                          "cpus=nan",
                          "cpus=inf",
                          "cpus=1x",
                          "cpus=-1",
                          "pids=0",
                          "pids=1.5",
                          "pids=99999999999999999999",
                          "timeout=10",
                          "timeout=999ms",
                          "timeout=-1s",
                          "attempts=2",
                          "entries=-1",
                          "entries=4294967296",
                          "backoff=1s",
                          "stop_timeout=1s",
                          "memory=1g=2g"}) {
    named_ceilings into;
    CAPTURE(bad);
    CHECK_FALSE(read_ceiling(bad, into).empty());
    CHECK(into == named_ceilings{});
  }
  named_ceilings twice;
  CHECK(read_ceilings({"memory=1g", "memory=2g"}, twice) == "memory: is given twice");
  CHECK(read_ceiling("memmory=1g", twice).find("cpus, memory, pids") != std::string::npos);
}

TEST_CASE("ceilings that are written as text are read back, whatever they are") {
  std::mt19937 random{33};
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int i = 0; i < 3000; ++i) {
    auto all = random_ceilings(below);
    if (all.cpus)
      all.cpus = 0.01 + static_cast<double>(below(100'000)) / 977;
    if (all.memory)
      all.memory = byte_size{(6ull << 20) + below(1u << 31)};
    if (all.timeout)
      all.timeout = duration{1000 + below(1u << 31)};
    std::vector<std::string> texts;
    for (auto text = to_string(all); !text.empty();) {
      auto comma = std::min(text.find(','), text.size());
      texts.push_back(text.substr(0, comma));
      text.erase(0, comma + 1);
    }
    std::shuffle(texts.begin(), texts.end(), random);
    CHECK(read(texts) == all);
  }
}

TEST_CASE("bytes at random are no ceiling, or are one that is read back") {
  std::mt19937 random{34};
  const std::vector<std::string> pieces{"memory", "timeout", "cpus", "entries", "=", "=",  "4g", "1h",   "3",     "0.5",
                                        "-",      " ",       "e9",   "0x1",     ",", "ms", "\n", "\xff", "stop-", "m"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto n = 1 + random() % 4; n > 0; --n)
      text += pieces[random() % pieces.size()];
    named_ceilings into;
    if (!read_ceiling(text, into).empty()) {
      CHECK(into == named_ceilings{});
      continue;
    }
    CAPTURE(text);
    CHECK(into != named_ceilings{});
    CHECK(read({to_string(into)}) == into);
  }
}

TEST_CASE("the volumes that all owners share are a profile's own, and a token may be kept from some") {
  policy_settings settings;
  settings.volumes_allow = {"data-.*"};
  settings.profiles
    = {{"restricted", {}, std::vector<std::string>{}}, {"privileged", {}, std::vector<std::string>{"data-.*", "host"}}};
  auto rules = rules_of(settings);
  CHECK_FALSE(rules->shares_volume("data-1", policy_profile::restricted));
  CHECK(rules->shares_volume("data-1", policy_profile::baseline));
  CHECK_FALSE(rules->shares_volume("host", policy_profile::baseline));
  CHECK(rules->shares_volume("host", policy_profile::privileged));
  CHECK(rules->shares_volume("data-1")); // by one of them
  CHECK(rules->shares_volume("host"));
  CHECK_FALSE(rules->shares_volume("cache"));
  auto spec = alpine();
  spec.mounts = {{mount_type::volume, "cache", "/a", false, {}}, {mount_type::volume, "data-1", "/b", false, {}}};
  CHECK(rules->judge(spec, policy_profile::baseline).violations.empty());
  caller_limits limits{"the token ci", {}, std::vector<std::string>{"data-2"}};
  auto judged = rules->judge(spec, policy_profile::baseline, limits);
  REQUIRE(judged.violations.size() == 1);
  CHECK(judged.violations.front().rule == "volumes.allow");
  CHECK(judged.violations.front().field == "mounts[1].source");
  CHECK(judged.violations.front().message.find("the token ci may not use it") != std::string::npos);
  CHECK(rules->judge(spec, policy_profile::restricted, limits).violations.empty()); // there it is the owner's own
  limits.volumes = {"data-2", "data-[0-9]"};
  CHECK(rules->judge(spec, policy_profile::baseline, limits).violations.empty());
  limits.volumes = {"data-2"};
  settings.profiles = {{"privileged", {}, std::vector<std::string>{}}};
  rules = rules_of(settings);
  CHECK(rules->judge(spec, policy_profile::privileged).violations.empty());
  CHECK(of_rule(rules->judge(spec, policy_profile::privileged, limits), "volumes.allow")); // it may run as baseline
  settings.profiles = {{"baseline", {}, std::vector<std::string>{"("}}};
  std::string error;
  CHECK_FALSE(policy::make(settings, error));
  CHECK(error.starts_with("davit.policy.profiles.baseline.volumes-allow: "));
}

TEST_CASE("a task goes only to engines whose profile has nothing against what it asks for") {
  policy_settings settings;
  settings.profiles = {{"baseline", read({"memory=1g"}), {}}, {"privileged", read({"memory=8g"}), {}}};
  auto rules = rules_of(settings);
  auto spec = alpine();
  CHECK(rules->least_profile(spec, policy_profile::privileged) == policy_profile::restricted);
  spec.resources.memory = byte_size{4ull << 30};
  CHECK(rules->least_profile(spec, policy_profile::privileged) == policy_profile::privileged);
  CHECK_FALSE(rules->least_profile(spec, policy_profile::baseline));
  settings.profiles = {{"privileged", read({"memory=1g"}), {}}};
  rules = rules_of(settings);
  CHECK_FALSE(rules->least_profile(spec, policy_profile::privileged)); // it may say profile: baseline
  CHECK(rules->least_profile(spec, policy_profile::baseline));
}

TEST_CASE("a caller's tasks keep what is kept in its scope or below it", "[caches]") {
  auto rules = rules_of({});
  auto spec = alpine();
  caller_limits limits{"the token pr", {}, {}, "pr"};
  auto scope_of = [&](const task_spec& one) {
    auto judged = rules->judge(one, policy_profile::baseline, limits);
    return judged.violations.empty() ? judged.effective.cache_scope : judged.violations.front().rule;
  };
  CHECK(scope_of(spec).empty()); // it keeps nothing
  spec.memo = true;
  CHECK(scope_of(spec) == "pr");
  spec.memo = false;
  spec.caches.push_back({"key", "/cache", {}, {}});
  CHECK(scope_of(spec) == "pr");
  for (auto* own : {"pr", "pr/7", "pr/7/x"}) {
    spec.cache_scope = own;
    CHECK(scope_of(spec) == own);
  }
  for (auto* foreign : {"p", "prs", "x/pr", "PR"}) {
    spec.cache_scope = foreign;
    CHECK(scope_of(spec) == "caches.scope");
  }
  limits.cache_scope.clear();
  CHECK(scope_of(spec) == "PR");
}
