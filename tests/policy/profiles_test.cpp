// Every way from a container to its host that Docker's API offers, as far as a task spec can ask for it: refused by
// baseline, by name. And what continuous integration asks for every day: allowed. Sources: the Engine API's HostConfig
// (v1.47), Kubernetes' Pod Security Standards, the rules of public policy plugins for Docker and Kubernetes.
#include "escapes.hpp"

#include "json/read.hpp"
#include "policy/placement.hpp"
#include "policy/policy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <set>

using namespace davit;
using namespace davit::test;

namespace {

task_spec spec_of(const std::string& fields) {
  auto text = "{\"image\":\"alpine:3\"" + (fields.empty() ? "" : "," + fields) + "}";
  auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
  INFO(text << (spec ? std::string{} : spec.error().text()));
  REQUIRE(spec.has_value());
  return *spec;
}

std::set<std::string> rules_broken(policy_profile profile, const task_spec& spec) {
  std::set<std::string> rules;
  for (const auto& one : check_profile(profile, spec)) {
    CHECK_FALSE(one.field.empty());
    CHECK_FALSE(one.message.empty());
    rules.insert(one.rule);
  }
  return rules;
}

} // namespace

TEST_CASE("hundreds of ways from a container to its host: baseline refuses each by name, and restricted too") {
  auto all = hostile();
  CHECK(all.wide.size() + all.never.size() > 450);
  for (const auto& one : all.wide) {
    INFO(one.fields);
    auto spec = spec_of(one.fields);
    CHECK(rules_broken(policy_profile::baseline, spec).contains(one.rule));
    CHECK_FALSE(rules_broken(policy_profile::restricted, spec).empty());
    CHECK(rules_broken(policy_profile::privileged, spec).empty());
    CHECK(least_profile(spec) == policy_profile::privileged);
  }
  for (const auto& one : all.never) {
    INFO(one.fields);
    auto spec = spec_of(one.fields);
    for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged})
      CHECK(rules_broken(profile, spec).contains(one.rule));
    CHECK_FALSE(least_profile(spec));
  }
}

TEST_CASE("fields of the engine's API that a task spec does not have are refused by their names") {
  for (std::string field : {"Privileged",
                            "HostConfig",
                            "Binds",
                            "VolumesFrom",
                            "volumes_from",
                            "Mounts",
                            "CapAdd",
                            "PidMode",
                            "IpcMode",
                            "UTSMode",
                            "UsernsMode",
                            "CgroupnsMode",
                            "CgroupParent",
                            "SecurityOpt",
                            "NetworkMode",
                            "Devices",
                            "DeviceRequests",
                            "device_requests",
                            "DeviceCgroupRules",
                            "device_cgroup_rules",
                            "OomKillDisable",
                            "oom_kill_disable",
                            "OomScoreAdj",
                            "oom_score_adj",
                            "Sysctls",
                            "Ulimits",
                            "Runtime",
                            "AutoRemove",
                            "RestartPolicy",
                            "restart",
                            "PublishAllPorts",
                            "PortBindings",
                            "ports",
                            "Links",
                            "VolumeDriver",
                            "volume_driver",
                            "MaskedPaths",
                            "masked_paths",
                            "ReadonlyPaths",
                            "LogConfig",
                            "logging",
                            "Isolation",
                            "StorageOpt",
                            "storage_opt",
                            "Init",
                            "ContainerIDFile",
                            "GroupAdd",
                            "NetworkingConfig",
                            "MacAddress",
                            "mac_address",
                            "Healthcheck",
                            "healthcheck",
                            "BlkioDeviceReadBps",
                            "CpusetCpus",
                            "KernelMemory",
                            "MemorySwap",
                            "PidsLimit",
                            "Annotations",
                            "volumes",
                            "build",
                            "env_file",
                            "expose",
                            "gpus"}) {
    auto text = "{\"image\":\"a\",\"" + field + "\":null}";
    INFO(text);
    auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
    REQUIRE_FALSE(spec.has_value());
    CHECK(spec.error().text().starts_with(field + ": unknown field"));
  }
}

