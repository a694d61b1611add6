// Which tasks a sandbox will do for, and how many are kept.
#include "actors/container_plan.hpp"
#include "actors/sandbox_demand.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"

#include <catch2/catch_test_macros.hpp>

#include <initializer_list>
#include <set>

using namespace davit;
using namespace std::chrono_literals;

namespace {

container_plan plan_of(const task_spec& spec) {
  agent_settings settings;
  settings.name = "a";
  return plan_container(settings, {uuid::make_v7(), 1}, spec, "o", {});
}

} // namespace

TEST_CASE("two tasks are of a kind if they differ in nothing that is fixed when a container is made") {
  task_spec base;
  base.image = "alpine";
  base.command = {"true"};
  auto kind = sandbox_kind(plan_of(base));
  auto other = base;
  other.command = {"false", "x"};
  other.entrypoint = std::vector<std::string>{"sh"};
  other.env = {{"A", "b"}};
  other.labels = {{"x", "y"}};
  other.stdin_text = "z";
  other.name = "n";
  CHECK(sandbox_kind(plan_of(other)) == kind);
  std::vector<std::function<void(task_spec&)>> differences{
    [](task_spec& s) { s.image = "debian"; },
    [](task_spec& s) { s.user = "1000"; },
    [](task_spec& s) { s.workdir = "/x"; },
    [](task_spec& s) { s.resources.memory = byte_size{1 << 20}; },
    [](task_spec& s) { s.resources.cpus = 2; },
    [](task_spec& s) { s.resources.pids = 9; },
    [](task_spec& s) { s.network = "bridge"; },
    [](task_spec& s) {
      s.mounts.push_back({mount_type::tmpfs, "", "/x", false, {}});
    },
    [](task_spec& s) { s.read_only = true; },
    [](task_spec& s) { s.cap_add = {"NET_ADMIN"}; },
    [](task_spec& s) { s.cap_drop = {"ALL"}; },
    [](task_spec& s) { s.privileged = true; },
    [](task_spec& s) { s.security_opt = {"seccomp=unconfined"}; },
    [](task_spec& s) {
      s.ulimits = {{"nofile", "10"}};
    },
    [](task_spec& s) { s.hostname = "h"; },
    [](task_spec& s) { s.group_add = {"7"}; },
    [](task_spec& s) {
      s.sysctls = {{"net.x", "1"}};
    },
    [](task_spec& s) { s.devices = {"/dev/fuse"}; },
    [](task_spec& s) { s.runtime = "runsc"; },
    [](task_spec& s) { s.ipc = "host"; },
    [](task_spec& s) { s.userns_mode = "host"; },
    [](task_spec& s) { s.cgroup_parent = "/x"; },
    [](task_spec& s) { s.extra_hosts = {"a:1.2.3.4"}; },
    [](task_spec& s) { s.dns = {"1.1.1.1"}; },
    [](task_spec& s) { s.stop_timeout = 99s; },
  };
  for (std::size_t i = 0; i < differences.size(); ++i) {
    INFO(i);
    auto changed = base;
    differences[i](changed);
    CHECK(sandbox_kind(plan_of(changed)) != kind);
  }
}

