#include "actors/outcome_rules.hpp"
#include "actors/restart_budget.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>

using namespace davit;
using namespace std::chrono_literals;

namespace {

container_facts exited(std::int64_t code) {
  container_facts facts;
  facts.status.state = "exited";
  facts.status.exit_code = code;
  return facts;
}

} // namespace

TEST_CASE("the outcome of a container that ended by itself") {
  CHECK(judge_container(exited(0)).outcome == outcome::succeeded);
  CHECK(judge_container(exited(1)).outcome == outcome::failed);
  CHECK(judge_container(exited(137)).outcome == outcome::failed);
  CHECK(judge_container(exited(137)).message.find("SIGKILL, which davit did not send") != std::string::npos);
  auto oom = exited(137);
  oom.status.oom_killed = true;
  CHECK(judge_container(oom).outcome == outcome::oom_killed);
  oom.status.exit_code = 0; // a child was killed and the task got over it
  CHECK(judge_container(oom).outcome == outcome::succeeded);
}

TEST_CASE("what davit stopped is told apart from what ended by itself just then") {
  auto facts = exited(137);
  facts.wanted = ending::timed_out;
  CHECK(judge_container(facts).outcome == outcome::failed); // the stop found it ended
  facts.stopped_by_davit = true;
  CHECK(judge_container(facts).outcome == outcome::timed_out);
  CHECK(judge_container(facts).exit_code == 137);
  facts.wanted = ending::cancelled;
  CHECK(judge_container(facts).outcome == outcome::cancelled);
}

TEST_CASE("what davit stopped is cancelled or timed out, whatever has become of the engine; the code may be unknown") {
  for (int code : {0, 3, 137, 143, 255})
    for (auto why : {ending::cancelled, ending::timed_out, ending::drained}) {
      auto facts = exited(code);
      facts.engine_restarted = true;
      facts.wanted = why;
      facts.stopped_by_davit = true;
      auto how = judge_container(facts);
      CHECK(how.outcome
            == (why == ending::cancelled   ? outcome::cancelled
                : why == ending::timed_out ? outcome::timed_out
                                           : outcome::agent_lost));
      CHECK(how.exit_code.has_value() == (code == 3));
    }
}

TEST_CASE("a 5xx is the engine's own trouble or tells what can't be done") {
  for (auto own :
       {"mkdir /var/lib/docker/overlay2/x: no space left on device",
        "failed to create shim task: context deadline exceeded",
        "connection error: desc = \"transport: error while dialing: dial unix /run/containerd/containerd.sock\"",
        "the daemon is shutting down"})
    CHECK(is_engines_own(own));
  for (auto other : {"mkdir /etc/passwd: not a directory", "stat /loop: too many levels of symbolic links",
                     "source is not directory", "Cannot mkdir: /bin/sh is not a directory"})
    CHECK_FALSE(is_engines_own(other));
}

TEST_CASE("after an engine restart 0, 137, 143 and 255 need corroboration") {
  for (int code : {0, 137, 143, 255}) {
    auto facts = exited(code);
    facts.engine_restarted = true;
    CHECK(judge_container(facts).outcome == outcome::engine_lost);
    CHECK_FALSE(judge_container(facts).exit_code);
    facts.live_restore = true; // the shims have kept the code; 255 is what the engine says where they have not
    CHECK(judge_container(facts).outcome
          == (code == 0     ? outcome::succeeded
              : code == 255 ? outcome::engine_lost
                            : outcome::failed));
    facts.live_restore = false;
    facts.start_remembered = true;
    CHECK(judge_container(facts).outcome == (code == 0 ? outcome::succeeded : outcome::failed));
  }
  auto facts = exited(3); // no restart makes a 3
  facts.engine_restarted = true;
  CHECK(judge_container(facts).outcome == outcome::failed);
  CHECK(judge_container(facts).exit_code == 3);
}

