// `davit run` and its like, as a user meets them, on a real engine: with an agent and without.
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include "json/read.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdlib>
#include <random>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// Runs the binary against an engine, with the state of its own embedded agents.
struct shell_user {
  const test_engine& engine;
  scratch_folder home;
  std::vector<std::string> more;

  std::vector<std::string> environment() const {
    auto all = more;
    all.push_back("XDG_STATE_HOME=" + home.path().string());
    all.push_back("DOCKER_HOST=unix://" + engine.socket());
    return all;
  }
  std::vector<std::string> words(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), DAVIT_BINARY);
    return arguments;
  }
  process_result davit(std::vector<std::string> arguments, std::string input = {}) const {
    return run_process(words(std::move(arguments)), std::move(input), environment());
  }
  std::unique_ptr<process> start(std::vector<std::string> arguments) const {
    return std::make_unique<process>(words(std::move(arguments)), "", environment());
  }
};

std::vector<std::string> run(std::vector<std::string> flags, std::string script) {
  std::vector<std::string> all{"run", "--network", "none", "--stop-timeout", "1s"};
  all.insert(all.end(), flags.begin(), flags.end());
  for (const auto& word : std::vector<std::string>{"busybox:test", "--", "sh", "-c", std::move(script)})
    all.push_back(word);
  return all;
}

