// Tasks in sandboxes that were made ahead: the same promises, and each sandbox is one task's alone.
#include "engine/suites.hpp"
#include "fixture/engine_events.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"

#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <set>
#include <sstream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

const std::string waiting = "davit_sandboxes{engine=\"a\"}";
const std::string warm_starts = "davit_attempt_starts_total{start=\"warm\"}";

task_spec warm(std::string script) {
  auto spec = busybox(std::move(script));
  spec.start = start_mode::warm;
  return spec;
}

const std::string& way(const task& ended) {
  return ended.attempts.back().evidence.start;
}

engine_settings with_sandboxes(const any_engine& engine, std::uint32_t sandboxes, std::uint32_t slots = 4) {
  auto settings = engine.settings(slots);
  settings.sandboxes = sandboxes;
  return settings;
}

/// Makes an image of one program, busybox under this name, and a file /mark.
void make_image(const test_engine& engine, const std::string& name, const std::string& program, const std::string& mark,
                const std::string& change = "CMD [\"x\"]") {
  shell("d=$(mktemp -d) && mkdir -p $d/bin && cp /bin/busybox $d/bin/" + program + " && echo " + mark
        + " > $d/mark && tar -C $d -c . | docker -H unix://" + engine.socket() + " import -c '" + change + "' - " + name
        + " >/dev/null && rm -rf $d");
}

/// None of these containers is there any more.
bool all_gone(const test_engine& engine, const std::string& ids) {
  std::istringstream list{ids};
  auto there = engine.docker("ps -aq");
  for (std::string one; list >> one;)
    if (there.find(one) != std::string::npos)
      return false;
  return true;
}

std::size_t count_of(const std::string& lines) {
  return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'))
       + (lines.empty() || lines.ends_with('\n') ? 0 : 1);
}

} // namespace

TEST_CASE("in a sandbox, each way to end has its own outcome, message and exit code", "[outcomes][warm]") {
  static const test_engine engine{"a"};
  check_outcomes(warm_engine{engine});
}

TEST_CASE("in a sandbox, every byte that a task prints is kept", "[output][warm]") {
  static const test_engine engine{"a"};
  check_output(warm_engine{engine});
}

TEST_CASE("a sandbox is made for what came before, used by one task alone, and goes when nobody wants it", "[warm]") {
  test_engine engine{"a"};
  auto settings = with_sandboxes(engine, 2);
  settings.sandbox_idle = 3s;
  test_agent agent{{settings}};
  auto first = agent.run(busybox("echo first; hostname"));
  CHECK(way(first) == "warm: made for it: none of its kind waited");
  std::set<std::string> hosts{agent.logs(first.id).out};
  int by_init = 0; // ended by the init's word, while the engine still took the container down
  for (int i = 0; i < 4 || (by_init == 0 && i < 40); ++i) {
    REQUIRE(eventually([&] { return agent.metric(waiting) >= 1; }));
    auto next = agent.run(busybox("echo first; hostname; touch /mark; ls /mark*; exit 5"));
    CHECK(way(next) == "warm");
    CHECK(next.exit_code == 5);
    CHECK(next.attempts.size() == 1);
    CHECK(next.attempts.back().message.find("exit code 5") == 0);
    // On a busy machine the engine's word may come first; it says the same then, and nothing is to be noted.
    const auto& note = next.attempts.back().evidence.note;
    INFO(note);
    auto early = note.starts_with("reported by the container's init: exit code 5");
    CHECK((early || note.empty()));
    by_init += early ? 1 : 0;
    auto text = agent.logs(next.id).out;
    CHECK(text.ends_with("/mark\n"));
    CHECK(hosts.insert(text).second); // another container each time
  }
  CHECK(by_init > 0);
  // Another kind of task does not get it.
  auto other = busybox("id -u");
  other.user = "7";
  CHECK(way(agent.run(other)) == "warm: made for it: none of its kind waited");
  CHECK(eventually([&] { return agent.metric(waiting) == 0 && engine.docker("ps -aq").empty(); }));
}