TEST_CASE("a container that did not start: the command's fault, the engine's, or neither's") {
  container_status status;
  status.state = "created";
  status.exit_code = 127;
  CHECK(judge_start_failure(status, "not found", false).outcome == outcome::failed);
  CHECK(judge_start_failure(status, "not found", true).exit_code == 127);
  status.exit_code = 128;
  CHECK(judge_start_failure(status, "no such user", false).outcome == outcome::failed);
  CHECK_FALSE(judge_start_failure(status, "no such user", false).exit_code);
  CHECK(judge_start_failure(status, "already exists", true).outcome == outcome::engine_lost);
  // What was asked for, and what an engine in need says in the same breath.
  const std::string runtime
    = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: ";
  for (auto own : {"unable to apply caps: operation not permitted: unknown",
                   "error during container init: error mounting \"/x/resolv.conf\" to rootfs at \"/etc/resolv.conf\": "
                   "read-only file system: unknown",
                   "error during container init: open /proc/sys/net/x: no such file or directory: unknown",
                   "error during container init: error setting rlimit type 7: invalid argument: unknown"})
    CHECK(is_tasks_own(runtime + own));
  for (auto engines : {"error during container init: write /x: no space left on device",
                       "can't get final child's PID from pipe: EOF: unknown",
                       "waiting for init preliminary setup: read init-p: connection reset by peer",
                       "unable to apply cgroup configuration: no such file or directory",
                       "can't copy bootstrap data to pipe: write init-p: broken pipe: unknown"})
    CHECK_FALSE(is_tasks_own(runtime + engines));
  CHECK_FALSE(is_tasks_own("failed to create shim task: OCI runtime create failed: runc did not terminate "
                           "successfully: signal: killed: unknown"));
  CHECK(is_tasks_own("uids and gids must be in range 0-2147483647"));
  // Of 20.10.
  CHECK(is_tasks_own("Decoding seccomp profile failed: invalid character 'b' looking for beginning of value"));
  constexpr auto old_runtime = "OCI runtime create failed: container_linux.go:380: starting container process caused: "
                               "process_linux.go:545: container init caused: ";
  CHECK(is_tasks_own(std::string{old_runtime} + "write sysctl key net.ipv4.tcp_keepalive_time: invalid argument"));
  CHECK(is_tasks_own("error setting rlimits for ready process: error setting rlimit type 7: operation not permitted"));
  CHECK_FALSE(is_tasks_own(std::string{old_runtime} + "write /x: no space left on device: unknown"));
  CHECK_FALSE(is_tasks_own("Decoding seccomp profile failed: read: input/output error"));
}