void check_commands(const shell_user& user) {
  SECTION("the container's bytes and code, and nothing else on stdout") {
    auto result = user.davit(run({}, "echo out; echo err >&2; exit 42"));
    CHECK(result.exit_code == 42);
    CHECK(result.out == "out\n");
    CHECK(result.err == "err\n");
  }
  SECTION("flags reach the container") {
    auto result
      = user.davit(run({"-e", "A=1", "-e", "B=two words", "-w", "/tmp", "-u", "1000", "--memory", "64m", "-l", "x=y"},
                       "echo $A $B; pwd; id -u"));
    CHECK(result.out == "1 two words\n/tmp\n1000\n");
  }
  SECTION("files come in, and what they become comes out, also while another run is under way") {
    scratch_folder folder;
    shell("mkdir " + (folder / "in") + " && echo in > " + (folder / "in/f"));
    auto beside = user.start(run({"--input", folder / "in"}, "cat f; sleep 3"));
    CHECK(beside->await_out("in\n"));
    auto result = user.davit(
      run({"--input", folder / "in", "--output", "o=/workspace/out,required", "--output-dir", folder / "out"},
          "mkdir out; tr i o < f > out/g"));
    INFO(result.err);
    CHECK(result.exit_code == 0);
    CHECK(shell("cat " + (folder / "out/o/g")) == "on\n");
    CHECK(beside->wait().exit_code == 0);
  }
  SECTION("output that nobody reads, or that can't be written, ends the command and is told") {
    auto shell = [&](const std::string& line) {
      return run_process({"/bin/bash", "-c", line}, "", user.environment());
    };
    auto davit = std::string{DAVIT_BINARY} + " run --network none --stop-timeout 1s ";
    auto head = shell(davit + "busybox:test -- yes | head -2; echo ${PIPESTATUS[0]}");
    CHECK(head.out == "y\ny\n130\n");
    auto full = shell(davit + "busybox:test -- echo hi > /dev/full");
    CHECK(full.exit_code == 125);
    CHECK(full.err.find("No space left on device") != std::string::npos);
    CHECK(shell(davit + "busybox:test -- sh -c 'echo hi; exit 3' > /dev/full").exit_code == 3);
    auto endless = shell("yes | " + davit + "-i busybox:test -- cat");
    CHECK(endless.exit_code == 125);
    CHECK(endless.err.find("the maximum") != std::string::npos);
    CHECK(shell(davit + "--env-file /dev/zero busybox:test -- true").exit_code == 125);
    CHECK(shell(std::string{DAVIT_BINARY} + " version > /dev/full").exit_code == 125);
    CHECK(shell(std::string{DAVIT_BINARY} + " check-config --defaults | true; echo ${PIPESTATUS[0]}").out == "141\n");
  }
  SECTION("the command has an init, unless it is asked for as the first process") {
    CHECK(user.davit(run({}, "[ $$ != 1 ] && echo child")).out == "child\n");
    CHECK(user.davit(run({"--init"}, "[ $$ != 1 ] && echo child")).out == "child\n");
    CHECK(user.davit(run({"--init=false"}, "echo $$")).out == "1\n");
    CHECK(user.davit(run({}, "kill -9 $$; echo alive")).exit_code == 137);
    CHECK(user.davit(run({"--start", "warm"}, "exit 6")).exit_code == 6);
  }
  SECTION("an output that is closed from the beginning is told, and nothing of it gets anywhere else") {
    for (auto closed : {">&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
      INFO(closed);
      std::string words;
      for (const auto& word : user.words(run({}, "echo MARKER; exit 4")))
        words += "'" + word + "' ";
      auto result = run_process({"/bin/sh", "-c", words + closed}, "", user.environment());
      CHECK(result.exit_code == 4);
      CHECK(result.err.empty() == (std::string_view{closed}.find("2>") != std::string_view::npos));
      CHECK(
        shell("find " + user.home.path().string() + " -name '*.lock' -o -name '*.alive' | xargs -r cat").find("MARKER")
        == std::string::npos);
      CHECK(run_process({"/bin/sh", "-c", words + closed + " || true; '" DAVIT_BINARY "' version >&-"}, "",
                        user.environment())
              .exit_code
            == 125);
    }
  }
  SECTION("an entrypoint of nothing hides the image's") {
    shell("printf 'FROM busybox:test\\nENTRYPOINT [\"echo\",\"ENTRY\"]\\n' | DOCKER_BUILDKIT=0 docker -H unix://"
          + user.engine.socket() + " build -q -t entry:test - 2>/dev/null");
    CHECK(user.davit({"run", "--network", "none", "entry:test", "echo", "x"}).out == "ENTRY echo x\n");
    for (auto init : {"--init", "--init=false"})
      CHECK(user.davit({"run", "--network", "none", init, "--entrypoint", "", "entry:test", "echo", "x"}).out == "x\n");
  }
  SECTION("a terminal that is given input sees its end") {
    for (auto input : {"abc\n", "abc", ""}) {
      auto result = run_process(
        {"/usr/bin/timeout", "60", DAVIT_BINARY, "run", "--network", "none", "-it", "busybox:test", "cat"}, input,
        user.environment());
      CHECK(result.exit_code == 0);
      CHECK((result.out.find("abc") != std::string::npos) == (*input != 0));
    }
  }
  SECTION("an entrypoint of nothing is none, however it is written") {
    for (std::vector<std::string> form :
         {std::vector<std::string>{"--entrypoint", ""}, std::vector<std::string>{"--entrypoint="}}) {
      std::vector<std::string> words{"run", "--network", "none"};
      words.insert(words.end(), form.begin(), form.end());
      for (auto word : {"busybox:test", "echo", "--x=", "-e="})
        words.emplace_back(word);
      CHECK(user.davit(words).out == "--x= -e=\n");
    }
  }
  SECTION("a hang-up of the terminal cancels, as a signal does; nohup's does not") {
    auto hung_up = user.start(run({}, "echo up; sleep 100"));
    REQUIRE(hung_up->await_out("up"));
    hung_up->signal(SIGHUP);
    CHECK(hung_up->wait().exit_code == 130);
    CHECK(eventually([&] { return user.engine.docker("ps -q --filter name=davit-0").empty(); }));
    auto words = run({}, "echo up; sleep 2; echo end");
    words.insert(words.begin(), {"/usr/bin/nohup", DAVIT_BINARY});
    process kept{words, "", user.environment()};
    REQUIRE(kept.await_out("up"));
    kept.signal(SIGHUP);
    auto ended = kept.wait();
    CHECK(ended.exit_code == 0);
    CHECK(ended.out == "up\nend\n");
  }
  SECTION("standard input is passed on") {
    CHECK(user.davit(run({"-i"}, "tr a-z A-Z"), "from a pipe\n").out == "FROM A PIPE\n");
  }
  SECTION("a timeout is 124, a missing command 127, a missing image 125; each says why") {
    auto late = user.davit(run({"--timeout", "300ms"}, "sleep 60"));
    CHECK(late.exit_code == 124);
    CHECK(late.err.find("timed_out") != std::string::npos);
    auto missing = user.davit({"run", "--network", "none", "busybox:test", "--", "no-such-command"});
    CHECK(missing.exit_code == 127);
    CHECK(missing.err.find("no-such-command") != std::string::npos);
    auto image = user.davit({"run", "--network", "none", "--pull", "never", "no-such-image", "--", "true"});
    CHECK(image.exit_code == 125);
    CHECK(image.err.find("image_unavailable") != std::string::npos);
  }
  SECTION("the first Ctrl-C cancels and removes the container") {
    auto running = user.start(run({}, "echo up; sleep 600"));
    REQUIRE(running->await_out("up\n"));
    running->signal(SIGINT);
    auto result = running->wait();
    CHECK(result.exit_code == 130);
    CHECK(user.engine.docker("ps -q") == "");
  }
  SECTION("the second one leaves at once") {
    std::vector<std::string> stubborn{"run",  "--network",
                                      "none", "--stop-timeout",
                                      "60s",  "busybox:test",
                                      "--",   "sh",
                                      "-c",   "trap '' TERM; echo up; while true; do sleep 1; done"};
    auto running = user.start(stubborn);
    REQUIRE(running->await_out("up\n"));
    running->signal(SIGINT);
    shell("sleep 0.3"); // a person's second thought
    running->signal(SIGINT);
    CHECK(running->wait(20s).exit_code == 130);
    user.engine.docker("ps -aq | xargs -r docker -H unix://" + user.engine.socket() + " rm -f");
  }
  SECTION("terminal escapes in what davit itself says are made visible") {
    auto result = user.davit({"run", "--network", "none", "busybox:test", "--", "no-such\x1b]0;evil\x07"});
    CHECK(result.err.find('\x1b') == std::string::npos);
    CHECK(result.exit_code == 127);
  }
  SECTION("what ends after a reader has gone still ends") {
    auto result = shell("XDG_STATE_HOME=" + user.home.path().string() + " DOCKER_HOST=unix://" + user.engine.socket()
                        + (user.more.empty() ? "" : " " + user.more.front())
                        + " " DAVIT_BINARY " run --network none busybox:test -- sh -c 'seq 1000000' | head -n 2");
    CHECK(result.starts_with("1\n2\n"));
  }
}

} // namespace