TEST_CASE("a sandbox has nothing of the task it was made for, and what its init needs") {
  task_spec spec;
  spec.image = "alpine";
  spec.command = {"secret-command"};
  spec.env = {{"A", "secret-value"}};
  spec.labels = {{"x", "secret-label"}};
  spec.resources.pids = 5;
  agent_settings settings;
  settings.name = "a";
  settings.fleet = "f";
  auto of_task = plan_container(settings, {uuid::make_v7(), 1}, spec, "o", {{"TOKEN", {"secret-token", false}}});
  CHECK(sandbox_kind(of_task).find("secret-") == std::string::npos);
  auto nonce = init::nonce_of(uuid::make_v4());
  auto plan = sandbox_plan(settings, of_task, nonce);
  CHECK(plan.name == "davit-sandbox-" + init::mark_of(nonce));
  CHECK(plan.env == std::map<std::string, std::string>{{init::nonce_variable, nonce}});
  CHECK(plan.no_healthcheck); // its program would have the variable
  for (const auto& word : plan.command)
    CHECK(word.find(init::mark_of(nonce)) == std::string::npos);
  CHECK_FALSE(key_of_name(plan.name));
  CHECK(key_of_name(of_task.name));
  CHECK(plan.labels
        == std::map<std::string, std::string>{{"davit.sandbox", nonce},
                                              {"davit.sandbox.words", "4"},
                                              {"davit.agent", "a"},
                                              {"davit.fleet", "f"},
                                              {"davit.owner", "o"}});
  CHECK(plan.resources.pids == 6);
  CHECK(plan.open_stdin);
  REQUIRE(plan.mounts.size() == 1);
  CHECK(plan.mounts[0].read_only);
  CHECK(plan.mounts[0].source == init::volume_name());
  CHECK(plan.mounts[0].target == init::folder_of(nonce));
  CHECK(plan.entrypoint == std::vector<std::string>{init::program_of(nonce)});
}

TEST_CASE("a container of the task's own has its init's nonce in no word of its command") {
  task_spec spec;
  spec.image = "alpine";
  spec.command = {"true"};
  auto nonce = init::nonce_of(uuid::make_v4());
  auto plan = with_init(plan_of(spec), {}, nonce);
  CHECK(plan.command == std::vector<std::string>{"run", "hosts", "true"});
  CHECK(plan.env.at(init::nonce_variable) == nonce);
  CHECK(plan.labels.at(init::nonce_label) == nonce);
  CHECK(plan.no_healthcheck);
}

TEST_CASE("who may trace or change an init is not believed for its word") {
  task_spec spec;
  CHECK_FALSE(reaches_init(spec));
  for (std::string name : {"SYS_PTRACE", "cap_sys_ptrace", "ALL", "SYS_ADMIN"}) {
    spec.cap_add = {"CHOWN", name};
    CHECK(reaches_init(spec));
  }
  spec.cap_add = {"NET_ADMIN", "KILL"};
  CHECK_FALSE(reaches_init(spec));
  spec.privileged = true;
  CHECK(reaches_init(spec));
}

TEST_CASE("what a sandbox can't keep the promises of is run cold, and says why") {
  engine_settings settings;
  engine_info engine;
  engine.architecture = init::architecture();
  task_spec fine;
  fine.image = "alpine";
  CHECK(why_cold(fine, settings, engine).empty());
  auto why = [&](auto change) {
    auto spec = fine;
    change(spec);
    return why_cold(spec, settings, engine);
  };
  CHECK(why([](task_spec& s) { s.start = start_mode::cold; }) == "the task asks for it");
  CHECK(why([](task_spec& s) { s.tty = true; }) == "it has a terminal");
  CHECK(why([](task_spec& s) { s.at_most_once = true; }).starts_with("it runs at most once"));
  CHECK(why([](task_spec& s) { s.pid = "host"; }).find("(pid)") != std::string::npos);
  CHECK(why([](task_spec& s) { s.env[init::nonce_variable] = "x"; }) == "it sets the variable .davit");
  auto none = settings;
  none.sandboxes = 0;
  CHECK(why_cold(fine, none, engine).find("sandboxes = 0") != std::string::npos);
  engine.architecture = "s390x";
  CHECK(why_cold(fine, settings, engine).find("s390x") != std::string::npos);
}

