// Engines that others use as well: many events, other people's hands on davit's containers, requests that no engine can
// fulfil.
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"
#include "json/write.hpp"
#include "policy/policy.hpp"
#include "transport/http_client.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// More events than an engine remembers, of other people's volumes.
void make_busy(const test_engine& engine) {
  shell("for i in $(seq 150); do curl -s --unix-socket " + engine.socket()
        + " -H 'Content-Type: application/json' -d '{\"Name\":\"other'$i'\"}' http://d/volumes/create"
          " --next -s --unix-socket "
        + engine.socket() + " -X DELETE http://d/volumes/other$i || exit 1; done");
}

engine_settings with_sandboxes(const test_engine& engine, start_mode start) {
  auto settings = engine.settings(4);
  settings.sandboxes = start == start_mode::warm ? 2 : 0;
  return settings;
}

} // namespace

TEST_CASE("an agent that starts again on a busy engine still knows that the engine was never away",
          "[strangers][restart]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  CAPTURE(to_string(start));
  test_agent agent{{with_sandboxes(engine, start)}};
  agent.default_start = start;
  agent.run(busybox("true")); // a sandbox of its kind is made, and the agent has seen a container made
  auto good = agent.submit(busybox("sleep 4; echo whole"));
  auto stopped = agent.submit(busybox("trap 'exit 143' TERM; sleep 100 & wait"));
  agent.await_state(good, task_state::running);
  agent.await_state(stopped, task_state::running);
  make_busy(engine);
  agent.run(busybox("true")); // the agent's place among the events goes on
  shell("sleep 1.5");
  agent.restart();
  agent.cancel(stopped);
  make_busy(engine);
  auto ended = agent.wait(good);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(ended.exit_code == 0);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(good).out == "whole\n");
  CHECK(agent.logs(good).notes == "");
  CHECK(agent.wait(stopped).outcome == outcome::cancelled);
}

TEST_CASE("with a grace of nothing, a healthy engine's tasks end as they do", "[strangers]") {
  static const test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.grace = 0s;
  test_agent agent{{settings}};
  auto longer = agent.submit(busybox("sleep 65; exit 3")); // longer than any deadline of a single call
  for (int i = 0; i < 10; ++i)
    CHECK(agent.run(busybox("exit 3")).exit_code == 3);
  auto ended = agent.wait(longer);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 3);
}

TEST_CASE("what the engine can't make is the task's failure, at once and in the engine's words",
          "[strangers][outcomes]") {
  static const test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.grace = 10min; // whoever waits for it does not end
  test_agent agent{{settings}};
  auto spec = busybox("true");
  std::string words;
  SECTION("a working directory that is a file") {
    spec.workdir = "/bin/busybox";
    words = "/bin/busybox";
  }
  SECTION("a working directory below a file") {
    spec.workdir = "/bin/busybox/x";
    words = "not a directory";
  }
  SECTION("an unknown user") {
    spec.user = "nobody-knows";
    words = "nobody-knows";
  }
  SECTION("an unknown group") {
    spec.user = "0:nobody-knows";
    words = "nobody-knows";
  }
  auto ended = agent.run(spec);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.attempts.size() == 1);
  CHECK(ended.message.find(words) != std::string::npos);
}

TEST_CASE("a sandbox that a stranger has paused keeps no task, and none runs twice", "[strangers][warm]") {
  test_engine engine{"a"};
  test_agent agent{{with_sandboxes(engine, start_mode::warm)}};
  agent.default_start = GENERATE(start_mode::warm, start_mode::automatic);
  CAPTURE(to_string(agent.default_start));
  agent.run(busybox("true"));
  auto waiting = [&] { return engine.docker("ps -q --filter status=running --filter name=davit-sandbox-"); };
  REQUIRE(eventually([&] { return !waiting().empty(); }));
  shell("sleep 1");
  auto all = waiting();
  std::replace(all.begin(), all.end(), '\n', ' ');
  engine.docker("pause " + all);
  auto id = agent.submit(busybox("echo ran; sleep 1"));
  auto ended = agent.wait(id, 30s);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(agent.logs(id).out == "ran\n");
  CHECK(ended.attempts.size() == 1);
  // What runs already is the stranger's to pause, and its owner's to cancel.
  auto running = agent.submit(busybox("echo begun; sleep 100"));
  REQUIRE(eventually([&] { return agent.logs(running).out == "begun\n"; }));
  engine.docker("pause davit-" + to_string(running) + "-1");
  shell("sleep 5");
  CHECK(agent.find(running).state == task_state::running);
  agent.cancel(running);
  CHECK(agent.wait(running, 30s).outcome == outcome::cancelled);
}