TEST_CASE("davit run without an agent", "[command]") {
  static const test_engine engine{"a"};
  shell_user user{engine, {}, {}};
  check_commands(user);
}

TEST_CASE("a davit run that was killed leaves its container to the next one, which cancels and removes it",
          "[command]") {
  test_engine engine{"a"};
  shell_user user{engine, {}, {}};
  auto first = user.start(run({}, "echo up; sleep 600"));
  REQUIRE(first->await_out("up\n"));
  auto beside = user.start(run({}, "echo up; sleep 5; echo mine; exit 8")); // lives: none of the heir's business
  REQUIRE(beside->await_out("up\n"));
  first->signal(SIGKILL);
  first->wait();
  CHECK(user.davit(run({}, "exit 3")).exit_code == 3);
  auto other = beside->wait();
  CHECK(other.exit_code == 8);
  CHECK(other.out == "up\nmine\n");
  CHECK(engine.docker("ps -aq") == "");
}

TEST_CASE("davit run through an agent", "[command]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  shell_user user{engine, {}, {"DAVIT_HOST=unix://" + agent.socket()}};
  check_commands(user);
}

TEST_CASE("on a terminal a line tells what a task is at, and is gone when the task speaks", "[command]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(1)}};
  auto blocker = agent.submit(busybox("sleep 2"));
  agent.await_state(blocker, task_state::running);
  auto screen
    = shell("DAVIT_HOST=unix://" + agent.socket()
            + " script -qec '" DAVIT_BINARY " run --network none busybox:test -- echo hello' /dev/null < /dev/null");
  auto queued = screen.find("queued; engine a all its 1 slots are taken"), erased = screen.rfind("\r\x1b[K"),
       hello = screen.find("hello");
  CHECK(queued != std::string::npos);
  REQUIRE(hello != std::string::npos);
  CHECK(erased < hello);
  CHECK(queued < erased);
}

