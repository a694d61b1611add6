// Secrets and credentials on a real engine: the task has them, and nobody else sees them.
#include "cli/task_flags.hpp"
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_registry.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

const std::string token = "tok-3n!Zq/\"x+y";

/// What of the text `grep` finds below the folder, in compressed files too.
std::string found_below(const std::string& folder, const std::string& text) {
  return shell("cd " + folder + "; grep -rlFa -e '" + text
               + "' . || true; for f in $(find . -name '*.zst'); do zstd -dcq $f | grep -qFa -e '" + text
               + "' && echo $f; done; true");
}

} // namespace

TEST_CASE("a secret reaches the task, and is seen nowhere else: not in its log, the API, the data directory or the "
          "process list",
          "[secrets]") {
  test_engine engine{"a"};
  test_daemon daemon{{engine.settings(4)}};
  daemon.start();
  auto spec = busybox(
    "echo \"$TOKEN\"; echo \"$TOKEN\" >&2; echo -n \"$TOKEN\" | base64; echo -n \"user:$TOKEN\" | base64; "
    "i=0; while [ $i -lt ${#TOKEN} ]; do printf %s \"${TOKEN:$i:1}\"; i=$((i+1)); done; echo; printf %s "
    "\"${TOKEN%?}\"; sleep 0.3; printf '%s\\n' \"${TOKEN#${TOKEN%?}}\"; "
    "echo \"size ${#TOKEN}\"; for i in $(seq 3000); do echo \"line $i $TOKEN\"; done; printf 'end %s' \"$TOKEN\"");
  spec.secrets["TOKEN"] = {token, false};
  auto id = daemon.submit(spec);
  auto ended = daemon.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  auto log = daemon.logs(id);
  CHECK(log.err == "***\n");
  CHECK(log.out.starts_with("***\n***"));
  CHECK(log.out.find("\n***\n***\nsize 14\nline 1 ***\n") != std::string::npos);
  CHECK(log.out.ends_with("line 3000 ***\nend ***"));
  for (auto target :
       {"/v1/tasks", "/v1/tasks/{}", "/v1/tasks/{}/wait", "/v1/tasks/{}/events", "/v1/tasks/{}/logs", "/metrics"}) {
    std::string path = target;
    if (auto at = path.find("{}"); at != std::string::npos)
      path.replace(at, 2, to_string(id));
    auto text = daemon.call("GET", path);
    INFO(path);
    CHECK(text.find("tok-3n") == std::string::npos);
    CHECK(text.find("v1:") == std::string::npos);
  }
  CHECK(daemon.call("GET", "/v1/tasks/" + to_string(id)).find(R"("secrets":{"TOKEN":"***"})") != std::string::npos);
  CHECK(found_below(daemon.data(), "tok-3n").empty());
  CHECK(found_below(daemon.data(), "dG9rLTNu").empty()); // its base64
  CHECK(daemon.said().find("tok-3n") == std::string::npos);
  // What the shown spec holds is no secret: whoever submits it again is told so.
  spec.secrets["TOKEN"] = {std::string{secret::shown}, false};
  auto again = daemon.http("POST", "/v1/tasks", {}, submission(spec));
  CHECK(again.status == 403);
  CHECK(again.body.find("write the secret itself") != std::string::npos);
}

TEST_CASE("davit run takes secrets from its environment or a file, never from its command line", "[secrets]") {
  test_engine engine{"a"};
  scratch_folder folder;
  std::ofstream{folder / "key"} << "file-secret";
  std::vector<std::string> environment{"DOCKER_HOST=unix://" + engine.socket(), "XDG_STATE_HOME=" + (folder / "state"),
                                       "TOKEN=env-secret", "OTHER=other-secret"};
  auto run = [&](std::vector<std::string> flags, const std::string& script) {
    std::vector<std::string> words{DAVIT_BINARY, "run", "--network", "none"};
    words.insert(words.end(), flags.begin(), flags.end());
    for (auto word : {"busybox:test", "--", "sh", "-c"})
      words.emplace_back(word);
    words.push_back(script);
    return run_process(words, "", environment);
  };
  auto good = run({"--secret", "TOKEN", "--secret", "id=KEY,src=" + (folder / "key"), "--secret", "id=B,env=OTHER"},
                  "echo $TOKEN $KEY $B; [ ${#TOKEN}${#KEY}${#B} = 101112 ]");
  INFO(good.err);
  CHECK(good.exit_code == 0);
  CHECK(good.out == "*** *** ***\n");
  CHECK(found_below(folder / "state", "-secret") == "");
  auto bare = run({"--secret", "TOKEN=env-secret"}, "true");
  CHECK(bare.exit_code == 125);
  CHECK(bare.err.find("every process could see") != std::string::npos);
  CHECK(run({"--secret", "NOT_SET"}, "true").err.find("the variable NOT_SET is not set") != std::string::npos);
}