TEST_CASE("a container that a stranger restarts has ended for davit, in both ways; nothing waits for it",
          "[strangers]") {
  test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto away = GENERATE(false, true);
  CAPTURE(to_string(start), away);
  test_agent agent{{with_sandboxes(engine, start)}};
  agent.default_start = start;
  auto spec = busybox("echo begun; sleep 100");
  spec.at_most_once = GENERATE(false, true);
  auto id = agent.submit(spec);
  REQUIRE(eventually([&] { return agent.logs(id).out == "begun\n"; }));
  auto name = "davit-" + to_string(id) + "-1";
  if (away)
    agent.process().stop();
  engine.docker("restart -t 0 " + name);
  if (away)
    agent.restart();
  auto ended = agent.wait(id, 30s);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.attempts.size() == 1);
  CHECK(eventually([&] { return engine.docker("ps -aq --filter name=" + name).empty(); }));
}

TEST_CASE("a container that a stranger removes is run again, unless it may run once at most", "[strangers]") {
  test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  CAPTURE(to_string(start));
  test_agent agent{{with_sandboxes(engine, start)}};
  agent.default_start = start;
  auto spec = busybox("echo begun; sleep 3; echo done");
  spec.at_most_once = GENERATE(false, true);
  CAPTURE(spec.at_most_once);
  auto id = agent.submit(spec);
  REQUIRE(eventually([&] { return agent.logs(id).out == "begun\n"; }));
  engine.docker("rm -f davit-" + to_string(id) + "-1");
  auto ended = agent.wait(id, 60s);
  INFO(ended.message);
  CHECK(ended.attempts.front().outcome == outcome::engine_lost);
  CHECK(ended.outcome == (spec.at_most_once ? outcome::engine_lost : outcome::succeeded));
  CHECK(ended.attempts.size() == (spec.at_most_once ? 1 : 2));
}

TEST_CASE("a container that a stranger renames is found, by an agent that stays and by one that comes again",
          "[strangers][restart]") {
  test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto away = GENERATE(false, true);
  CAPTURE(to_string(start), away);
  test_agent agent{{with_sandboxes(engine, start)}};
  agent.default_start = start;
  auto id = agent.submit(busybox("echo begun; sleep 3; echo done; exit 4"));
  REQUIRE(eventually([&] { return agent.logs(id).out == "begun\n"; }));
  if (away)
    agent.process().stop();
  engine.docker("rename davit-" + to_string(id) + "-1 somebodys-" + (away ? "a" : "b") + to_string(start));
  if (away)
    agent.restart();
  auto ended = agent.wait(id, 60s);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 4);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out == "begun\ndone\n");
  CHECK(eventually([&] { return engine.docker("ps -aq --filter name=somebodys").empty(); }));
}

TEST_CASE("cancelling a task that prints without end takes its stop_timeout and no more", "[strangers][outcomes]") {
  test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  CAPTURE(to_string(start));
  test_agent agent{{with_sandboxes(engine, start)}};
  agent.default_start = start;
  auto spec = busybox("yes a line that goes on and on");
  spec.stop_timeout = 1s;
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  shell("sleep 5"); // by then the engine has more than can be read in seconds
  agent.cancel(id);
  auto ended = agent.wait(id, 60s);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(agent.logs(id).notes.find("cancelled") != std::string::npos);
  CHECK(agent.logs(id).out.starts_with("a line that goes on and on\n"));
}

namespace {

/// Speaks HTTP to the engine itself.
struct raw_engine : agent_client {
  explicit raw_engine(const test_engine& engine) { speak_to(engine.socket()); }
  transport::http_response post(const std::string& path, json::object body) {
    return http("POST", path, {{"Content-Type", "application/json"}}, json::write(json::value(std::move(body))));
  }
};

/// Pieces of names, put together at random: good ones, bad ones, and such as are good in other places.
std::string random_name(std::minstd_rand& random, const std::vector<std::string>& pieces, std::size_t most) {
  std::string name;
  for (auto count = 1 + random() % most; count > 0; --count)
    name += pieces[random() % pieces.size()];
  return name;
}

int cases_of(int standard) {
  auto text = std::getenv("DAVIT_NAME_CASES");
  return text ? std::atoi(text) : standard;
}

} // namespace