TEST_CASE(
  "what continuous integration asks for every day is allowed by baseline, and what needs no root by restricted") {
  for (std::string fields :
       {R"("command":["make","test"])",
        R"("command":["sh","-c","apt-get update && apt-get install -y curl"])",
        R"("entrypoint":["/bin/bash","-eo","pipefail"],"command":["-c","true"])",
        R"("env":{"CI":"true","GITHUB_TOKEN":"x","PATH":"/usr/bin"})",
        R"("workdir":"/builds/group/project")",
        R"("user":"0")",
        R"("user":"root")",
        R"("user":"node")",
        R"("user":"1000:1000")",
        R"("network":"bridge")",
        R"("network":"none")",
        R"("mounts":[{"type":"volume","source":"m2-cache","target":"/root/.m2"}])",
        R"("mounts":[{"type":"volume","target":"/cache"}])",
        R"("mounts":[{"type":"tmpfs","target":"/tmp","size":"1g"}])",
        R"("mounts":[{"type":"volume","source":"go.mod_cache-1","target":"/go/pkg/mod","read_only":true}])",
        R"("mounts":[{"type":"tmpfs","target":"/dev/shm"}])",
        R"("mounts":[{"type":"tmpfs","target":"/run"}])",
        R"("mounts":[{"type":"volume","source":"vol","target":"/process/data"}])",
        R"("resources":{"cpus":2,"memory":"4g","pids":4096,"shm":"1g"})",
        R"("tty":true)",
        R"("stdin":"data")",
        R"("timeout":"1h","retry":{"attempts":2})",
        R"("labels":{"team":"web","com.example.job":"7"})",
        R"("labels":{"davits":"x","mydavit.x":"y"})",
        R"("cap_drop":["ALL"])",
        R"("cap_drop":["NET_RAW","MKNOD"])",
        R"("cap_add":["CHOWN","CAP_SETUID","setgid"])",
        R"("cap_add":["NET_BIND_SERVICE"])",
        R"("read_only":true)",
        R"("read_only":false)",
        R"("security_opt":["no-new-privileges"])",
        R"("security_opt":["apparmor=docker-default","no-new-privileges:true"])",
        R"("pid":"private")",
        R"("ipc":"private")",
        R"("ipc":"none")",
        R"("cgroup":"private")",
        R"("ulimits":{"nofile":"65536:65536"})",
        R"("ulimits":{"nofile":"1024","core":"0","stack":"-1:-1"})",
        R"("group_add":["docker","0","27"])",
        R"("sysctls":{"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 2147483647"})",
        R"("extra_hosts":["db:10.0.0.5","api.test:127.0.0.1","v6:::1","e=::1","f=10.0.0.1","g:[::1]"])",
        R"("dns":["8.8.8.8","2001:4860:4860::8888"])",
        R"("hostname":"builder-1")",
        R"("pull":"always")",
        R"("engine":{"labels":["dind","gpu"]})",
        R"("validator":{"type":"outputRegex","regex":"OK"})",
        R"("profile":"restricted")"}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::baseline, spec_of(fields)).empty());
  }
  for (std::string fields : {"", R"("command":["make","test"])", R"("user":"1000")", R"("user":"1000:1000")",
                             R"("cap_add":["NET_BIND_SERVICE"])", R"("read_only":true)", R"("network":"bridge")",
                             R"("group_add":["100"])"}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::restricted, spec_of(fields)).empty());
  }
  for (auto [fields, rule] : std::vector<row>{{R"("user":"0")", "user"},
                                              {R"("user":"root")", "user"},
                                              {R"("user":"node")", "user"},
                                              {R"("user":"00")", "user"},
                                              {R"("user":"0:1000")", "user"},
                                              {R"("user":"1000:0")", "user"},
                                              {R"("user":"1000:root")", "user"},
                                              {R"("user":"+0")", "user"},
                                              {R"("user":"1000:00")", "user"},
                                              {R"("user":"0x0")", "user"},
                                              {R"("read_only":false)", "read-only"},
                                              {R"("cap_add":["CHOWN"])", "capabilities"},
                                              {R"("group_add":["0"])", "group-add"},
                                              {R"("group_add":["00"])", "group-add"},
                                              {R"("group_add":["disk"])", "group-add"}}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::restricted, spec_of(fields)).contains(rule));
    CHECK(least_profile(spec_of(fields)) == policy_profile::baseline);
  }
}

TEST_CASE("restricted fills in what it wants, and says so; a task may name a stricter profile than the engine's, not a "
          "wider one") {
  std::string error;
  auto rules = policy::make({}, error);
  auto spec = spec_of("");
  auto judged = rules->judge(spec, policy_profile::restricted);
  CHECK(judged.violations.empty());
  const auto& made = judged.effective;
  CHECK(made.user == "65534:65534");
  CHECK(made.read_only == true);
  CHECK(made.cap_drop == std::vector<std::string>{"ALL"});
  CHECK(made.network == "none");
  REQUIRE(made.mounts.size() == 1);
  CHECK(made.mounts[0].target == "/tmp");
  std::set<std::string> fields;
  for (const auto& one : judged.additions)
    fields.insert(one.field);
  for (std::string field : {"user", "read_only", "cap_drop", "network", "mounts"})
    CHECK(fields.contains(field));
  spec.profile = policy_profile::restricted;
  spec.user = "root";
  CHECK(rules->judge(spec, policy_profile::privileged).violations.front().rule == "user");
  spec = spec_of(R"("privileged":true,"profile":"privileged")");
  CHECK(rules->judge(spec, policy_profile::baseline).violations.front().rule == "privileged");
  CHECK(rules->judge(spec, policy_profile::privileged).violations.empty());
}