TEST_CASE("a network is made ahead for tasks that differ in nothing that concerns it, and what goes with it is asked "
          "of it alone") {
  task_spec spec;
  spec.image = "alpine";
  spec.network = "bridge";
  spec.hostname = "h";
  spec.dns = {"10.0.0.1"};
  spec.extra_hosts = {"db:10.0.0.2"};
  spec.resources.memory = byte_size{1 << 20};
  auto of_task = plan_of(spec);
  REQUIRE(can_join(of_task));
  auto network = network_plan(of_task);
  CHECK(network.hostname == "h");
  CHECK(network.dns == of_task.dns);
  CHECK(network.extra_hosts == of_task.extra_hosts);
  CHECK(network.cap_drop == std::vector<std::string>{"ALL"});
  auto inside = joined(of_task, "0123");
  CHECK(inside.network == "container:0123");
  CHECK(inside.hostname.empty()); // the engine would refuse them
  CHECK(inside.dns.empty());
  CHECK(inside.extra_hosts.empty());
  CHECK(inside.resources.memory == of_task.resources.memory);
  auto other = spec;
  other.resources.memory = byte_size{2 << 20};
  other.user = "7";
  other.mounts.push_back({mount_type::tmpfs, "", "/x", false, {}});
  CHECK(sandbox_kind(network_plan(plan_of(other))) == sandbox_kind(network));
  other.dns.clear();
  CHECK(sandbox_kind(network_plan(plan_of(other))) != sandbox_kind(network));
  for (auto change : std::initializer_list<void (*)(task_spec&)>{
         [](task_spec& s) { s.network = "none"; }, [](task_spec& s) { s.network = "host"; },
         [](task_spec& s) { s.network = "container:x"; },
         [](task_spec& s) {
           s.sysctls = {{"net.x", "1"}};
         },
         [](task_spec& s) { s.runtime = "runsc"; }, [](task_spec& s) { s.userns_mode = "host"; },
         [](task_spec& s) { s.uts = "host"; }}) {
    auto changed = spec;
    change(changed);
    CHECK_FALSE(can_join(plan_of(changed)));
  }
}

TEST_CASE("the image's words fill in as Docker has it") {
  image_info image;
  image.entrypoint = {"/entry"};
  image.command = {"default"};
  container_plan plan;
  using words = std::vector<std::string>;
  CHECK(arguments_of(plan, image) == words{"/entry", "default"});
  plan.command = {"x"};
  CHECK(arguments_of(plan, image) == words{"/entry", "x"});
  plan.entrypoint = words{"sh", "-c"};
  CHECK(arguments_of(plan, image) == words{"sh", "-c", "x"});
  plan.command.clear();
  CHECK(arguments_of(plan, image) == words{"sh", "-c"});
  plan.entrypoint = words{};
  CHECK(arguments_of(plan, image) == words{"default"});
  CHECK(arguments_of(container_plan{}, image_info{}).empty());
}

TEST_CASE("as many sandboxes are kept as came at once lately, and none that nobody has asked for") {
  sandbox_demand demand;
  auto now = std::chrono::steady_clock::time_point{} + 1h;
  CHECK(demand.wanted(now, 5min, 8) == 0);
  demand.ask(now);
  CHECK(demand.wanted(now, 5min, 8) == 1);
  for (int i = 0; i < 20; ++i)
    demand.ask(now + 1s);
  CHECK(demand.wanted(now + 2s, 5min, 8) == 8);
  CHECK(demand.wanted(now + 2s, 5min, 50) == 21);
  CHECK(demand.wanted(now + 10s, 5min, 50) == 20);
  CHECK(demand.wanted(now + 30s, 5min, 50) == 1);
  CHECK(demand.wanted(now + 301s, 5min, 50) == 0);
}