TEST_CASE("a task in a sandbox finds what it would find in a container of its own", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 2)}};
  auto both = [&](task_spec spec) {
    spec.start = start_mode::cold;
    auto cold = agent.run(spec);
    spec.start = start_mode::warm;
    auto ended = agent.run(spec);
    INFO(cold.message << " | " << ended.message);
    CHECK(way(ended).starts_with("warm"));
    CHECK(cold.outcome == ended.outcome);
    CHECK(cold.exit_code == ended.exit_code);
    auto one = agent.logs(cold.id), two = agent.logs(ended.id);
    CHECK(one.out == two.out);
    CHECK(one.err == two.err);
    return ended;
  };
  auto spec = busybox("pwd; id; umask; echo $PATH $HOME $A; ulimit -n; cat /etc/hosts; grep -E '^(Cap|NoNewPrivs|Sig)' "
                      "/proc/self/status; ls /proc/self/fd | wc -l; cat; ip addr 2>/dev/null | grep -c LOOPBACK,UP");
  spec.env = {{"A", "b c"}};
  spec.workdir = "/new/folder";
  spec.user = "12:34";
  spec.stdin_text = "from stdin\nwithout an end";
  spec.ulimits = {{"nofile", "321"}};
  both(spec);
  // The network `none`, which the engine does not make here: as it makes it itself (for a root that is read-only) all
  // the same.
  spec = busybox(
    "cat; readlink /proc/self/fd/0; grep -c . /etc/hosts; grep localhost /etc/hosts; nc -w1 localhost 1 2>&1 "
    "| grep -q refused && echo reached; nc -w1 127.0.0.7 1 2>&1 | grep -q refused && echo reached; ls /sys/class/net");
  auto made_by_davit = agent.logs(both(spec).id).out;
  spec.read_only = true;
  CHECK(agent.logs(both(spec).id).out == made_by_davit);
  CHECK(made_by_davit.find("127.0.0.1\tlocalhost\n") != std::string::npos);
  CHECK(made_by_davit.ends_with("reached\nreached\nlo\n"));
  spec = busybox(std::vector<std::string>{"sleep", "0"});
  spec.entrypoint = std::vector<std::string>{"/bin/echo", "-n"};
  both(spec);
  spec = busybox(std::vector<std::string>{"no-such-program"});
  CHECK(both(spec).exit_code == 127);
  spec = busybox(std::vector<std::string>{"/etc"});
  CHECK(both(spec).exit_code == 126);
  spec = busybox("echo $TOKEN; echo key=$TOKEN | base64");
  spec.secrets["TOKEN"] = {"swordfish-swordfish", false};
  both(spec);
  spec = busybox(std::vector<std::string>{"head", "-c", "3000000", "/dev/zero"});
  both(spec);
  spec = busybox("echo out; (sleep 0.3; echo never) & exit 4"); // what a task leaves running ends with it
  both(spec);
  // A large input, through a small pipe.
  spec = busybox("sleep 0.2; wc -c; md5sum /dev/null");
  spec.stdin_text = std::string(3'000'000, 'x');
  both(spec);
}

TEST_CASE("an image with nothing but one static program runs in a sandbox", "[warm]") {
  test_engine engine{"a"};
  make_image(engine, "bare:test", "echo", "x", R"(ENTRYPOINT ["/bin/echo","bare"])");
  test_agent agent{{with_sandboxes(engine, 1)}};
  task_spec spec;
  spec.image = "bare:test";
  spec.command = {"image"};
  spec.start = start_mode::warm;
  auto ended = agent.run(spec);
  CHECK(way(ended).starts_with("warm"));
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(agent.logs(ended.id).out == "bare image\n");
}