TEST_CASE("submit, logs, wait, inspect, ps, events, engines, agents tell of the same task", "[command]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(1)}};
  shell_user user{engine, {}, {"DAVIT_HOST=unix://" + agent.socket()}};
  auto submitted = user.davit({"submit", "--network", "none", "--name", "build", "busybox:test", "--", "sh", "-c",
                               "echo one; echo two >&2; exit 3"});
  REQUIRE(submitted.exit_code == 0);
  auto id = submitted.out.substr(0, submitted.out.find('\n'));
  CHECK(user.davit({"wait", id}).exit_code == 3);
  auto logs = user.davit({"logs", id});
  CHECK(logs.out == "one\n");
  CHECK(logs.err == "two\n");
  CHECK(user.davit({"logs", "--stream", "stderr", id}).err == "two\n");
  CHECK(user.davit({"logs", "--stream", "stderr", id}).out == "");
  CHECK(user.davit({"ps"}).out.find(id + "  finished  failed   3") != std::string::npos);
  CHECK(user.davit({"ps", "--name", "build", "--json"}).out.find("\"exit_code\":3") != std::string::npos);
  CHECK(user.davit({"ps", "--name", "other", "--json"}).out == "");
  CHECK(user.davit({"inspect", id}).out.find("\"exit_code\": 3") != std::string::npos);
  CHECK(user.davit({"events", id}).out.find("finished failed") != std::string::npos);
  CHECK(user.davit({"engines"}).out.find("ready") != std::string::npos);
  CHECK(user.davit({"agents"}).out.find("test") != std::string::npos);
  CHECK(user.davit({"doctor"}).exit_code == 0);
  // A task that waits says why.
  auto first = user.davit({"submit", "--network", "none", "busybox:test", "--", "sleep", "600"}).out;
  agent.await_state(
    [&] {
      uuid read;
      from_string(first.substr(0, 36), read);
      return read;
    }(),
    task_state::running);
  auto second = user.davit({"submit", "--network", "none", "busybox:test", "--", "true"}).out.substr(0, 36);
  CHECK(user.davit({"inspect", second}).out.find("all its 1 slots are taken") != std::string::npos);
  CHECK(user.davit({"wait", "--timeout", "100ms", second}).exit_code == 124);
  CHECK(user.davit({"cancel", first.substr(0, 36)}).exit_code == 0);
  CHECK(user.davit({"wait", first.substr(0, 36)}).exit_code == 130);
  CHECK(user.davit({"wait", second}).exit_code == 0);
  CHECK(user.davit({"wait", "019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a"}).exit_code == 125);
}

