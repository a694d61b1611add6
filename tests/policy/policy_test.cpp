#include "actors/sandbox_plan.hpp"
#include "policy/placement.hpp"
#include "policy/policy.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/program.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <random>

using namespace davit;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<const policy> make(policy_settings settings) {
  std::string error;
  auto made = policy::make(std::move(settings), error);
  INFO(error);
  REQUIRE(made);
  return made;
}

std::string broken_rule(const policy& rules, const task_spec& spec) {
  auto judged = rules.judge(spec, policy_profile::baseline);
  return judged.violations.empty() ? "" : judged.violations.front().rule;
}

task_spec with_image(std::string image) {
  task_spec spec;
  spec.image = std::move(image);
  return spec;
}

} // namespace

TEST_CASE("an allow-list matches the whole name: none of the original agent's mistakes") {
  policy_settings settings;
  settings.images_allow = {"alpine:.*"};
  auto rules = make(settings);
  CHECK(broken_rule(*rules, with_image("alpine:3.20")) == "");
  CHECK(broken_rule(*rules, with_image("alpine")) == "");
  CHECK(broken_rule(*rules, with_image("evil.example/alpinex:1")) == "images.allow");
  CHECK(broken_rule(*rules, with_image("evil.example/alpine:1")) == "images.allow");
  CHECK(broken_rule(*rules, with_image("evil/alpine:1")) == "images.allow");
  settings.images_deny = {".*:latest"};
  CHECK(broken_rule(*make(settings), with_image("alpine")) == "images.deny");
  std::string error;
  settings.images_allow = {" "};
  CHECK_FALSE(policy::make(settings, error));
  CHECK(error.find("blank") != std::string::npos);
  settings.images_allow = {"("};
  CHECK_FALSE(policy::make(settings, error));
}

TEST_CASE("an image's id is no name: it is refused unless the policy allows ids, and is judged then") {
  const std::string hex(64, '7'), id = "sha256:" + hex;
  policy_settings settings;
  for (const auto& text : {id, hex, std::string{"sha256:7ee2"}}) {
    auto judged = make(settings)->judge(with_image(text), policy_profile::baseline);
    REQUIRE(judged.violations.size() == 1);
    CHECK(judged.violations[0].rule == "image.reference");
    CHECK(judged.violations[0].message.find("policy.images.allow-ids") != std::string::npos);
  }
  settings.allow_ids = true;
  CHECK(make(settings)->judge(with_image(hex), policy_profile::baseline).effective.image == id);
  CHECK(broken_rule(*make(settings), with_image(id)) == "");
  CHECK(broken_rule(*make(settings), with_image("sha256:7ee2")) == "image.reference");
  settings.images_allow = {"alpine:.*"};
  CHECK(broken_rule(*make(settings), with_image(id)) == "images.allow");
  CHECK(broken_rule(*make(settings), with_image("7ee2")) == "images.allow");
}

TEST_CASE("the engine is asked for the exact name that was judged; a tag next to a digest allows nothing") {
  const std::string digest = "sha256:" + std::string(64, 'a');
  policy_settings settings;
  settings.images_allow = {"alpine:.*"};
  auto rules = make(settings);
  CHECK(rules->judge(with_image("alpine"), policy_profile::baseline).effective.image
        == "docker.io/library/alpine:latest");
  CHECK(broken_rule(*rules, with_image("alpine:3.20@" + digest)) == "images.allow");
  settings.images_allow = {"alpine@" + digest};
  settings.images_deny = {".*:3\\.1.*"};
  settings.require_digest = true;
  rules = make(settings);
  CHECK(rules->judge(with_image("alpine:3.20@" + digest), policy_profile::baseline).effective.image
        == "docker.io/library/alpine@" + digest);
  CHECK(broken_rule(*rules, with_image("alpine:3.20@" + digest)) == "");
  CHECK(broken_rule(*rules, with_image("alpine:3.18@" + digest)) == "images.deny");
  settings.images_allow.clear();
  CHECK(broken_rule(*make(settings), with_image("alpine:3.20")) == "images.digest");
}

