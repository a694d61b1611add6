// Promise 9, on a real engine: what the profiles promise is what the container gets.
#include "fixture/test_agent.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("a restricted container has no root, no capability, nothing to write but its tmpfs, and no network",
          "[security]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(2)}};
  auto spec = busybox("id -u; id -g; grep CapEff /proc/self/status; grep CapBnd /proc/self/status; grep NoNewPrivs "
                      "/proc/self/status; touch /x 2>/dev/null || echo sealed; touch /tmp/x && echo tmp; "
                      "ls /sys/class/net");
  spec.profile = policy_profile::restricted;
  auto ended = agent.run(spec);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(agent.logs(ended.id).out
        == "65534\n65534\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nsealed\ntmp\nlo\n");
}

TEST_CASE("an engine with a wider profile gets the tasks that need it, and the others' tasks wait for theirs",
          "[security]") {
  test_engine narrow{"narrow"}, wide{"wide"};
  auto open = wide.settings(2);
  open.profile = policy_profile::privileged;
  test_agent agent{{narrow.settings(2), open}};
  agent.await_engine("narrow", engine_state::ready);
  agent.await_engine("wide", engine_state::ready);
  auto spec = busybox("grep CapEff /proc/self/status; cat /proc/sys/kernel/msgmax");
  spec.cap_add = {"SYS_NICE", "SYS_PTRACE"};
  spec.cap_drop = {"ALL"};
  spec.sysctls = {{"kernel.msgmax", "1234"}};
  spec.ulimits = {{"nofile", "77:88"}};
  for (int i = 0; i < 4; ++i) {
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(ended.attempts.back().engine == "wide");
    CHECK(agent.logs(ended.id).out == "CapEff:\t0000000000880000\n1234\n");
  }
  spec.engine.labels = {"narrow"};
  CHECK_THROWS(agent.submit(spec)); // 403: no engine that it could go to allows it
  wide.freeze();
  agent.await_engine("wide", engine_state::down);
  spec.engine.labels = {};
  auto waiting = agent.submit(spec);
  CHECK(agent.call("GET", "/v1/tasks/" + to_string(waiting)).find("profile baseline") != std::string::npos);
  agent.cancel(waiting);
  CHECK(agent.wait(waiting).outcome == outcome::cancelled);
  wide.thaw();
}

TEST_CASE(
  "every field of the container that a privileged task may set reaches the engine as docker run would have set it",
  "[security]") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.profile = policy_profile::privileged;
  test_agent agent{{settings}};
  auto spec = busybox("sleep 600");
  spec.hostname = "builder";
  spec.dns = {"10.9.8.7"};
  spec.extra_hosts = {"db:10.0.0.5"};
  spec.group_add = {"27"};
  spec.devices = {"/dev/null:/dev/nothing:r"};
  spec.security_opt = {"seccomp=unconfined"};
  spec.pid = "host";
  spec.ipc = "host";
  spec.uts = "";
  spec.cgroup = "private";
  spec.ulimits = {{"nofile", "77:88"}};
  spec.read_only = true;
  spec.mounts = {{mount_type::bind, "/etc/hostname", "/hostname", true, {}}};
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  auto inspected = engine.docker("inspect $(docker -H unix://" + engine.socket() + " ps -q)");
  for (auto part : {R"("Hostname": "builder")", R"("10.9.8.7")", R"("db:10.0.0.5")", R"("27")",
                    R"("PathInContainer": "/dev/nothing")", R"("CgroupPermissions": "r")", R"("seccomp=unconfined")",
                    R"("no-new-privileges")", R"("PidMode": "host")", R"("IpcMode": "host")",
                    R"("CgroupnsMode": "private")", R"("Soft": 77)", R"("Hard": 88)", R"("ReadonlyRootfs": true)",
                    R"("Source": "/etc/hostname")", R"("Privileged": false)"}) {
    INFO(part);
    CHECK(inspected.find(part) != std::string::npos);
  }
  agent.cancel(id);
  CHECK(agent.wait(id).outcome == outcome::cancelled);
  auto owner = busybox("grep CapEff /proc/self/status");
  owner.privileged = true;
  auto ended = agent.run(owner);
  CHECK(agent.logs(ended.id).out != "CapEff:\t00000000a80425fb\n");
}

TEST_CASE("a task that tries to reach the engine finds neither its socket nor its port, by whatever way it asks",
          "[security]") {
  const auto port = std::to_string(free_port());
  test_engine engine{"a", {"-H", "tcp://127.0.0.1:" + port, "--tls=false"}};
  test_agent agent{{engine.settings(2)}};
  // The engine does listen there.
  REQUIRE(shell("curl -s http://127.0.0.1:" + port + "/_ping") == "OK");
  auto spec
    = busybox("for s in /var/run/docker.sock /run/docker.sock " + engine.socket() + " /proc/1/root" + engine.socket()
              + "; do [ -e $s ] && echo found $s; done; "
                "for h in 127.0.0.1 localhost ::1 172.17.0.1 host.docker.internal; do wget -q -T 2 -O - http://$h:"
              + port
              + "/_ping 2>/dev/null && echo reached $h; done; "
                "find / -xdev -type s 2>/dev/null; env | grep -i docker; echo end");
  auto ended = agent.run(spec);
  INFO(ended.message);
  CHECK(agent.logs(ended.id).out == "end\n");
  // What would lead there is refused, each by its rule, before anything is started.
  auto refused = [&](task_spec asked, const std::string& rule) {
    auto answer = agent.http("POST", "/v1/tasks", {}, json::write(asked));
    INFO(answer.body);
    CHECK(answer.status == 403);
    CHECK(answer.body.find("rule " + rule) != std::string::npos);
  };
  auto mounts = spec;
  mounts.mounts = {{mount_type::bind, engine.socket(), "/docker.sock", false, {}}};
  refused(mounts, "mounts.engine-socket");
  mounts.mounts
    = {{mount_type::bind, std::filesystem::path{engine.socket()}.parent_path().string(), "/folder", true, {}}};
  refused(mounts, "mounts.bind");
  auto host = spec;
  host.network = "host";
  refused(host, "network");
  auto gateway = spec;
  gateway.extra_hosts = {"engine:host-gateway"};
  refused(gateway, "extra-hosts");
  auto spoofed = spec;
  spoofed.labels = {{"davit.task", to_string(uuid::make_v7())}};
  refused(spoofed, "labels.reserved");
}

TEST_CASE("what a task asks for and its engine does not have is the task's failure, and is not tried again",
          "[security]") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.profile = policy_profile::privileged;
  test_agent agent{{settings}};
  auto missing = [&](auto change) {
    auto spec = busybox("true");
    spec.retry.backoff = {10ms, 10ms};
    change(spec);
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::failed);
    CHECK(ended.attempts.size() == 1);
  };
  missing([](task_spec& spec) { spec.devices = {"/dev/nope"}; });
  missing([](task_spec& spec) { spec.devices = {"/dev/nope:/dev/null:r"}; });
}