TEST_CASE("what davit takes for an image's or a volume's name, the engine takes too; and the other way round",
          "[strangers]") {
  test_engine engine{"a"};
  raw_engine raw{engine};
  auto seed = std::random_device{}();
  if (auto text = std::getenv("DAVIT_NAME_SEED"))
    seed = static_cast<unsigned>(std::atoi(text));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  const std::string hex(64, 'a'), many(120, 'b');
  SECTION("images") {
    const std::vector<std::string> pieces{"a",
                                          "b1",
                                          "alpine",
                                          "A",
                                          "Z",
                                          "/",
                                          "/",
                                          "/",
                                          ":",
                                          "@",
                                          ".",
                                          "_",
                                          "__",
                                          "-",
                                          "--",
                                          "..",
                                          "localhost",
                                          "ghcr.io",
                                          "x:5000",
                                          "5000",
                                          "sha256:",
                                          "sha256:" + hex,
                                          "@sha256:" + hex,
                                          "@sha256:ab",
                                          "@sha512:" + hex + hex,
                                          "@md5:" + std::string(32, 'a'),
                                          hex,
                                          many,
                                          std::string(128, 't'),
                                          " ",
                                          "\t",
                                          "[::1]",
                                          "docker.io",
                                          "index.docker.io",
                                          "library/",
                                          "ü",
                                          "%",
                                          "*",
                                          "latest"};
    for (int i = 0; i < cases_of(1500); ++i) {
      auto name = random_name(random, pieces, 6);
      auto answer = raw.post("/containers/create", {{"Image", name}});
      // No such image: its name is one. And "a" may be the beginning of an id of one that is there, which has no
      // command.
      auto taken
        = answer.status == 404 || answer.status == 201 || answer.body.find("No command specified") != std::string::npos;
      CAPTURE(name, answer.status, answer.body);
      auto normal = normalise_image(name);
      // Engines before 25 count the registry too. What davit leaves to them is told in their words.
      if (normal && normal->substr(0, normal->find('@')).size() > 255 && !taken)
        continue;
      // Later ones take a first part with capital letters, or an IPv6 address, for a registry.
      auto first = name.substr(0, name.find('/'));
      if (normal && !taken && name.find('/') != std::string::npos && first.find_first_of(".:") == std::string::npos
          && first.find_first_of("AZ") != std::string::npos)
        continue;
      if (normal && !taken && name.starts_with("["))
        continue;
      // It takes for a registry what could be a part of a path, although no host can have the name.
      if (!normal && taken && name.find('/') != std::string::npos && first.find_first_of(".:") != std::string::npos
          && first.find('_') != std::string::npos)
        continue;
      // What an engine may take for an image's id is not a name for davit.
      if (is_image_id(name)) {
        CHECK_FALSE(normal);
        continue;
      }
      CHECK(normal.has_value() == taken);
      // And davit's form of a name is none for the engine: no image has one of these names.
      if (normal && taken)
        CHECK(raw.post("/containers/create", {{"Image", *normal}}).status == 404);
    }
  }
  SECTION("volumes") {
    const std::vector<std::string> pieces{
      "a", "B", "7", ".", "-", "_", "/", " ", "ü", ":", "\\", many, std::string(15, 'c')};
    std::string wrong;
    auto rules = policy::make({}, wrong);
    for (int i = 0; i < cases_of(1500); ++i) {
      auto name = random_name(random, pieces, 4);
      auto status = raw.post("/volumes/create", {{"Name", name}}).status;
      if (status == 201)
        raw.http("DELETE", "/volumes/" + transport::url_encode(name));
      CAPTURE(name, status);
      auto spec = busybox("true");
      mount one;
      one.type = mount_type::volume;
      one.source = name;
      one.target = "/x";
      spec.mounts.push_back(one);
      CHECK(rules->judge(spec, policy_profile::baseline).violations.empty() == (status == 201));
    }
  }
}