TEST_CASE("a registry has one name, whatever a task writes") {
  policy_settings settings;
  settings.images_deny = {"ghcr\\.io/evil/.*"};
  auto rules = make(settings);
  for (auto name :
       {"ghcr.io/evil/x", "GHCR.io/evil/x:1", "ghcr.IO/evil/x", "ghcr.io:443/evil/x", "GhCr.Io:443/evil/x:2"}) {
    INFO(name);
    CHECK(broken_rule(*rules, with_image(name)) == "images.deny");
  }
  for (auto name : {"ghcr.io/good/x", "ghcr.io:444/evil/x", "example.com/ghcr.io/evil/x"}) {
    INFO(name);
    CHECK(broken_rule(*rules, with_image(name)) == "");
  }
  settings.images_deny.clear();
  settings.images_allow = {"ghcr\\.io/good/.*"};
  rules = make(settings);
  CHECK(broken_rule(*rules, with_image("GHCR.io/good/x")) == "");
  CHECK(broken_rule(*rules, with_image("ghcr.io:443/good/x")) == "images.allow");
}

TEST_CASE("a regex has a size that RE2 is done with in time") {
  auto rules = make({});
  auto with_regex = [](std::string regex) {
    auto spec = with_image("alpine");
    spec.validator = output_validator{validator_type::output_regex, std::move(regex)};
    return spec;
  };
  for (auto good : {"OK", "^Tests: [0-9]+ passed, 0 failed$", "(?i)build (succeeded|done)", "\\p{L}+"}) {
    INFO(good);
    CHECK(broken_rule(*rules, with_regex(good)) == "");
  }
  for (auto bad : {"(", "([ab]*a[ab]{900}c){12}", "((a{30}){30}){2}", "\\p{L}{500}"}) {
    INFO(bad);
    CHECK(broken_rule(*rules, with_regex(bad)) == "validator.regex");
  }
}

TEST_CASE("what baseline refuses, each with the rule's name") {
  auto rules = make({});
  auto mounted = [](mount_type type, std::string source, std::string target) {
    auto spec = with_image("alpine");
    spec.mounts = {{type, std::move(source), std::move(target), false, {}}};
    return spec;
  };
  CHECK(broken_rule(*rules, mounted(mount_type::bind, "/var/run/docker.sock", "/s")) == "mounts.engine-socket");
  CHECK(broken_rule(*rules, mounted(mount_type::bind, "/run/containerd/containerd.sock", "/s"))
        == "mounts.engine-socket");
  CHECK(broken_rule(*rules, mounted(mount_type::bind, "/", "/host")) == "mounts.engine-socket");
  CHECK(broken_rule(*rules, mounted(mount_type::bind, "/etc", "/host")) == "mounts.bind");
  CHECK(broken_rule(*rules, mounted(mount_type::volume, "/etc", "/host")) == "mounts.volume-name");
  CHECK(broken_rule(*rules, mounted(mount_type::volume, "../x", "/host")) == "mounts.volume-name");
  CHECK(broken_rule(*rules, mounted(mount_type::volume, "cache", "/")) == "mounts.target");
  CHECK(broken_rule(*rules, mounted(mount_type::volume, "cache", "/a/../..")) == "mounts.target");
  CHECK(broken_rule(*rules, mounted(mount_type::volume, "cache", "/cache")) == "");
  CHECK(broken_rule(*rules, mounted(mount_type::tmpfs, "", "/tmp")) == "");
  for (auto [network, rule] : {std::pair{"host", "network"},
                               {"container:abc", "network"},
                               {"my-net", "networks.allow"},
                               {"", "networks.allow"}}) {
    auto spec = with_image("alpine");
    spec.network = network;
    CHECK(broken_rule(*rules, spec) == rule);
  }
  auto spec = with_image("alpine");
  spec.labels["davit.task"] = "x";
  CHECK(broken_rule(*rules, spec) == "labels.reserved");
  spec = with_image("alpine");
  spec.labels[""] = "x";
  CHECK(broken_rule(*rules, spec) == "labels.name");
  spec = with_image("alpine");
  spec.resources.memory = byte_size{1024};
  CHECK(broken_rule(*rules, spec) == "limits.memory");
}

TEST_CASE("a tmpfs in the place of /dev/shm has its ceiling too") {
  policy_settings settings;
  settings.ceilings.shm = byte_size{64 << 20};
  auto rules = make(settings);
  auto judge = [&](const std::string& target, std::optional<byte_size> size) {
    auto spec = with_image("alpine");
    spec.mounts.push_back({mount_type::tmpfs, "", target, false, size});
    return broken_rule(*rules, spec);
  };
  for (auto target : {"/dev/shm", "/dev/shm/", "/dev/./shm", "//dev/shm"}) {
    INFO(target);
    CHECK(judge(target, byte_size{64 << 20}) == "");
    CHECK(judge(target, byte_size{(64 << 20) + 1}) == "limits.shm");
    CHECK(judge(target, std::nullopt) == "limits.shm");
  }
  CHECK(judge("/dev/shmx", std::nullopt) == "");
  CHECK(judge("/tmp", byte_size{1 << 30}) == "");
}