TEST_CASE("what a name stands for counts when the task runs, not when the sandbox was made", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 1)}};
  auto image = [&](const std::string& mark) { make_image(engine, "moving:test", "sh", mark); };
  image("old");
  auto spec = busybox("read x < /mark; echo $x");
  spec.image = "moving:test";
  agent.run(spec);
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  image("new");
  auto ended = agent.run(spec);
  CHECK(agent.logs(ended.id).out == "new\n");
  CHECK(way(ended) == "cold: the image's name now stands for another image");
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  auto again = agent.run(spec);
  CHECK(way(again) == "warm");
  CHECK(agent.logs(again.id).out == "new\n");
  // Those that are made for their tasks too, with what the image says of the command.
  spec.command = {"mark"};
  for (std::string mark : {"third", "fourth"}) {
    make_image(engine, "moving:test", "echo", mark, R"(ENTRYPOINT ["/bin/echo",")" + mark + R"("])");
    std::vector<task_id> tasks;
    for (int i = 0; i < 4; ++i)
      tasks.push_back(agent.submit(spec));
    for (auto id : tasks) {
      auto one = agent.wait(id);
      INFO(way(one));
      CHECK(agent.logs(id).out == mark + " mark\n");
    }
  }
}

TEST_CASE("sandboxes that somebody stops, kills, removes, restarts or freezes cost no task anything", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 1)}};
  agent.run(busybox("true"));
  for (std::string act : {"stop", "kill", "rm -f", "restart -t 0", "pause", "kill -s STOP"}) {
    INFO(act);
    REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
    engine.docker(act + " $(docker -H unix://" + engine.socket() + " ps -q --filter label=davit.sandbox)");
    auto ended = agent.run(busybox("echo ran"));
    INFO(ended.message << ' ' << way(ended));
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(ended.id).out == "ran\n");
    CHECK(ended.attempts.size() == 1);
  }
  // Even the volume of their init may be pruned.
  engine.docker("ps -aq | xargs -r docker -H unix://" + engine.socket()
                + " rm -f || true"); // the agent removes some itself
  engine.docker("volume prune -f || true");
  engine.docker("volume ls -q | xargs -r docker -H unix://" + engine.socket() + " volume rm");
  agent.run(busybox("true"));
  CHECK(eventually([&] { return way(agent.run(busybox("true"))).starts_with("warm"); }));
}

TEST_CASE("a timeout and a cancel reach a task in a sandbox, kindly first", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 1)}};
  auto spec = warm("trap 'echo terminated; exit 7' TERM; echo up; while true; do sleep 0.1; done");
  spec.stop_timeout = 20s;
  auto id = agent.submit(spec);
  REQUIRE(eventually([&] { return agent.logs(id).out == "up\n"; }));
  agent.cancel(id);
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(ended.exit_code == 7);
  CHECK(agent.logs(id).out == "up\nterminated\n");
  CHECK(way(ended).starts_with("warm"));
}

TEST_CASE("an agent that starts again takes its tasks in sandboxes up again, and leaves no sandbox of its former life",
          "[warm]") {
  test_engine engine{"a"};
  test_daemon agent{{with_sandboxes(engine, 2)}};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  agent.wait(agent.submit(warm("true")));
  auto id = agent.submit(warm("for i in $(seq 40); do echo line $i; sleep 0.1; done; printf end; exit 7"));
  REQUIRE(eventually([&] { return agent.logs(id).out.find("line 5\n") != std::string::npos; }));
  REQUIRE(eventually([&] { return agent.metric(waiting) >= 1; }));
  auto before = engine.docker("ps -q --filter label=davit.sandbox --filter name=davit-sandbox");
  agent.kill();
  agent.start();
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  CHECK(way(ended).starts_with("warm"));
  std::string expected;
  for (int i = 1; i <= 40; ++i)
    expected += "line " + std::to_string(i) + "\n";
  auto output = agent.logs(id);
  CHECK(output.out == expected + "end");
  CHECK(output.notes == "");
  CHECK(eventually([&] { return all_gone(engine, before); }));
}