TEST_CASE("a confined task has namespaces of its own, whatever the engine's default is") {
  for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged}) {
    auto spec = spec_of("");
    apply_profile(profile, spec);
    CHECK(spec.cgroup == (profile == policy_profile::privileged ? "" : "private"));
    CHECK(spec.ipc == (profile == policy_profile::privileged ? "" : "private"));
    spec = spec_of(R"("ipc":"none")");
    apply_profile(profile, spec);
    CHECK(spec.ipc == "none");
  }
}

TEST_CASE("restricted leaves nobody with the group of root") {
  auto user_of = [](const std::string& user, policy_profile profile = policy_profile::restricted) {
    task_spec spec;
    spec.user = user;
    apply_profile(profile, spec);
    return spec.user;
  };
  CHECK(user_of("") == "65534:65534");
  CHECK(user_of("1000") == "1000:1000");
  CHECK(user_of("1000:27") == "1000:27");
  CHECK(user_of("1000", policy_profile::baseline) == "1000");
  // Of all short texts of these characters: what is allowed has a user and a group, both numbers, neither of them 0.
  const std::string characters = "017:a+- ";
  std::string text;
  std::size_t allowed = 0;
  std::function<void(std::size_t)> each = [&](std::size_t more) {
    auto spec = spec_of("");
    spec.user = text;
    apply_profile(policy_profile::restricted, spec);
    if (check_profile(policy_profile::restricted, spec).empty()) {
      ++allowed;
      auto colon = spec.user.find(':');
      REQUIRE(colon != std::string::npos);
      for (const auto& number : {spec.user.substr(0, colon), spec.user.substr(colon + 1)}) {
        CHECK(number.find_first_not_of("0123456789") == std::string::npos);
        CHECK(number.find_first_not_of('0') != std::string::npos);
      }
    }
    for (char one : characters)
      if (more > 0) {
        text.push_back(one);
        each(more - 1);
        text.pop_back();
      }
  };
  each(5);
  CHECK(allowed > 300);
}

TEST_CASE("an engine is chosen whose profile allows the task; why others are not is told") {
  engine_status engine;
  engine.state = engine_state::ready;
  engine.slots = 1;
  auto wide = spec_of(R"("privileged":true)");
  CHECK(why_not(wide, engine).find("profile baseline") != std::string::npos);
  engine.profile = policy_profile::privileged;
  CHECK(why_not(wide, engine) == "");
  std::vector<engine_settings> engines(2);
  engines[0].labels = {"host"};
  engines[1].labels = {"dind"};
  engines[1].profile = policy_profile::privileged;
  CHECK(widest_profile(engines, policy_profile::baseline, wide) == policy_profile::privileged);
  wide.engine.labels = {"host"};
  CHECK(widest_profile(engines, policy_profile::baseline, wide) == policy_profile::baseline);
  wide.engine.labels = {"none"};
  CHECK(widest_profile(engines, policy_profile::restricted, wide) == policy_profile::restricted);
  std::vector<engine_offer> offers{{"host", "1", labels_of(policy_profile::baseline), 4, 4},
                                   {"dind", "2", labels_of(policy_profile::privileged), 4, 1}};
  CHECK(choose_engine(offers, {label_wanted(spec_of(R"("privileged":true)"))})->name == "dind");
  CHECK(choose_engine(offers, {label_wanted(spec_of(""))})->name == "host");
}

TEST_CASE("an image can be asked for by digest alone") {
  policy_settings settings;
  settings.require_digest = true;
  std::string error;
  auto rules = policy::make(settings, error);
  CHECK(rules->judge(spec_of(""), policy_profile::baseline).violations.front().rule == "images.digest");
  auto spec = spec_of("");
  spec.image = "alpine@sha256:" + std::string(64, 'a');
  CHECK(rules->judge(spec, policy_profile::baseline).violations.empty());
  spec.image = "sha256:" + std::string(64, 'a'); // an id
  CHECK(rules->judge(spec, policy_profile::baseline).violations.front().rule == "image.reference");
  settings.allow_ids = true;
  CHECK(policy::make(settings, error)->judge(spec, policy_profile::baseline).violations.empty());
}
