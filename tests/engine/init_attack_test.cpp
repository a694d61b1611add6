// Tasks that would like to end otherwise than they do: none can forge what the init of its container says, hide it, or
// outlive it. tests/engine/forge.c is what attacks.
#include "fixture/test_agent.hpp"
#include "sandbox/program.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <vector>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// An image of the attacker, and busybox.
void make_attacker(const test_engine& engine) {
  shell(std::string{"d=$(mktemp -d) && mkdir -p $d/bin $d/tmp && cp /bin/busybox $d/bin/sh && musl-gcc -static -O1 -o "
                    "$d/bin/forge "}
        + DAVIT_SOURCE + "/tests/engine/forge.c && tar -C $d -c . | docker -H unix://" + engine.socket()
        + " import - forge:test >/dev/null && rm -rf $d");
}

task_spec forge(std::vector<std::string> words, start_mode start) {
  task_spec spec;
  spec.image = "forge:test";
  spec.command = {"/bin/forge"};
  spec.command.insert(spec.command.end(), words.begin(), words.end());
  spec.start = start;
  return spec;
}

struct attack {
  std::string name;
  bool outlives; ///< The init has no right to kill what is left.
  std::string uid;
  std::function<void(task_spec&)> change;
};

const std::vector<attack> attacks{
  {"root that may not kill, and another user", true, "65534", [](task_spec& s) { s.cap_drop = {"KILL"}; }},
  {"root that may only change users", true, "65534",
   [](task_spec& s) {
     s.cap_drop = {"ALL"};
     s.cap_add = {"SETUID", "SETGID"};
   }},
  {"root, and another user", false, "65534", [](task_spec&) {}},
  {"root alone", false, "0", [](task_spec&) {}},
  {"a plain user", false, "0", [](task_spec& s) { s.user = "1000:1000"; }},
  {"restricted", false, "0", [](task_spec& s) { s.profile = policy_profile::restricted; }},
};

bool lives(const std::string& tag) {
  return !shell("pgrep -f '[f]orge-" + tag + "' || true").empty();
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

} // namespace

TEST_CASE("no task, and nobody in its container, can forge how it ends, hide it, or outlive it", "[security][init]") {
  test_engine engine{"a"};
  make_attacker(engine);
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_agent agent{{settings}};
  for (auto start : {start_mode::cold, start_mode::warm})
    for (const auto& one : attacks) {
      std::map<std::string, task_id> tasks; // by their tags
      for (std::string way : {"steal", "swallow", "unused", "begun", "early"}) {
        auto tag = to_string(uuid::make_v7());
        auto spec = forge({way, one.uid, "forge-" + tag}, start);
        one.change(spec);
        tasks[tag] = agent.submit(spec);
      }
      for (const auto& [tag, id] : tasks) {
        auto ended = agent.wait(id);
        auto left = lives(tag);
        auto log = agent.logs(id);
        const auto& evidence = ended.attempts.back().evidence;
        INFO(one.name << ": " << ended.spec.command[1] << ", " << to_string(start) << ": " << ended.message << "; "
                      << evidence.note << "\nout: " << log.out << "\nerr: " << log.err);
        CHECK_FALSE(left);
        CHECK(ended.outcome == outcome::failed);
        CHECK(ended.exit_code == 7);
        CHECK(ended.attempts.size() == 1);
        CHECK(evidence.start.starts_with(start == start_mode::cold ? "cold: the task asks for it" : "warm"));
        CHECK(evidence.start.find("without an init") == std::string::npos);
        CHECK(evidence.note.starts_with("by the engine's word") == one.outlives);
        CHECK(log.out.starts_with("before\n")); // and what came after it, if anything did, is the attacker's
        CHECK(count_of(log.out, "before\n") == 1);
        CHECK(log.err.find("it got what the init had said") == std::string::npos);
        CHECK((log.notes.find("may be missing") != std::string::npos) == one.outlives); // nobody can know
        CHECK(log.notes.empty() != one.outlives);
      }
    }
}

TEST_CASE("a task sees nothing of its init, whose user it is", "[security][init]") {
  test_engine engine{"a"};
  make_attacker(engine);
  test_agent agent{{engine.settings(2)}};
  for (auto start : {start_mode::cold, start_mode::warm})
    for (const auto& one : attacks) {
      auto spec = forge({"peek"}, start);
      one.change(spec);
      auto ended = agent.run(spec);
      INFO(one.name << ", " << to_string(start) << ": " << ended.message);
      CHECK(agent.logs(ended.id).out == "end\n");
    }
  // Nor does the engine's host see the nonce in any list of processes.
  auto id = agent.submit([] {
    auto spec = busybox("sleep 600");
    spec.start = start_mode::cold;
    return spec;
  }());
  agent.await_state(id, task_state::running);
  auto container = engine.docker("ps -q --filter label=davit.init");
  auto nonce = engine.docker("inspect -f '{{index .Config.Labels \"davit.init\"}}' " + container);
  while (nonce.ends_with('\n'))
    nonce.pop_back();
  REQUIRE(nonce.size() == 64);
  CHECK(engine.docker("inspect -f '{{.Path}} {{.Args}}' " + container).find(nonce.substr(0, 32)) == std::string::npos);
  CHECK(shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c '" + nonce.substr(0, 8)
              + "[0-9a-f]\\{24\\}" + "' || true")
        == "0\n");
  agent.cancel(id);
}