TEST_CASE("a task's labels are below davit's prefix, and under their own name only where the operator says so") {
  using labels = std::map<std::string, std::string>;
  const labels given{{"team", "red"}, {"traefik.enable", "true"}, {"x.team", "1"}, {"", "e"}};
  CHECK(make({})->container_labels(given)
        == labels{{"davit.label.", "e"},
                  {"davit.label.team", "red"},
                  {"davit.label.traefik.enable", "true"},
                  {"davit.label.x.team", "1"}});
  policy_settings settings;
  settings.labels_allow = {"team", "ci\\..*"}; // whole names: not x.team
  auto made = make(settings)->container_labels(given);
  CHECK(made.size() == 5);
  CHECK(made["team"] == "red");
  CHECK(make(settings)->container_labels({{"ci.job", "7"}}).contains("ci.job"));
  CHECK_FALSE(make(settings)->container_labels({{"ci.job\n", "7"}}).contains("ci.job\n"));
  settings.labels_allow = {"("};
  std::string error;
  CHECK_FALSE(policy::make(settings, error));
  CHECK(error.find("davit.policy.labels.allow") == 0);
}

TEST_CASE("limits: defaults where nothing is said, ceilings where too much is") {
  policy_settings settings;
  settings.ceilings.memory = byte_size{1 << 30};
  settings.max_timeout = 1h;
  auto rules = make(settings);
  auto judged = rules->judge(with_image("alpine"), policy_profile::baseline);
  CHECK(judged.violations.empty());
  CHECK(judged.effective.resources.memory->bytes == 512ull << 20);
  CHECK(judged.effective.resources.pids == 512);
  CHECK(judged.effective.network == "bridge");
  CHECK(judged.effective.timeout == 1h);
  auto spec = with_image("alpine");
  spec.resources.memory = byte_size{2ull << 30};
  spec.timeout = 2h;
  CHECK(rules->judge(spec, policy_profile::baseline).violations.size() == 2);
}

TEST_CASE("the engine with the largest share of free slots takes the task") {
  std::vector<engine_offer> offers{{"a", "1", {"x"}, 8, 2}, {"b", "2", {"x", "gpu"}, 4, 2}, {"c", "3", {}, 4, 0}};
  CHECK(choose_engine(offers, {})->name == "b");
  CHECK(choose_engine(offers, {"x"})->name == "b");
  CHECK(choose_engine(offers, {"gpu", "x"})->name == "b");
  CHECK(choose_engine(offers, {"no"}) == nullptr);
  offers[1].free = 0;
  CHECK(choose_engine(offers, {})->name == "a");
}

TEST_CASE("an engine that holds the image goes first; packing fills the fullest") {
  std::vector<engine_offer> offers{{"a", "1", {}, 8, 8}, {"b", "2", {}, 8, 1}, {"c", "3", {}, 8, 0}};
  CHECK(choose_engine(offers, {}, {"2"})->name == "b");
  CHECK(choose_engine(offers, {}, {"3"})->name == "a"); // it has no room
  CHECK(choose_engine(offers, {}, {}, placement_strategy::pack)->name == "b");
  CHECK(choose_engine(offers, {}, {"1"}, placement_strategy::pack)->name == "a");
}

TEST_CASE("a limit is written as a label and a number") {
  label_limit limit;
  REQUIRE(from_string("team=red: 8", limit));
  CHECK(limit == label_limit{"team", "red", 8});
  CHECK(to_string(limit) == "team=red: 8");
  REQUIRE(from_string("deploy:1", limit));
  CHECK(limit == label_limit{"deploy", "", 1});
  for (auto wrong : {"deploy", "deploy: 0", ": 1", "deploy: x", "deploy=: 1", "deploy: 1x", ""})
    CHECK_FALSE(from_string(wrong, limit));
}

