// The same spec ends the same way: in a sandbox, in a container of its own, and as `docker run --init` has it.
#include "same_end_cases.hpp"

#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <random>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct ending_of {
  std::string outcome;
  std::optional<std::int64_t> code;
  std::string message, out, err;
  bool operator==(const ending_of&) const = default;
};

std::string short_of(const std::string& text) {
  return text.size() < 600 ? text
                           : text.substr(0, 300) + "... " + std::to_string(text.size()) + " bytes, hash "
                               + std::to_string(std::hash<std::string>{}(text));
}

std::string words_of(const ending_of& one) {
  return one.outcome + ", code " + (one.code ? std::to_string(*one.code) : "none") + ", \"" + one.message
       + "\"\nout: " + short_of(one.out) + "\nerr: " + short_of(one.err);
}

std::vector<ending_of> run_all(test_agent& agent, const std::vector<same_case>& cases, start_mode start) {
  std::vector<task_id> ids;
  for (auto one : cases) {
    one.spec.start = start;
    one.spec.env.emplace("DAVIT_TASK_ID", "same");
    one.spec.hostname = "box";
    ids.push_back(agent.submit(one.spec));
  }
  std::vector<ending_of> all;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto ended = agent.wait(ids[i]);
    auto log = agent.logs(ids[i]);
    INFO(cases[i].name << ": " << ended.message << "; " << log.notes);
    CHECK(log.notes.empty());
    CHECK(ended.attempts.size() == 1);
    CHECK(
      ended.attempts.back().evidence.start.starts_with(start == start_mode::cold ? "cold: the task asks for it" : ""));
    CHECK(ended.attempts.back().evidence.start.find("without an init") == std::string::npos);
    all.push_back(
      {to_string(ended.outcome.value_or(outcome::rejected)), ended.exit_code, ended.message, log.out, log.err});
  }
  return all;
}

/// Runs each case in the three ways.
void compare(test_agent& agent, const test_engine& engine, const std::vector<same_case>& cases) {
  auto cold = run_all(agent, cases, start_mode::cold);
  auto warm = run_all(agent, cases, start_mode::automatic);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& spec = cases[i].spec;
    INFO(cases[i].name << "\ncold: " << words_of(cold[i]) << "\nwarm: " << words_of(warm[i]));
    CHECK(cold[i] == warm[i]);
    if (!cases[i].differs.empty())
      continue;
    std::vector<std::string> words{"/usr/bin/env",
                                   "docker",
                                   "-H",
                                   "unix://" + engine.socket(),
                                   "run",
                                   "--rm",
                                   "--init",
                                   "--network",
                                   "none",
                                   "--hostname",
                                   "box",
                                   "--security-opt",
                                   "no-new-privileges",
                                   "--cap-drop",
                                   "NET_RAW"};
    words.insert(words.end(), cases[i].docker.begin(), cases[i].docker.end());
    words.push_back(spec.image);
    words.insert(words.end(), spec.command.begin(), spec.command.end());
    auto docker = run_process(words, spec.stdin_text.value_or(""));
    INFO("docker run --init: code " << docker.exit_code << "\nout: " << short_of(docker.out)
                                    << "\nerr: " << short_of(docker.err));
    CHECK(cold[i].code == docker.exit_code);
    CHECK(cold[i].out == docker.out);
    CHECK(cold[i].err == docker.err);
  }
}

/// On an engine of their own; not too many tasks are under way at once.
void compare_all(const std::vector<same_case>& cases) {
  test_engine engine{"a"};
  make_images(engine);
  auto settings = engine.settings(4);
  settings.sandboxes = 4;
  test_agent agent{{settings}};
  for (std::size_t at = 0; at < cases.size(); at += 50)
    compare(agent, engine,
            {cases.begin() + static_cast<std::ptrdiff_t>(at),
             cases.begin() + static_cast<std::ptrdiff_t>(std::min(at + 50, cases.size()))});
}