TEST_CASE("a secret stays masked when the agent is killed in the middle of it", "[secrets]") {
  test_engine engine{"a"};
  test_daemon daemon{{engine.settings(4)}};
  daemon.start();
  auto spec = busybox("for i in 1 2 3 4 5 6; do printf %s \"${TOKEN%??????}\"; sleep 0.7; printf '%s %s\\n' "
                      "\"${TOKEN#????????}\" $i; done");
  spec.secrets["TOKEN"] = {token, false};
  auto id = daemon.submit(spec);
  daemon.await_state(id, task_state::running);
  for (int i = 0; i < 4; ++i) {
    // The time is part of the chaos, not of what is checked.
    std::this_thread::sleep_for(600ms);
    daemon.kill();
    daemon.start();
  }
  auto ended = daemon.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(daemon.logs(id).out == "*** 1\n*** 2\n*** 3\n*** 4\n*** 5\n*** 6\n");
  CHECK(found_below(daemon.data(), "tok-").empty());
}

TEST_CASE("a task whose secrets were sealed with a key that is gone is rejected, with what to do", "[secrets]") {
  test_engine engine{"a"};
  test_daemon daemon{{engine.settings(1)}};
  daemon.start();
  auto blocker = daemon.submit(busybox("sleep 600"));
  daemon.await_state(blocker, task_state::running);
  auto spec = busybox("true");
  spec.secrets["TOKEN"] = {token, false};
  auto id = daemon.submit(spec);
  daemon.kill();
  shell("rm " + daemon.data() + "/secrets.key");
  daemon.start();
  daemon.cancel(blocker);
  auto ended = daemon.wait(id);
  CHECK(ended.outcome == outcome::rejected);
  CHECK(ended.message.find("secrets.TOKEN") != std::string::npos);
  CHECK(ended.message.find("put that key back") != std::string::npos);
}

TEST_CASE("a private image is pulled with the agent's credentials, a helper's, or the task's own; without any it is "
          "unavailable",
          "[secrets][pull]") {
  test_engine engine{"a"};
  test_registry registry{"sesame-open"};
  scratch_folder folder;
  auto host = registry.image("");
  host.pop_back();
  engine.docker("login -u user -p sesame-open " + host);
  registry.push(engine, "app:1");
  engine.docker("logout " + host);
  auto with_auth = [&](const std::string& password) {
    return R"({"auths":{")" + host + R"(":{"username":"user","password":")" + password + R"("}}})";
  };
  auto config = folder / "config.json";
  std::ofstream{config} << with_auth("sesame-open");
  auto spec = busybox("echo ran");
  spec.image = registry.image("app:1");
  auto run = [&](std::function<void(agent_settings&)> change, task_spec task) {
    test_agent agent{{engine.settings(2)}, std::move(change)};
    auto ended = agent.run(task);
    CHECK(ended.message.find("sesame") == std::string::npos);
    if (ended.outcome == outcome::succeeded)
      CHECK(agent.logs(ended.id).out == "ran\n");
    engine.docker("rmi -f " + spec.image + " 2>/dev/null || true");
    return ended;
  };
  auto none = run({}, spec);
  CHECK(none.outcome == outcome::image_unavailable);
  CHECK(run([&](agent_settings& s) { s.docker_config = config; }, spec).outcome == outcome::succeeded);
  auto own = spec;
  own.secrets["DOCKER_AUTH_CONFIG"] = {with_auth("sesame-open"), false};
  CHECK(run({}, own).outcome == outcome::succeeded);
  own.secrets["DOCKER_AUTH_CONFIG"] = {with_auth("wrong-word"), false};
  CHECK(run([&](agent_settings& s) { s.docker_config = config; }, own).outcome == outcome::image_unavailable);
  own.secrets["DOCKER_AUTH_CONFIG"] = {"{no config", false};
  auto broken = run({}, own);
  CHECK(broken.outcome == outcome::image_unavailable);
  CHECK(broken.message.find("the secret DOCKER_AUTH_CONFIG is not a valid Docker config.json") != std::string::npos);
  // An image that the engine has already is not for everybody, where the policy says so.
  test_agent agent{{engine.settings(2)}, [](agent_settings& s) { s.policy.always_pull = true; }};
  own.secrets["DOCKER_AUTH_CONFIG"] = {with_auth("sesame-open"), false};
  CHECK(agent.run(own).outcome == outcome::succeeded);
  CHECK(agent.run(spec).outcome == outcome::image_unavailable);
  CHECK(agent.run(own).outcome == outcome::succeeded);
}