TEST_CASE("a task is tried again where its policy says so, after a growing wait") {
  retry_policy retry;
  retry.backoff = {1s, 5s};
  CHECK(retry_delay(retry, 1, outcome::engine_lost, 0) == 1500ms);
  CHECK(retry_delay(retry, 1, outcome::engine_lost, 0.99) == 1005ms);
  CHECK(retry_delay(retry, 2, outcome::agent_lost, 0) == 2s);
  CHECK_FALSE(retry_delay(retry, 3, outcome::engine_lost, 0));
  CHECK_FALSE(retry_delay(retry, 1, outcome::failed, 0));
  retry.attempts = 10;
  CHECK(retry_delay(retry, 9, outcome::engine_lost, 0) == 5s);
}

TEST_CASE("a wait between attempts is within the range that was written, grows, and differs") {
  std::minstd_rand random{7};
  std::uniform_real_distribution<double> draw{0, 1};
  for (int i = 0; i < 1000; ++i) {
    retry_policy retry;
    retry.attempts = 100;
    retry.backoff.least = duration{static_cast<duration::rep>(random() % 30'000)};
    retry.backoff.most = retry.backoff.least + duration{static_cast<duration::rep>(i % 3 == 0 ? 0 : random() % 90'000)};
    duration before{0};
    for (std::int32_t number = 1; number < 100; ++number) {
      auto longest = retry_delay(retry, number, outcome::engine_lost, 0).value();
      auto some = retry_delay(retry, number, outcome::engine_lost, draw(random)).value();
      CAPTURE(retry.backoff.least, retry.backoff.most, number);
      CHECK(some >= retry.backoff.least);
      CHECK(some <= longest);
      CHECK(longest <= retry.backoff.most);
      CHECK(longest >= before);
      before = longest;
    }
    CHECK((before == retry.backoff.most || retry.backoff.least == duration{0}));
    if (retry.backoff.least >= 10ms && retry.backoff.most >= retry.backoff.least + 5ms)
      CHECK(retry_delay(retry, 1, outcome::engine_lost, 0) > retry_delay(retry, 1, outcome::engine_lost, 0.999));
  }
}

TEST_CASE("why a task waits is told for each engine") {
  engine_status engine;
  engine.slots = 2;
  engine.labels = {"x"};
  auto spec = with_image("alpine");
  engine.state = engine_state::down;
  engine.message = "connection refused";
  CHECK(why_not(spec, engine) == "is down: connection refused");
  engine.state = engine_state::ready;
  CHECK(why_not(spec, engine) == "");
  engine.busy = 2;
  CHECK(why_not(spec, engine) == "all its 2 slots are taken");
  spec.engine.labels = {"gpu"};
  CHECK(why_not(spec, engine) == "does not have the label \"gpu\"");
}

TEST_CASE("what no engine could run is refused with the field's name") {
  auto rules = make({});
  auto changed = [&](auto change) {
    auto spec = with_image("alpine");
    change(spec);
    return broken_rule(*rules, spec);
  };
  CHECK(changed([](task_spec& s) { s.command = {"a", std::string("a\0b", 3)}; }) == "command");
  CHECK(changed([](task_spec& s) { s.entrypoint = std::vector<std::string>{std::string(1, '\0')}; }) == "command");
  CHECK(changed([](task_spec& s) { s.resources.pids = 99'999'999'999; }) == "limits.pids");
  CHECK(changed([](task_spec& s) { s.ulimits = {{"nofile", "5"}}; }) == "ulimits");
  CHECK(changed([](task_spec& s) { s.ulimits = {{"nofile", "65:64"}}; }) == "ulimits");
  CHECK(changed([](task_spec& s) { s.ulimits = {{"nofile", "-1:64"}}; }) == "ulimits");
  CHECK(changed([](task_spec& s) { s.ulimits = {{"nofile", "64:-1"}, {"core", "0"}}; }) == "");
  for (auto never : {outcome::succeeded, outcome::cancelled, outcome::rejected})
    CHECK(changed([=](task_spec& s) { s.retry.on = {outcome::failed, never}; }) == "retry.on");
  CHECK(changed([](task_spec& s) {
          s.retry.on = {outcome::failed,      outcome::timed_out, outcome::oom_killed, outcome::image_unavailable,
                        outcome::engine_lost, outcome::agent_lost};
        })
        == "");
}

TEST_CASE("numbers of users and groups that no kernel has are refused") {
  auto rules = make({});
  auto of_user = [&](const std::string& user) {
    auto spec = with_image("alpine");
    spec.user = user;
    return broken_rule(*rules, spec);
  };
  for (const auto* good : {"", "0", "2147483647", "2147483647:2147483647", "joe", "joe:99", "00000000000001"})
    CHECK(of_user(good) == "");
  for (const auto* bad : {"2147483648", "4294967296", "99999999999999999999", "0:2147483648", "joe:4294967296"})
    CHECK(of_user(bad) == "user.range");
  auto spec = with_image("alpine");
  spec.group_add = {"5", "2147483648"};
  CHECK(broken_rule(*rules, spec) == "user.range");
}

TEST_CASE("no text of a spec that an engine gets may have a NUL") {
  auto rules = make({});
  const std::string nul{"/a\0b", 4};
  std::vector<std::function<void(task_spec&)>> places{
    [&](task_spec& s) { s.workdir = nul; },
    [&](task_spec& s) { s.user = nul; },
    [&](task_spec& s) { s.name = nul; },
    [&](task_spec& s) { s.dedupe_key = nul; },
    [&](task_spec& s) { s.runtime = nul; },
    [&](task_spec& s) { s.cgroup_parent = nul; },
    [&](task_spec& s) { s.security_opt = {nul}; },
    [&](task_spec& s) { s.group_add = {nul}; },
    [&](task_spec& s) {
      s.labels = {{nul, "x"}};
    },
    [&](task_spec& s) {
      s.labels = {{"x", nul}};
    },
    [&](task_spec& s) { s.engine.labels = {nul}; },
    [&](task_spec& s) {
      s.mounts = {{mount_type::tmpfs, {}, nul, false, {}}};
    },
    [&](task_spec& s) {
      s.mounts = {{mount_type::volume, nul, "/v", false, {}}};
    },
  };
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto spec = with_image("alpine");
    places[i](spec);
    INFO("place " << i);
    auto judged = rules->judge(spec, policy_profile::privileged);
    CHECK(std::any_of(judged.violations.begin(), judged.violations.end(),
                      [](const auto& one) { return one.rule == "text.nul"; }));
  }
  auto spec = with_image("alpine");
  spec.stdin_text = nul;
  CHECK(broken_rule(*rules, spec) == "");
}

TEST_CASE("what can't be run in a sandbox can't insist on one") {
  auto rules = make({});
  auto spec = with_image("alpine");
  spec.start = start_mode::warm;
  CHECK(broken_rule(*rules, spec) == "");
  auto with_terminal = spec, once = spec;
  with_terminal.tty = true;
  once.at_most_once = true;
  CHECK(broken_rule(*rules, with_terminal) == "start.warm");
  CHECK(broken_rule(*rules, once) == "start.warm");
  auto first = spec;
  first.init = false;
  CHECK(broken_rule(*rules, first) == "start.warm");
  first.start = start_mode::automatic;
  CHECK(broken_rule(*rules, first).empty());
  once.start = start_mode::automatic;
  CHECK(broken_rule(*rules, once) == "");
}

TEST_CASE("a task insists on a sandbox in vain if, and only if, it is refused at once") {
  auto rules = make({});
  engine_settings settings;
  settings.sandboxes = 1;
  engine_info engine;
  engine.architecture = init::architecture();
  auto refused = [&](auto change) {
    auto spec = with_image("alpine");
    spec.start = start_mode::warm;
    change(spec);
    auto judged = rules->judge(spec, policy_profile::privileged);
    auto refused = std::any_of(judged.violations.begin(), judged.violations.end(),
                               [](const auto& one) { return one.rule == "start.warm"; });
    CHECK(refused == !why_cold(spec, settings, engine).empty());
    return refused;
  };
  CHECK_FALSE(refused([](task_spec&) {}));
  CHECK(refused([](task_spec& s) { s.tty = true; }));
  CHECK(refused([](task_spec& s) { s.at_most_once = true; }));
  CHECK(refused([](task_spec& s) { s.init = false; }));
  CHECK(refused([](task_spec& s) { s.pid = "host"; }));
  CHECK_FALSE(refused([](task_spec& s) { s.pid = "private"; }));
  CHECK(refused([](task_spec& s) { s.env[init::nonce_variable] = "x"; }));
  CHECK(refused([](task_spec& s) { s.secrets[init::nonce_variable].value = "x"; }));
  for (const auto* target : {"/.davit", "/.davits", "/x/.davit", "/"})
    CHECK_FALSE(refused([&](task_spec& s) { s.mounts.emplace_back().target = target; }));
}