TEST_CASE("a follower that is cut off in the middle goes on with Last-Event-ID: every record once", "[api]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(1)}};
  auto id = agent.submit(busybox("for i in $(seq 100); do echo line $i; done; sleep 1; printf 'last \\377'"));
  std::string all, last;
  auto read = [&](std::size_t records) {
    auto path = "/v1/tasks/" + to_string(id) + "/logs?follow=1";
    auto text = agent.stream(path, last.empty() ? test_agent::headers{} : test_agent::headers{{"Last-Event-ID", last}},
                             [&](const std::string& got) {
                               std::size_t count = 0;
                               for (std::size_t at = 0; (at = got.find("\n\n", at)) != std::string::npos; at += 2)
                                 ++count;
                               return count >= records;
                             });
    // Only whole events count, and only so many: the rest is read again.
    std::size_t at = 0;
    for (std::size_t i = 0; i < records; ++i) {
      auto end = text.find("\n\n", at);
      if (end == std::string::npos)
        return false;
      auto event = text.substr(at, end - at);
      at = end + 2;
      if (event.starts_with("event: end"))
        return false;
      if (auto where = event.find("id: "); where != std::string::npos) {
        last = event.substr(where + 4, event.find('\n', where) - where - 4);
        auto data = event.find("\"text\":\"");
        all += event.substr(data + 8, event.find('"', data + 8) - data - 8)
             + (event.find("base64\":\"bGFzdCD/\"") != std::string::npos ? "+base64" : "");
      }
    }
    return true;
  };
  for (std::size_t pieces = 1; read(pieces); pieces = pieces % 7 + 1)
    continue;
  std::string expected;
  for (int i = 1; i <= 100; ++i)
    expected += "line " + std::to_string(i) + "\\n";
  CHECK(all == expected + "last \xef\xbf\xbd+base64");
}

namespace {

/// `docker create` and `davit submit` are given the same words. Each flag that both have, in every way to write it.
std::vector<std::string> random_words(std::minstd_rand& random) {
  auto pick
    = [&](std::initializer_list<const char*> from) { return std::string{*(from.begin() + random() % from.size())}; };
  std::vector<std::string> words;
  auto give = [&](const std::string& brief, const std::string& name, const std::string& value) {
    switch (random() % (brief.empty() ? 2 : 4)) {
      case 0:
        words.insert(words.end(), {"--" + name, value});
        break;
      case 1:
        words.push_back("--" + name + "=" + value);
        break;
      case 2:
        words.insert(words.end(), {"-" + brief, value});
        break;
      default:
        if (value.empty())
          words.insert(words.end(), {"-" + brief, value});
        else
          words.push_back("-" + brief + value);
    }
  };
  for (auto count = random() % 5; count > 0; --count)
    switch (random() % 9) {
      case 0:
        give("e", "env", pick({"A=1", "A=two words", "A=", "B=a=b", "C", "A=--x", "=x", "", "A=-e"}));
        break;
      case 1:
        give("w", "workdir", pick({"/tmp", "/", "/a b", "relative", ""}));
        break;
      case 2:
        give("u", "user", pick({"0", "1000:1000", "nobody", ""}));
        break;
      case 3:
        give("l", "label", pick({"x=y", "x", "x=", "x=a=b", "x=-l"}));
        break;
      case 4:
        give("m", "memory", pick({"64m", "1g", "67108864", "64M", "64mb", "64MB"}));
        break;
      case 5:
        give("", "entrypoint", pick({"", "echo", "/bin/sh", "a b"}));
        break;
      case 6:
        give("", "hostname", pick({"box", "box.local"}));
        break;
      case 7:
        words.push_back(pick({"--read-only", "--read-only=true", "--read-only=false", "-i", "--interactive=false"}));
        break;
      default:
        give("", "pids-limit", pick({"7", "100"}));
    }
  if (random() % 8 == 0)
    words.push_back("--");
  words.push_back("busybox:test");
  for (auto count = 1 + random() % 4; count > 0; --count)
    words.push_back(
      pick({"echo", "-e", "--env", "--env=A=2", "-", "a b", "", "--help", "-it", "x=y", "--entrypoint="}));
  return words;
}

} // namespace