TEST_CASE("followers that take every connection keep neither tasks nor others' logs from their files", "[strangers]") {
  test_engine engine{"a"};
  scratch_folder folder;
  std::ofstream{folder / "davit.conf"} << "davit {\n  agent {\n    data-dir = \"" << (folder / "data")
                                       << "\"\n  }\n  api {\n    listen = \"unix://" << (folder / "api.sock")
                                       << "\"\n  }\n  policy {\n    networks {\n      default = \"none\"\n    }\n  }\n "
                                          " engines {\n    a {\n      endpoint = \"unix://"
                                       << engine.socket() << "\"\n    }\n  }\n}\n";
  process agent{
    {"/bin/sh", "-c", "ulimit -n 256; exec " DAVIT_BINARY " agent --config-file=" + (folder / "davit.conf")}};
  struct client : agent_client {
    using agent_client::speak_to;
  } first, second;
  REQUIRE(eventually([&] { return std::filesystem::exists(folder / "api.sock"); }));
  first.speak_to(folder / "api.sock");
  second.speak_to(folder / "api.sock");
  first.await_engine("a", engine_state::ready);
  second.await_engine("a", engine_state::ready); // both have a connection of their own now
  auto endless = first.submit(busybox("while true; do echo hi; sleep 0.2; done"));
  first.await_state(endless, task_state::running);
  auto before = first.run(busybox("echo before"));
  std::vector<int> followers;
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::strncpy(where.sun_path, (folder / "api.sock").c_str(), sizeof where.sun_path - 1);
  for (int i = 0; i < 300; ++i) {
    auto fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    followers.push_back(fd);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0)
      continue;
    auto request = "GET /v1/tasks/" + to_string(endless) + "/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n";
    [[maybe_unused]] auto sent = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  }
  shell("sleep 1");
  // The clients' idle connections may have been given away: they come in again when followers leave.
  for (std::size_t i = 0; i < 20; ++i)
    ::close(followers[i]);
  shell("sleep 1");
  for (int i = 0; i < 5; ++i) {
    CHECK(first.logs(before.id).out == "before\n");
    auto id = second.submit(busybox("echo again"));
    CHECK(second.wait(id).outcome == outcome::succeeded);
    CHECK(second.logs(id).out == "again\n");
  }
  for (std::size_t i = 20; i < followers.size(); ++i)
    ::close(followers[i]);
  CHECK(agent.err().find("Too many open files") == std::string::npos);
  first.cancel(endless);
  first.wait(endless);
  agent.signal(SIGTERM);
  CHECK(agent.wait().exit_code == 0);
}

TEST_CASE("two engines that report one id are two: no task of one is taken for the other's, and a pruned volume "
          "changes nothing",
          "[strangers][restart]") {
  test_engine first{"a"}, second{"b"};
  auto key
    = [](const test_engine& engine) { return std::filesystem::path{engine.socket()}.parent_path() / "key.json"; };
  second.stop();
  std::filesystem::copy_file(key(first), key(second), std::filesystem::copy_options::overwrite_existing);
  second.start();
  REQUIRE(first.docker("info -f '{{.ID}}'") == second.docker("info -f '{{.ID}}'"));
  test_agent agent{{first.settings(2), second.settings(2)}};
  agent.await_engine("a", engine_state::ready);
  agent.await_engine("b", engine_state::ready);
  std::vector<task_id> running;
  for (auto name : {"a", "b", "a", "b"}) {
    auto spec = busybox("echo begun; sleep 6; echo whole; exit 7");
    spec.engine.labels = {name};
    running.push_back(agent.submit(spec));
  }
  for (auto id : running)
    agent.await_state(id, task_state::running);
  CHECK(agent.find(running[0]).attempts.front().engine_id != agent.find(running[1]).attempts.front().engine_id);
  // Somebody cleans up, and the agent starts again.
  first.docker("volume prune -f");
  second.docker("volume prune -f");
  agent.restart();
  agent.await_engine("a", engine_state::ready);
  agent.await_engine("b", engine_state::ready);
  for (auto id : running) {
    auto ended = agent.wait(id);
    INFO(ended.message);
    CHECK(ended.exit_code == 7);
    CHECK(ended.attempts.size() == 1);
    CHECK(agent.logs(id).out == "begun\nwhole\n");
  }
  auto after = busybox("true");
  after.engine.labels = {"a"};
  CHECK(agent.run(after).attempts.front().engine_id == agent.find(running[0]).attempts.front().engine_id);
  // One engine behind the other's address is another.
  CHECK(first.docker("volume inspect -f '{{index .Labels \"davit.engine\"}}' davit-engine")
        != second.docker("volume inspect -f '{{index .Labels \"davit.engine\"}}' davit-engine"));
}