TEST_CASE("an engine that can't start a container for what it was asked for says so, in many words") {
  // Of dockerd (20.10 to 29) and runc (1.0 to 1.4), by the option that they are about.
  const std::map<std::string, std::vector<std::string>> by_option{
    {"devices",
     {"error gathering device information while adding custom device \"/dev/nope\": no such file or directory",
      "error gathering device information while adding custom device \"/etc\": not a device node",
      "error gathering device information while adding custom device \"/dev/x\": permission denied",
      "invalid device cgroup rule format: 'z'", "could not select device driver \"nvidia\" with capabilities: [[gpu]]",
      "CDI device injection failed: unresolvable CDI devices vendor.com/class=0"}},
    {"ipc",
     {"failed to join IPC namespace: No such container: nope", "cannot join IPC of a non running container: abc",
      "failed to join IPC namespace: container abc is not running",
      "container abc: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"}},
    {"pid",
     {"failed to join PID namespace: container abc is not running", "cannot join PID of a non running container: abc",
      "invalid PID mode: nope"}},
    {"uts", {"invalid UTS mode: nope", "unable to set hostname without a private UTS namespace"}},
    {"sysctls",
     {"sysctl \"vm.swappiness\" is not in a separate kernel namespace",
      "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
      "unable to start container process: error during container init: open /proc/sys/net/x: no such file or "
      "directory"}},
    {"ulimits",
     {"error setting rlimits for ready process: error setting rlimit type 7: operation not permitted",
      "unable to start container process: error during container init: error setting rlimit type 14: invalid "
      "argument"}},
    {"security_opt",
     {"Decoding seccomp profile failed: invalid character 'b' looking for beginning of value",
      "seccomp is not enabled in your kernel, cannot run a custom seccomp profile",
      "selinux label is specified in config, but selinux is disabled or not supported",
      "unable to start container process: error during container init: unable to init seccomp: error loading seccomp "
      "filter into kernel: invalid argument",
      "unable to start container process: error during container init: unable to apply apparmor profile: apparmor "
      "failed to apply profile: write fsmount:fscontext:proc/self/attr/exec: no such file or directory"}},
    {"cgroup_parent",
     {"unable to start container process: unable to apply cgroup configuration: unable to start unit "
      "\"docker-abc.scope\": Invalid slice name \"x\""}},
    {"resources",
     {"unable to start container process: container init was OOM-killed (memory limit too low?)",
      "unable to start container process: container init was OOM-killed (memory limit too low?): can't copy bootstrap "
      "data to pipe: write init-p: broken pipe",
      "unable to start container process: error setting cgroup config for procHooks process: failed to write "
      "\"1000000\": write /sys/fs/cgroup/system.slice/docker-abc.scope/cpu.max: invalid argument"}},
    {"mounts",
     {"path /x is mounted on / but it is not a shared mount",
      "path /x is mounted on / but it is not a shared or slave "
      "mount",
      "error while creating mount source path '/proc/x': mkdir /proc/x: no such file or directory"}},
    {"user", {"unable to find user nobody2: no matching entries in passwd file"}},
  };
  const std::vector<std::pair<std::string, std::string>> around{
    {"", ""},
    {"OCI runtime create failed: runc create failed: ", ": unknown"},
    {"failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ",
     ": unknown"}};
  for (const auto& [option, texts] : by_option)
    for (const auto& text : texts)
      for (const auto& [before, after] : around) {
        INFO(option << ": " << before << text << after);
        CHECK(is_tasks_own(before + text + after));
        if (text.find("memory limit") != text.npos)
          continue;
        for (auto need : {"no space left on device", "input/output error", "too many open files",
                          "cannot allocate memory", "context deadline exceeded: timeout"})
          CHECK_FALSE(is_tasks_own(before + text + ": " + need + after));
      }
  // What an engine says of itself.
  for (std::string engines :
       {"AppArmor enabled on system but the docker-default profile could not be loaded: running apparmor_parser failed",
        "cannot join network of a non running container: davit-network-1",
        "failed to set up container networking: failed to create endpoint x on network bridge: adding interface "
        "veth1 to bridge docker0 failed: operation not permitted",
        "unable to start container process: unable to apply cgroup configuration: failed to write 7: write "
        "/sys/fs/cgroup/x/cgroup.procs: invalid argument",
        "unable to start container process: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: read-only "
        "file system",
        "error evaluating symlinks from mount source \"/var/lib/docker/x\": lstat /var/lib/docker/x: no such file or "
        "directory",
        "failed to create task for container: Unavailable: connection error: desc = \"transport: Error while dialing\"",
        "container abc is not running"})
    for (const auto& [before, after] : around) {
      INFO(before << engines << after);
      CHECK_FALSE(is_tasks_own(before + engines + after));
    }
}

TEST_CASE("a restart budget: a few, with growing waits, then no more") {
  restart_budget budget{3, 10s, 10ms, 1s};
  auto now = restart_budget::clock::now();
  CHECK(budget.spend(now) == 10ms);
  CHECK(budget.spend(now) == 40ms);
  CHECK(budget.spend(now) == 160ms);
  CHECK_FALSE(budget.spend(now));
  CHECK(budget.spend(now + 11s) == 10ms);
}