TEST_CASE("of a task with power over its init, the engine's word decides", "[security][init]") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.profile = policy_profile::privileged;
  test_agent agent{{settings}};
  for (auto start : {start_mode::cold, start_mode::warm}) {
    auto spec = busybox("exit 7");
    spec.start = start;
    spec.cap_add = {"SYS_PTRACE"};
    auto ended = agent.run(spec);
    CHECK(ended.exit_code == 7);
    CHECK(ended.attempts.back().evidence.note.find("reported by the container's init") == std::string::npos);
    CHECK_FALSE(ended.attempts.back().evidence.inspect.empty());
  }
}

TEST_CASE("no task of baseline gets a raw socket", "[security]") {
  test_engine engine{"a"};
  make_attacker(engine);
  auto wide = engine.settings(2);
  wide.profile = policy_profile::privileged;
  for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged}) {
    test_agent agent{{wide}};
    for (auto start : {start_mode::cold, start_mode::warm}) {
      auto spec = forge({"raw"}, start);
      spec.profile = profile;
      auto ended = agent.run(spec);
      INFO(to_string(profile) << ", " << to_string(start) << ": " << ended.message);
      CHECK(agent.logs(ended.id).out
            == (profile == policy_profile::privileged ? "raw\n" : "Operation not permitted\n"));
    }
  }
}

TEST_CASE("what somebody else has put into the init's volume is never run", "[security][init]") {
  test_engine engine{"a"};
  auto volume = init::volume_name();
  auto run = [&](const std::string& script) {
    engine.docker("run --rm --network none -v " + volume + ":/v busybox:test sh -c '" + script + "'");
  };
  SECTION("before davit came") {
    run("printf \"#!/bin/sh\\necho taken over\\n\" > /v/init; chmod 755 /v/init");
  }
  SECTION("in front of the program's own bytes") {
    scratch_folder folder;
    std::ofstream{folder / "init", std::ios::binary} << "#!/bin/sh\necho taken over; exit 0\n" << init::program_bytes();
    engine.docker("run --rm -i --network none -v " + volume
                  + ":/v busybox:test sh -c 'cat > /v/init; chmod 755 /v/init' < " + folder / "init");
  }
  SECTION("in the program's place") {
    run("mkdir /v/init");
  }
  auto settings = engine.settings(2);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  for (auto start : {start_mode::cold, start_mode::warm, start_mode::cold}) {
    auto spec = busybox("echo own; exit 7");
    spec.start = start;
    auto ended = agent.run(spec);
    INFO(ended.message << "; " << ended.attempts.back().evidence.start);
    CHECK(ended.exit_code == 7);
    CHECK(agent.logs(ended.id).out == "own\n");
  }
  // While davit runs: its containers are gone, and somebody makes the volume anew. It has its content from its first
  // moment, from the image: whoever writes to the volume after davit has looked is not what this is about.
  auto host = "docker -H unix://" + engine.socket() + " ";
  {
    scratch_folder folder;
    shell("mkdir " + folder / "v" + " && printf '#!/bin/sh\\necho taken over\\n' > " + folder / "v/init"
          + " && chmod 755 " + folder / "v/init" + " && tar -C " + folder.path().string() + " -c . | " + host
          + "import - stranger:test");
  }
  REQUIRE(eventually([&] {
    engine.docker("ps -aq | xargs -r " + host + "rm -f >/dev/null; " + host + "volume rm " + volume + " && " + host
                  + "create --name stranger -v " + volume + ":/v stranger:test true || true");
    auto look = engine.docker("run --rm --network none -v " + volume + ":/v:ro busybox:test cat /v/init || true");
    return look.find("taken over") != std::string::npos;
  }));
  auto spec = busybox("echo own; exit 7");
  spec.start = start_mode::cold;
  auto ended = agent.run(spec);
  INFO(ended.message << "; " << ended.attempts.back().evidence.start);
  CHECK(ended.exit_code == 7);
  CHECK(agent.logs(ended.id).out == "own\n");
}
