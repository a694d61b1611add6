// Tasks in sandboxes that were made ahead: the same promises, and each sandbox is one task's alone.
#include "engine/suites.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>

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

std::size_t count_of(const std::string& lines) {
  return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n')) + (lines.empty() || lines.ends_with('\n') ? 0 : 1);
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
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  settings.sandbox_idle = 3s;
  test_agent agent{{settings}};
  auto first = agent.run(busybox("echo first; hostname"));
  CHECK(way(first) == "warm: made for it: none of its kind waited");
  std::set<std::string> hosts{agent.logs(first.id).out};
  for (int i = 0; i < 4; ++i) {
    REQUIRE(eventually([&] { return agent.metric(waiting) >= 1; }));
    auto next = agent.run(busybox("echo first; hostname; touch /mark; ls /mark*; exit 5"));
    CHECK(way(next) == "warm");
    CHECK(next.exit_code == 5);
    CHECK(next.attempts.size() == 1);
    CHECK(next.attempts.back().message.find("exit code 5") == 0);
    auto text = agent.logs(next.id).out;
    CHECK(text.ends_with("/mark\n"));
    CHECK(hosts.insert(text).second); // another container each time
  }
  // Another kind of task does not get it.
  auto other = busybox("id -u");
  other.user = "7";
  CHECK(way(agent.run(other)) == "warm: made for it: none of its kind waited");
  CHECK(eventually([&] { return agent.metric(waiting) == 0 && engine.docker("ps -aq").empty(); }));
}

TEST_CASE("a task in a sandbox finds what it would find in a container of its own", "[warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_agent agent{{settings}};
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
  auto spec = busybox("pwd; id; umask; echo $PATH $HOME $A; ulimit -n; cat /etc/hosts; grep -E '^(Cap|NoNewPrivs|Sig)' /proc/self/status; ls /proc/self/fd | wc -l; cat; ip addr 2>/dev/null | grep -c LOOPBACK,UP");
  spec.env = {{"A", "b c"}};
  spec.workdir = "/new/folder";
  spec.user = "12:34";
  spec.stdin_text = "from stdin\nwithout an end";
  spec.ulimits = {{"nofile", "321"}};
  both(spec);
  spec = busybox("cat; readlink /proc/self/fd/0; ping -c1 -W1 localhost >/dev/null && echo localhost; ps | wc -l >/dev/null");
  both(spec);
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
  engine.docker("image inspect busybox:test >/dev/null");
  shell("d=$(mktemp -d) && cp /bin/busybox $d/echo && tar -C $d -c . | docker -H unix://" + engine.socket() + " import -c 'ENTRYPOINT [\"/echo\",\"bare\"]' - bare:test >/dev/null && rm -rf $d");
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
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
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  auto image = [&](const std::string& mark) {
    shell("d=$(mktemp -d) && mkdir $d/bin && cp /bin/busybox $d/bin/sh && echo " + mark + " > $d/mark && tar -C $d -c . | docker -H unix://" + engine.socket() + " import - moving:test >/dev/null && rm -rf $d");
  };
  image("old");
  auto spec = busybox("read x < /mark; echo $x");
  spec.image = "moving:test";
  agent.run(spec);
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  image("new");
  auto ended = agent.run(spec);
  CHECK(agent.logs(ended.id).out == "new\n");
  CHECK(way(ended) == "cold: the image's name stands for another image by now");
  REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
  auto again = agent.run(spec);
  CHECK(way(again) == "warm");
  CHECK(agent.logs(again.id).out == "new\n");
}

TEST_CASE("sandboxes that somebody stops, kills or removes cost no task anything", "[warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  agent.run(busybox("true"));
  for (std::string act : {"stop", "kill", "rm -f", "pause"}) {
    INFO(act);
    REQUIRE(eventually([&] { return agent.metric(waiting) == 1; }));
    engine.docker(act + " $(docker -H unix://" + engine.socket() + " ps -q --filter label=davit.sandbox)");
    auto spec = busybox("echo ran");
    if (act == "pause")
      spec.timeout = 20s;
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << way(ended));
    if (act == "pause") { // a container that is frozen runs nothing, until somebody thaws it or its time is over
      CHECK(ended.outcome == outcome::timed_out);
    } else {
      CHECK(ended.outcome == outcome::succeeded);
      CHECK(agent.logs(ended.id).out == "ran\n");
      CHECK(ended.attempts.size() == 1);
    }
  }
  // Even the volume of their init may be pruned.
  engine.docker("ps -aq | xargs -r docker -H unix://" + engine.socket() + " rm -f || true"); // the agent removes some itself
  engine.docker("volume prune -f || true");
  engine.docker("volume ls -q | xargs -r docker -H unix://" + engine.socket() + " volume rm");
  agent.run(busybox("true"));
  CHECK(eventually([&] { return way(agent.run(busybox("true"))).starts_with("warm"); }));
}

TEST_CASE("a timeout and a cancel reach a task in a sandbox, kindly first", "[warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
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

TEST_CASE("an agent that starts again takes its tasks in sandboxes up again, and leaves no sandbox of its former life", "[warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_daemon agent{{settings}};
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
  CHECK(eventually([&] {
    std::istringstream old{before};
    auto now = engine.docker("ps -aq");
    for (std::string one; old >> one;)
      if (now.find(one) != std::string::npos)
        return false;
    return true;
  }));
}

TEST_CASE("an agent that drains gives its sandboxes up", "[warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_daemon agent{{settings}};
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
  auto settings = engine.settings(6);
  settings.sandboxes = 3;
  test_agent agent{{settings}};
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
