// Ceilings of what a spec itself names: stated as a table, and compared with a second count over random specs.
#include "json/write.hpp"
#include "policy/policy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <random>
#include <set>

using namespace davit;
using namespace std::chrono_literals;

namespace {

using change = std::function<void(task_spec&)>;

std::vector<violation> found(const spec_ceilings& ceilings, const change& make) {
  policy_settings settings;
  settings.quantities = ceilings;
  std::string error;
  auto rules = policy::make(settings, error);
  REQUIRE(rules);
  task_spec spec;
  spec.image = "alpine";
  make(spec);
  return rules->judge(spec, policy_profile::privileged).violations;
}

std::string text(std::size_t size) {
  return std::string(size, 'x');
}

} // namespace

TEST_CASE("each quantity of a spec has a ceiling, which is itself allowed") {
  spec_ceilings tight{10s,           1h, 2min,          5, 4, 2min, 2, byte_size{40}, 3, byte_size{60}, 2,
                      byte_size{30}, 2,  byte_size{40}, 2};
  struct row {
    std::string field;
    change at_most, over;
  };
  auto mounts = [](std::size_t count, std::size_t size) {
    return [=](task_spec& s) {
      for (std::size_t i = 0; i < count; ++i)
        s.mounts.push_back({mount_type::tmpfs, "", "/" + std::to_string(i) + text(size), false, {}});
    };
  };
  auto pairs = [](auto member, std::size_t count, std::size_t size) {
    return [=](task_spec& s) {
      for (std::size_t i = 0; i < count; ++i)
        (s.*member)["k" + std::to_string(i)].assign(size, 'x');
    };
  };
  auto hosts = [](std::size_t extra, std::size_t dns, std::size_t size) {
    return [=](task_spec& s) {
      for (std::size_t i = 0; i < extra; ++i)
        s.extra_hosts.push_back(text(size) + ":10.0.0.1");
      for (std::size_t i = 0; i < dns; ++i)
        s.dns.push_back("10.0.0.1");
    };
  };
  auto list = [](auto member, std::string one, std::size_t count) {
    return [=](task_spec& s) { (s.*member).assign(count, one); };
  };
  const std::vector<row> rows{
    {"stop_timeout", [](task_spec& s) { s.stop_timeout = 10s; }, [](task_spec& s) { s.stop_timeout = 10001ms; }},
    {"stop_timeout", [](task_spec& s) { s.stop_timeout = 0s; }, [](task_spec& s) { s.stop_timeout = -1ms; }},
    {"queue_timeout", [](task_spec& s) { s.queue_timeout = 1h; }, [](task_spec& s) { s.queue_timeout = 61min; }},
    {"pull_timeout", [](task_spec& s) { s.pull_timeout = 2min; }, [](task_spec& s) { s.pull_timeout = 121s; }},
    {"priority", [](task_spec& s) { s.priority = 5; }, [](task_spec& s) { s.priority = 6; }},
    {"priority", [](task_spec& s) { s.priority = -1'000'000; }, [](task_spec& s) { s.priority = 2'147'483'647; }},
    {"retry.attempts", [](task_spec& s) { s.retry.attempts = 4; }, [](task_spec& s) { s.retry.attempts = 5; }},
    {"retry.backoff", [](task_spec& s) { s.retry.backoff.most = 2min; },
     [](task_spec& s) { s.retry.backoff.most = 121s; }},
    {"retry.on", [](task_spec& s) { s.retry.on.assign(2, outcome::failed); },
     [](task_spec& s) { s.retry.on.assign(3, outcome::failed); }},
    {"mounts", mounts(2, 18), mounts(3, 1)},
    {"mounts", mounts(2, 18), mounts(2, 19)},
    {"env", pairs(&task_spec::env, 3, 18), pairs(&task_spec::env, 4, 1)},
    {"env", pairs(&task_spec::env, 3, 18), pairs(&task_spec::env, 3, 19)},
    {"env", [](task_spec& s) { s.env["c"] = s.secrets["a"].value = s.secrets["b"].value = "long"; },
     [](task_spec& s) {
       for (auto name : {"a", "b", "c", "d"})
         s.secrets[name].value = "long";
     }},
    {"env",
     [](task_spec& s) {
       s.secrets["a"] = {text(200), true};
     },
     [](task_spec& s) {
       s.secrets["a"] = {text(200), false};
     }},
    {"labels", pairs(&task_spec::labels, 2, 13), pairs(&task_spec::labels, 3, 1)},
    {"labels", pairs(&task_spec::labels, 2, 13), pairs(&task_spec::labels, 2, 14)},
    {"extra_hosts", hosts(1, 1, 23), hosts(2, 1, 1)},
    {"extra_hosts", hosts(1, 1, 23), hosts(1, 1, 24)},
    {"cap_add", list(&task_spec::cap_add, "CHOWN", 2), list(&task_spec::cap_add, "CHOWN", 3)},
    {"cap_drop", list(&task_spec::cap_drop, "CHOWN", 2), list(&task_spec::cap_drop, "CHOWN", 3)},
    {"devices", list(&task_spec::devices, "/dev/null", 2), list(&task_spec::devices, "/dev/null", 3)},
    {"security_opt", list(&task_spec::security_opt, "no-new-privileges", 2),
     list(&task_spec::security_opt, "no-new-privileges", 3)},
    {"group_add", list(&task_spec::group_add, "5", 2), list(&task_spec::group_add, "5", 3)},
    {"engine.labels", [](task_spec& s) { s.engine.labels.assign(2, "x"); },
     [](task_spec& s) { s.engine.labels.assign(3, "x"); }},
    {"sysctls",
     [](task_spec& s) {
       s.sysctls = {{"net.a", "1"}, {"net.b", "1"}};
     },
     [](task_spec& s) {
       s.sysctls = {{"net.a", "1"}, {"net.b", "1"}, {"net.c", "1"}};
     }},
    {"ulimits",
     [](task_spec& s) {
       s.ulimits = {{"core", "1"}, {"cpu", "1"}};
     },
     [](task_spec& s) {
       s.ulimits = {{"core", "1"}, {"cpu", "1"}, {"data", "1"}};
     }},
  };
  for (const auto& one : rows) {
    INFO(one.field);
    for (const auto& wrong : found(tight, one.at_most))
      FAIL_CHECK(wrong.rule << ' ' << wrong.field << ": " << wrong.message);
    auto wrong = found(tight, one.over);
    REQUIRE(wrong.size() == 1);
    CHECK(wrong[0].field == one.field);
    CHECK(wrong[0].rule == "limits." + one.field);
    CHECK_FALSE(wrong[0].message.empty());
  }
}

TEST_CASE("a name is a line in a list, and a key an entry in an index: both are short") {
  CHECK(found({}, [](task_spec& s) { s.name = text(255); }).empty());
  CHECK(found({}, [](task_spec& s) { s.dedupe_key = text(1024); }).empty());
  CHECK(found({}, [](task_spec& s) { s.name = text(256); }).at(0).rule == "limits.name");
  CHECK(found({}, [](task_spec& s) { s.dedupe_key = text(1025); }).at(0).field == "dedupe_key");
}

TEST_CASE("the messages of ceilings name what there is and what may be") {
  spec_ceilings ceilings;
  CHECK(found(ceilings, [](task_spec& s) { s.stop_timeout = 1h; }).at(0).message == "1h is over the limit of 10m");
  CHECK(found(ceilings, [](task_spec& s) { s.priority = 101; }).at(0).message == "101 is over the limit of 100");
  CHECK(found(ceilings,
              [](task_spec& s) {
                s.mounts.assign(65, {mount_type::tmpfs, "", "/x", false, {}});
              })
          .back()
          .message
        == "65 mounts are over the limit of 64");
  CHECK(found(ceilings, [](task_spec& s) { s.labels["x"] = text(65536); }).at(0).message
        == "the labels have 65537 bytes together, over the limit of 64k");
}

TEST_CASE("random specs break exactly the ceilings that a second count says") {
  std::mt19937 random{20};
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int i = 0; i < 4000; ++i) {
    spec_ceilings ceilings;
    ceilings.stop_timeout = duration{below(5)};
    ceilings.backoff = duration{below(5)};
    ceilings.priority = static_cast<std::int64_t>(below(5));
    ceilings.mounts = ceilings.env = ceilings.labels = ceilings.hosts = static_cast<std::uint32_t>(below(5));
    ceilings.mounts_size = ceilings.env_size = ceilings.labels_size = ceilings.hosts_size = byte_size{below(40)};
    task_spec spec;
    spec.stop_timeout = duration{below(5)};
    spec.retry.backoff = {duration{0}, duration{below(5)}};
    spec.priority = static_cast<std::int32_t>(below(9)) - 4;
    for (auto n = below(5); n > 0; --n)
      spec.mounts.push_back({mount_type::volume, text(below(9)), text(below(9)), false, {}});
    for (auto* map : {&spec.env, &spec.labels})
      for (auto n = below(5); n > 0; --n)
        (*map)[text(below(9))] = text(below(9));
    for (auto n = below(4); n > 0; --n)
      spec.secrets["s" + text(below(4))] = {text(below(9)), below(2) == 0};
    for (auto* list : {&spec.extra_hosts, &spec.dns})
      list->assign(below(4), text(below(9)));
    // Counted in the JSON text's terms: what each field has of texts.
    std::set<std::string> expected;
    if (spec.stop_timeout > ceilings.stop_timeout)
      expected.insert("stop_timeout");
    if (spec.retry.backoff.most > ceilings.backoff)
      expected.insert("retry.backoff");
    if (spec.priority > ceilings.priority)
      expected.insert("priority");
    auto count = [&](const std::string& field, std::size_t entries, const std::string& joined, auto most, auto size) {
      if (entries > most || joined.size() > size.bytes)
        expected.insert(field);
    };
    std::string joined;
    for (const auto& one : spec.mounts)
      joined += one.source + one.target;
    count("mounts", spec.mounts.size(), joined, ceilings.mounts, ceilings.mounts_size);
    joined.clear();
    for (const auto& [name, value] : spec.env)
      joined += name + value;
    for (const auto& [name, value] : spec.secrets)
      joined += value.sealed ? name : name + value.value;
    count("env", spec.env.size() + spec.secrets.size(), joined, ceilings.env, ceilings.env_size);
    joined.clear();
    for (const auto& [name, value] : spec.labels)
      joined += name + value;
    count("labels", spec.labels.size(), joined, ceilings.labels, ceilings.labels_size);
    joined.clear();
    for (const auto* list : {&spec.extra_hosts, &spec.dns})
      for (const auto& one : *list)
        joined += one;
    count("extra_hosts", spec.extra_hosts.size() + spec.dns.size(), joined, ceilings.hosts, ceilings.hosts_size);
    std::set<std::string> fields;
    for (const auto& one : check_ceilings({{}, {}, ceilings, {}}, spec))
      fields.insert(one.field);
    INFO(json::write(spec));
    CHECK(fields == expected);
  }
}