TEST_CASE("an agent that drains gives its sandboxes up", "[warm]") {
  test_engine engine{"a"};
  test_daemon agent{{with_sandboxes(engine, 2)}};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  agent.wait(agent.submit(busybox("true")));
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -aq") == "");
}

TEST_CASE("many tasks at once, with few sandboxes: each runs once", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 3, 6)}};
  std::vector<task_id> tasks;
  for (int i = 0; i < 30; ++i)
    tasks.push_back(agent.submit(busybox("echo task " + std::to_string(i) + "; exit " + std::to_string(i))));
  std::size_t warm = 0;
  for (int i = 0; i < 30; ++i) {
    auto ended = agent.wait(tasks[static_cast<std::size_t>(i)], 180s);
    INFO(ended.message);
    CHECK(ended.exit_code == i);
    CHECK(ended.attempts.size() == 1);
    CHECK(agent.logs(ended.id).out == "task " + std::to_string(i) + "\n");
    warm += way(ended).starts_with("warm");
  }
  CHECK(warm == static_cast<std::size_t>(agent.metric(warm_starts)));
  CHECK(warm > 0);
  CHECK(count_of(engine.docker("ps -aq --filter label=davit.sandbox --filter name=davit-sandbox")) <= 3);
}

TEST_CASE("a sandbox keeper that fails is started again; tasks go on, and what it kept is removed", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 2)}};
  agent.run(busybox("true"));
  REQUIRE(eventually([&] { return agent.metric(waiting) >= 1; }));
  auto kept = engine.docker("ps -q --filter name=davit-sandbox");
  auto running = agent.submit(warm("for i in $(seq 20); do echo $i; sleep 0.1; done; exit 6"));
  agent.await_state(running, task_state::running);
  for (int i = 0; i < 3; ++i) {
    auto keeper = agent.process().addresses().sandboxes.at("a");
    caf::anon_send_exit(keeper, caf::exit_reason::kill);
    CHECK(agent.run(busybox("exit 5")).exit_code == 5);
    REQUIRE(eventually([&] { return agent.process().addresses().sandboxes.at("a") != keeper; }));
  }
  auto ended = agent.wait(running);
  CHECK(ended.exit_code == 6);
  CHECK(ended.attempts.size() == 1);
  CHECK(way(agent.run(busybox("exit 5"))).starts_with("warm"));
  CHECK(eventually([&] { return all_gone(engine, kept); }));
}

TEST_CASE("tasks that come together on a new engine all find the init, which is put there once", "[warm]") {
  for (int round = 0; round < 3; ++round) {
    test_engine engine{"a"};
    engine_events happened{engine};
    test_agent agent{{with_sandboxes(engine, 4, 8)}};
    std::vector<task_id> tasks;
    for (int i = 0; i < 8; ++i) {
      auto spec = warm("exit " + std::to_string(40 + i));
      spec.resources.memory = byte_size{static_cast<std::uint64_t>(64 + i) << 20}; // each is of a kind of its own
      tasks.push_back(agent.submit(spec));
    }
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      auto ended = agent.wait(tasks[i]);
      INFO(way(ended));
      CHECK(ended.exit_code == static_cast<std::int64_t>(40 + i));
      CHECK(way(ended).starts_with("warm"));
    }
    CHECK(happened.count("create", "sandbox=init") == 1);
    // The engine takes them down by itself, and is not made to kill what ends anyhow.
    for (auto id : tasks) {
      auto name = "davit-" + to_string(id) + "-1";
      CHECK(eventually([&] { return engine.docker("ps -aq --filter name=" + name).empty(); }));
      CHECK(happened.count("start", "task=" + to_string(id)) + happened.count("rename", name) > 0);
      CHECK(happened.count("kill", name) == 0);
    }
  }
}