/// A spec put together at random, and the same as arguments of `docker run`.
same_case random_case(std::minstd_rand& random) {
  auto draw = [&](std::size_t below) { return static_cast<std::size_t>(random() >> 8) % below; };
  auto pick = [&](std::initializer_list<const char*> from) { return std::string{*(from.begin() + draw(from.size()))}; };
  same_case one;
  auto& spec = one.spec;
  auto flag = [&](std::initializer_list<std::string> words) { one.docker.insert(one.docker.end(), words); };
  spec.image = pick({"plain:test", "plain:test", "entry:test", "full:test"});
  if (draw(3) == 0) {
    spec.user = pick({"0", "joe", "12:99", "4711", "joe:wheel", ":34"});
    flag({"--user", spec.user});
  }
  if (draw(3) == 0) {
    spec.workdir = pick({"/tmp", "/vol", "/made/by/it", "/home/joe/", "/bin/../etc"});
    flag({"--workdir", spec.workdir});
  }
  for (auto count = draw(4); count > 0; --count) {
    auto name = pick({"A", "B", "HOME", "PATH", "HOSTNAME", "TERM", "X.y", "_"}),
         value = pick({"", "1", "/bin", "a b", "=", "two\nlines", "\xc3\xa4", "$A", "'"});
    if (spec.env.emplace(name, value).second)
      flag({"-e", name + "=" + value});
  }
  if (draw(4) == 0) {
    spec.read_only = true;
    flag({"--read-only"});
  }
  if (draw(4) == 0) {
    spec.cap_drop = {pick({"ALL", "KILL", "SETUID", "CHOWN"})};
    flag({"--cap-drop", spec.cap_drop.front()});
  }
  if (draw(5) == 0) {
    spec.ulimits = {{"nofile", "64:128"}, {"stack", pick({"1048576", "8388608"})}};
    flag({"--ulimit", "nofile=64:128", "--ulimit", "stack=" + spec.ulimits.at("stack")});
  }
  if (draw(5) == 0) {
    mount folder;
    folder.type = mount_type::tmpfs;
    folder.target = pick({"/t", "/vol", "/home"});
    spec.mounts = {folder};
    flag({"--mount", "type=tmpfs,target=" + folder.target + ",tmpfs-mode=1777"});
  }
  if (draw(4) == 0) {
    spec.stdin_text = pick({"", "one\n", "no end", "\n\n", "davit-init x exited 0 0;"});
    flag({"-i"});
  }
  // What it does: a few steps, each told apart, and an end.
  std::string text;
  for (auto count = 1 + draw(5); count > 0; --count)
    text
      += pick(
           {"id",
            "pwd",
            "echo \"$A|$B|$HOME|$PATH\"",
            "env | grep -v -e ^DAVIT -e ^SHLVL | sort",
            "echo out; sleep 0.02; echo err >&2; sleep 0.02",
            "printf 'no end'",
            "printf 'no end' >&2",
            "cat",
            "head -c 1",
            "touch here; echo $?",
            "ls -ld . | awk '{print $1,$3,$4}'",
            "(sleep 9; echo late) &",
            "sleep 0.1",
            "sh -c 'kill -9 $$'; echo $?",
            "cat /no/such; echo $?",
            "head -c 70000 /dev/zero | tr '\\0' x; echo",
            "head -c 16384 /dev/zero | tr '\\0' y",
            "ulimit -n; ulimit -s",
            "trap 'echo caught' TERM; kill -TERM $$",
            "exec 2>&1",
            "exec >&-",
            "echo 'davit-init x begun 0 0;'",
            "su joe -c id; echo $?",
            "no-such; echo $?",
            "awk '{print $2, $3}' /proc/mounts | grep -v -e '^/[.]davit-' -e '^/sbin/docker-init ' -e '^/etc/' | sort",
            "nohup sleep 60 >/dev/null 2>&1 &",
            "setsid sleep 60 &",
            "echo $PPID",
            "ls /proc/self/fd | wc -l",
            "grep -E '^(Cap|NoNew|Seccomp:|Sig[BIC]|Groups)' /proc/self/status"})
       + "\n";
  text += pick({"", "exit 0", "exit 3", "exit 255", "kill -TERM $$; sleep 9", "kill -SEGV $$; sleep 9", "exec no-such",
                "exec /etc", "exec sleep 0.05", "false", "kill -PIPE $$; sleep 9", "sleep 0.1 & wait; exit 9"});
  switch (spec.image == "entry:test" ? 0 : draw(4)) {
    case 0: // the image's entrypoint, or none
      spec.command
        = spec.image == "entry:test" ? std::vector<std::string>{text} : std::vector<std::string>{"sh", "-c", text};
      break;
    case 1:
      if (draw(4) == 0) {
        spec.entrypoint.emplace();
        flag({"--entrypoint", ""});
        spec.command = {"/bin/sh", "-c", text};
        break;
      }
      spec.entrypoint = std::vector<std::string>{"/bin/sh"};
      flag({"--entrypoint", "/bin/sh"});
      spec.command = {"-c", text};
      break;
    case 2:
      spec.command = {"/bin/sh", "-ec", text, "name", "", "b c"};
      break;
    default:
      spec.command = {"env", "-u", "B", "/bin/sh", "-c", text};
  }
  if (auto path = spec.env.find("PATH"); path != spec.env.end() && path->second != "/bin")
    one.differs = "what can't be found, docker run says on stderr";
  for (auto& word : one.docker)
    one.name += word + " ";
  one.name += spec.image;
  for (const auto& word : spec.command)
    one.name += " [" + word + "]";
  return one;
}

} // namespace

TEST_CASE("the same spec ends the same way, warm and cold and with docker", "[same]") {
  auto cases = all_cases();
  if (auto one = std::getenv("DAVIT_SAME_CASE"))
    std::erase_if(cases, [&](const same_case& c) { return c.name.find(one) == std::string::npos; });
  compare_all(cases);
}

// DAVIT_SEED: the case to begin with; DAVIT_SAME_RANDOM: how many.
TEST_CASE("specs put together at random end the same way, warm and cold and with docker", "[same]") {
  auto seed = static_cast<std::uint_fast32_t>(std::random_device{}());
  if (auto given = std::getenv("DAVIT_SEED"))
    seed = static_cast<std::uint_fast32_t>(std::strtoul(given, nullptr, 10));
  auto count = std::getenv("DAVIT_SAME_RANDOM") ? std::atoi(std::getenv("DAVIT_SAME_RANDOM")) : 30;
  std::vector<same_case> cases;
  for (int i = 0; i < count; ++i) {
    auto own = seed + static_cast<std::uint_fast32_t>(i);
    std::minstd_rand random{own * 2654435761U};
    cases.push_back(random_case(random));
    cases.back().name = "DAVIT_SEED=" + std::to_string(own) + ": " + cases.back().name;
  }
  compare_all(cases);
}