TEST_CASE("docker create and davit submit make the same of the same words", "[command]") {
  test_engine engine{"a"};
  scratch_folder nowhere;
  engine_settings silent;
  silent.name = "silent";
  silent.endpoint = "unix://" + (nowhere / "no.sock");
  test_agent agent{{silent}};
  auto seed = std::random_device{}();
  if (auto text = std::getenv("DAVIT_WORDS_SEED"))
    seed = static_cast<unsigned>(std::atoi(text));
  auto cases = std::getenv("DAVIT_WORDS_CASES") ? std::atoi(std::getenv("DAVIT_WORDS_CASES")) : 100;
  CAPTURE(seed);
  std::minstd_rand random{seed};
  for (int i = 0; i < cases; ++i) {
    auto words = random_words(random);
    std::string shown;
    for (const auto& one : words)
      shown += "[" + one + "] ";
    CAPTURE(shown);
    auto docker = std::vector<std::string>{"/usr/bin/env", "docker",    "-H",  "unix://" + engine.socket(),
                                           "create",       "--network", "none"};
    auto davit
      = std::vector<std::string>{DAVIT_BINARY, "submit", "--host", "unix://" + agent.socket(), "--network", "none"};
    docker.insert(docker.end(), words.begin(), words.end());
    davit.insert(davit.end(), words.begin(), words.end());
    auto theirs = run_process(docker), ours = run_process(davit);
    CAPTURE(theirs.out, theirs.err, ours.out, ours.err);
    if (theirs.out.starts_with("\nUsage") || ours.out.starts_with("Submit a task")) // --help in front of the image
      continue;
    CHECK((theirs.exit_code == 0) == (ours.exit_code == 0));
    if (theirs.exit_code != 0 || ours.exit_code != 0)
      continue;
    auto id = theirs.out.substr(0, 64);
    json::parser parser, other;
    auto inspected = parser.parse(
      run_process({"/usr/bin/env", "docker", "-H", "unix://" + engine.socket(), "inspect", "-f", "{{json .}}", id})
        .out);
    auto told = other.parse(agent.call("GET", "/v1/tasks/" + ours.out.substr(0, 36)));
    REQUIRE(inspected.has_value());
    REQUIRE(told.has_value());
    auto list = [](json::element root, std::string_view name) {
      std::vector<std::string> all;
      simdjson::dom::array array;
      if (root[name].get(array) == simdjson::SUCCESS)
        for (auto one : array)
          all.emplace_back(one.get_string().value());
      return all;
    };
    auto text = [](json::element root, std::string_view name) {
      std::string_view value;
      return root[name].get(value) == simdjson::SUCCESS ? std::string{value} : std::string{};
    };
    json::element config = (*inspected)["Config"].value(), host = (*inspected)["HostConfig"].value(),
                  spec = (*told)["spec"].value();
    auto command = list(config, "Cmd"), entrypoint = list(config, "Entrypoint");
    auto plan = list(spec, "command");
    if (!command.empty() && plan.empty())
      plan = {"sh"}; // the image's own
    CHECK(command == plan);
    CHECK(entrypoint == list(spec, "entrypoint"));
    CHECK(text(config, "User") == text(spec, "user"));
    if (!text(spec, "workdir").empty())
      CHECK(text(config, "WorkingDir") == text(spec, "workdir"));
    if (!text(spec, "hostname").empty())
      CHECK(text(config, "Hostname") == text(spec, "hostname"));
    std::set<std::string> env, labels, their_labels;
    simdjson::dom::object map;
    if (spec["env"].get(map) == simdjson::SUCCESS)
      for (auto [name, value] : map)
        env.insert(std::string{name} + "=" + std::string{value.get_string().value()});
    if (spec["labels"].get(map) == simdjson::SUCCESS)
      for (auto [name, value] : map)
        labels.insert(std::string{name} + "=" + std::string{value.get_string().value()});
    std::set<std::string> their_env;
    for (const auto& one : list(config, "Env"))
      if (!one.starts_with("PATH=") && one.find('=') != std::string::npos) // a name alone: it is not set here
        their_env.insert(one);
    CHECK(their_env == env);
    if (config["Labels"].get(map) == simdjson::SUCCESS)
      for (auto [name, value] : map)
        their_labels.insert(std::string{name} + "=" + std::string{value.get_string().value()});
    CHECK(their_labels == labels);
    bool theirs_read_only = false, ours_read_only = false;
    REQUIRE(host["ReadonlyRootfs"].get(theirs_read_only) == simdjson::SUCCESS);
    ours_read_only = spec["read_only"].get(ours_read_only) == simdjson::SUCCESS && ours_read_only;
    CHECK(theirs_read_only == ours_read_only);
  }
  engine.docker("container prune -f");
}