TEST_CASE("a sandbox that ends by itself never ends as its task", "[warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, 1)}};
  CHECK(agent.run(warm("exit 3")).exit_code == 3);
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  auto folder = engine.docker("volume inspect -f '{{.Mountpoint}}' $(docker -H unix://" + engine.socket()
                              + " volume ls -q | grep davit-init)");
  folder = folder.substr(0, folder.find('\n'));
  /// Another program in place of the init; the one that runs keeps its own.
  auto replace = [&](const std::string& source) {
    shell("cd " + folder + " && echo '" + source + "' | gcc -static -O1 -o new -x c - && mv -f new init");
  };
  auto spec = busybox("echo out; exit 7");
  SECTION("soon, whether or not it was given by then: it is told why there is none, and the next one is mended") {
    auto milliseconds = GENERATE(0, 5, 20, 300);
    INFO(milliseconds << " ms");
    replace("#include <stdio.h>\n#include <unistd.h>\nint main(void) { perror(\"exec\"); usleep("
            + std::to_string(1000 * milliseconds) + "); return 1; }");
    spec.resources.memory = byte_size{77u << 20}; // of another kind
    auto id = agent.submit(spec);
    auto ended = agent.wait(id);
    INFO(way(ended));
    CHECK(ended.exit_code == 7);
    CHECK(way(ended).starts_with("cold: "));
    CHECK(way(ended).find("ended") != std::string::npos);
    CHECK(agent.logs(id).out == "out\n");
    CHECK(agent.logs(id).err == "");
    CHECK(agent.logs(id).notes == "");
    CHECK(eventually([&] {
      auto again = agent.run(spec);
      CHECK(again.exit_code == 7);
      return way(again).starts_with("warm");
    }));
  }
  SECTION(
    "nor does one in a container that was made for it: its init is mended, and the task runs in the same attempt") {
    spec.start = start_mode::cold;
    replace("int main(void) { return 1; }");
    auto mended = agent.run(spec);
    INFO(mended.message << ' ' << way(mended));
    CHECK(mended.exit_code == 7);
    CHECK(mended.attempts.size() == 1);
    CHECK(way(mended) == "cold: the task asks for it");
    CHECK(agent.logs(mended.id).out == "out\n");
    CHECK(agent.logs(mended.id).err == "");
    replace("int main(void) { return 1; }"); // and again, as often as it is mended
    auto stranger = std::make_unique<process>(std::vector<std::string>{
      "/bin/sh", "-c", "cd " + folder + " && cp init bad && while :; do cp bad next && mv -f next init; done"});
    for (int i = 0; i < 3; ++i) {
      auto ended = agent.run(spec);
      INFO(ended.message << ' ' << way(ended));
      CHECK(ended.exit_code == 7);
      CHECK(ended.attempts.size() == 1);
      CHECK(agent.logs(ended.id).out == "out\n");
    }
  }
  SECTION("killed while it waits, and given before that is known") {
    for (int round = 0; round < 5; ++round) {
      REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
      auto pid = engine.docker("inspect -f '{{.State.Pid}}' $(docker -H unix://" + engine.socket()
                               + " ps -q --filter name=davit-sandbox)");
      ::kill(std::stoi(pid), SIGKILL); // the engine hears of it some milliseconds later
      auto id = agent.submit(spec);
      auto ended = agent.wait(id);
      INFO(way(ended));
      CHECK(ended.exit_code == 7);
      CHECK(ended.attempts.size() == 1);
      CHECK(agent.logs(id).out == "out\n");
      CHECK(agent.logs(id).notes == "");
    }
  }
  SECTION("while the engine is away, and before it is the task's") {
    replace("#include <unistd.h>\nint main(void) { sleep(2); return 1; }");
    CHECK(agent.run(warm("exit 4")).exit_code == 4); // takes the one that waited
    REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
    engine.freeze();
    auto id = agent.submit(spec);
    std::this_thread::sleep_for(3s);
    engine.thaw();
    auto ended = agent.wait(id);
    INFO(way(ended));
    CHECK(ended.exit_code == 7);
    CHECK(agent.logs(id).notes == "");
  }
}