TEST_CASE("a container that is made for its task has an init, with all that it runs, unless it can't") {
  image_info image;
  image.entrypoint = {"/entry"};
  image.command = {"default"};
  task_spec spec;
  spec.image = "alpine";
  spec.network = "bridge";
  spec.env = {{"A", "b"}};
  spec.labels = {{"x", "y"}};
  spec.resources.pids = 5;
  using words = std::vector<std::string>;
  auto plan = with_init(plan_of(spec), image, "n1");
  CHECK(plan.entrypoint == words{init::program_of("n1")});
  CHECK(plan.command == words{"run", "plain", "/entry", "default"});
  CHECK(plan.labels.at("davit.init") == "n1");
  CHECK(plan.labels.at("x") == "y");
  CHECK(plan.env.at("A") == "b");
  CHECK(plan.resources.pids == 6);
  CHECK_FALSE(plan.open_stdin);
  REQUIRE(plan.mounts.size() == 1);
  CHECK(plan.mounts[0].target == init::folder_of("n1"));
  CHECK(plan.mounts[0].read_only);
  spec.tty = true;
  spec.command = {"-x", "run"};
  spec.resources.pids.reset();
  plan = with_init(plan_of(spec), image, "n2");
  CHECK(plan.command == words{"run", "terminal", "/entry", "-x", "run"});
  CHECK_FALSE(plan.resources.pids);

  engine_info engine;
  engine.architecture = std::string{init::architecture()};
  CHECK(why_no_init(spec, engine).empty());
  for (auto change : std::initializer_list<void (*)(task_spec&)>{[](task_spec& s) { s.init = false; },
                                                                 [](task_spec& s) { s.pid = "host"; },
                                                                 [](task_spec& s) { s.pid = "container:x"; }}) {
    auto changed = spec;
    change(changed);
    CHECK_FALSE(why_no_init(changed, engine).empty());
  }
  spec.mounts.push_back({mount_type::tmpfs, "", "/.davit", false, {}}); // the init is elsewhere
  CHECK(why_no_init(spec, engine).empty());
  spec.mounts.clear();
  spec.init = true;
  spec.pid = "private";
  CHECK(why_no_init(spec, engine).empty());
  engine.architecture = "riscv64";
  CHECK_FALSE(why_no_init(spec, engine).empty());
}

TEST_CASE("each init has a place of its own, that nobody knows who does not know its key") {
  std::set<std::string> all;
  for (int i = 0; i < 100; ++i) {
    auto nonce = init::nonce_of(uuid::make_v4());
    auto folder = init::folder_of(nonce);
    all.insert(folder);
    CHECK(folder == init::folder_of(nonce));
    CHECK(folder.size() == std::string{"/.davit-"}.size() + init::seal_digits);
    CHECK(folder.find('/', 1) == std::string::npos); // no mount of a task comes before it, but in the root
    auto another_mark = nonce;
    another_mark[0] = another_mark[0] == '0' ? '1' : '0';
    CHECK(folder == init::folder_of(another_mark)); // the mark, which is public, tells nothing of it
    CHECK(folder.find(init::mark_of(nonce)) == std::string::npos);
    CHECK(folder.find(nonce.substr(init::mark_digits)) == std::string::npos);
  }
  CHECK(all.size() == 100);
}

TEST_CASE("what others can reach, and is mounted in the root, is looked at before") {
  task_spec spec;
  spec.image = "alpine";
  using words = std::vector<std::string>;
  auto targets = [&](std::initializer_list<mount> mounts) {
    spec.mounts = mounts;
    auto plan = plan_of(spec);
    CHECK(targets_in_root(plan).empty()); // without an init
    agent_settings settings;
    auto of_sandbox = targets_in_root(sandbox_plan(settings, plan, "n"));
    CHECK(of_sandbox == targets_in_root(with_init(plan, {}, "n")));
    return of_sandbox;
  };
  CHECK(targets({}).empty());
  CHECK(targets({{mount_type::volume, "v", "/data", false, {}}}) == words{"/data"});
  CHECK(targets({{mount_type::bind, "/x", "/data", true, {}}}) == words{"/data"});
  CHECK(targets({{mount_type::tmpfs, "", "/data", false, {}}}).empty());
  CHECK(targets({{mount_type::volume, "v", "/data/more", false, {}}}).empty());
  CHECK(targets({{mount_type::volume, "v", "//data/", false, {}}, {mount_type::volume, "w", "/a/../b", false, {}}})
        == words{"/data", "/b"});
  CHECK(targets({{mount_type::volume, "v", "/../data/.", false, {}}}) == words{"/data"});
}

TEST_CASE("what the kernel may find too long counts all that a program is started with") {
  container_plan plan;
  plan.command = {std::string(60'000, 'x')};
  CHECK_FALSE(may_be_too_long(plan));
  plan.env["A"] = std::string(30'000, 'x');
  CHECK_FALSE(may_be_too_long(plan));
  plan.secrets["B"].value = std::string(20'000, 'x');
  CHECK(may_be_too_long(plan));
}
