// Images with links, and tasks that mount something there, so that another program lies where davit's init should be:
// it never runs as a container's first process. What is mounted is a volume of the attacker's, in which the program
// leaves a mark if it runs.
#include "fixture/engine_events.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

constexpr int links = 30;

/// busybox, with what the script adds to the folder $d, and with these instructions.
void make_image(const test_engine& engine, const std::string& name, const std::string& script,
                const std::string& instructions = {}) {
  shell("d=$(mktemp -d) && mkdir -p $d/bin $d/tmp && for a in busybox sh ls cat mkdir ln chmod; do cp /bin/busybox "
        "$d/bin/$a; done && { "
        + script + "; } && tar -C $d -c . | docker -H unix://" + engine.socket() + " import " + instructions + " - "
        + name + " >/dev/null && rm -rf $d");
}

mount volume(const std::string& name, const std::string& target) {
  mount one;
  one.source = name;
  one.target = target;
  return one;
}

/// A shell script that takes the init's place: it leaves a mark, what it was given, and a report of success.
std::string fake(const std::string& marks) {
  return "printf '#!/bin/sh\\necho ran > " + marks + "/ran.$$.$HOSTNAME\\necho taken over\\nexit 0\\n'";
}

struct attacker {
  test_agent& agent;

  task run(const std::string& image, const std::string& script, std::vector<mount> mounts,
           start_mode start = start_mode::cold, bool once = false) {
    auto spec = busybox(script);
    spec.image = image;
    spec.mounts = std::move(mounts);
    spec.start = start;
    spec.at_most_once = once;
    if (start == start_mode::warm)
      spec.env["TOKEN"] = "handed over";
    return agent.run(spec);
  }

  /// What the volume's programs have left there.
  std::string marks() {
    auto looked = run("busybox:test", "cd /v && ls | grep ran. || true", {volume("evil", "/v")});
    CHECK(looked.outcome == outcome::succeeded);
    return agent.logs(looked.id).out;
  }
};

} // namespace

TEST_CASE("no link of an image puts what a task mounts in the init's place", "[security][init]") {
  test_engine engine{"a"};
  make_image(engine, "links:test",
             "for i in $(seq " + std::to_string(links)
               + "); do ln -s /.davit $d/l$i; done; ln -s l1 $d/relative; mkdir $d/sub; ln -s ../.davit $d/sub/up");
  // The image's own volumes, which hold what the image has there.
  std::string instructions = "-c 'WORKDIR /l1'";
  for (int i = 1; i <= links; ++i)
    instructions += " -c 'VOLUME /l" + std::to_string(i) + "'";
  make_image(engine, "volumes:test",
             "mkdir $d/.davit $d/v; " + fake("/v") + " > $d/.davit/init; chmod 755 $d/.davit/init; for i in $(seq "
               + std::to_string(links) + "); do ln -s /.davit $d/l$i; done",
             instructions);
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  attacker evil{agent};
  engine_events happened{engine};
  REQUIRE(evil.run("busybox:test", fake("/.davit") + " > /v/init && chmod 755 /v/init", {volume("evil", "/v")}).outcome
          == outcome::succeeded);
  std::vector<mount> all{volume("evil", "/relative"), volume("evil", "/sub/up"), volume("evil", "//l2/")};
  for (int i = 1; i <= links; ++i)
    if (i != 2)
      all.push_back(volume("evil", "/l" + std::to_string(i)));
  struct way {
    start_mode start;
    bool once;
  };
  for (auto round = 0; round < 4; ++round)
    for (auto one : {way{start_mode::cold, false}, way{start_mode::warm, false}, way{start_mode::cold, true}})
      for (std::string image : {"links:test", "volumes:test"}) {
        auto ended
          = evil.run(image, "echo own; exit 5", image == "links:test" ? all : std::vector<mount>{volume("evil", "/v")},
                     one.start, one.once);
        auto log = agent.logs(ended.id);
        const auto& evidence = ended.attempts.back().evidence;
        INFO(image << ", " << to_string(one.start) << (one.once ? ", at most once: " : ": ") << ended.message << "; "
                   << evidence.start << "; " << evidence.note << "\nout: " << log.out << "\nerr: " << log.err);
        CHECK(ended.outcome == outcome::failed);
        CHECK(ended.exit_code == 5);
        CHECK(log.out == "own\n");
        CHECK(ended.attempts.size() == 1);
        CHECK(evidence.start.find("without an init") == std::string::npos);
        CHECK(evidence.start.starts_with(one.start == start_mode::warm ? "warm" : "cold"));
        CHECK(happened.count("create", ended.id) == (one.start == start_mode::warm ? 0 : 1));
      }
  CHECK(evil.marks().empty());
}

TEST_CASE("what a task mounts itself at /.davit is its own", "[init]") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  attacker evil{agent};
  for (auto start : {start_mode::cold, start_mode::warm}) {
    auto ended
      = evil.run("busybox:test", "echo x > /.davit/init; ls /.davit; exit 3", {volume("evil", "/.davit")}, start);
    INFO(ended.message << "; " << ended.attempts.back().evidence.start);
    CHECK(ended.exit_code == 3);
    CHECK(agent.logs(ended.id).out == "init\n");
    CHECK(ended.attempts.back().evidence.start.starts_with(start == start_mode::warm ? "warm" : "cold"));
    CHECK(ended.attempts.back().evidence.start.find("without an init") == std::string::npos);
  }
}

TEST_CASE("nothing is mounted over a container's root through a link", "[security][init]") {
  test_engine engine{"a"};
  make_image(engine, "root:test",
             "ln -s / $d/r1; ln -s r1 $d/r2; mkdir $d/sub; ln -s .. $d/sub/up; ln -s sub/up $d/r3; ln -s /tmp $d/fine");
  auto settings = engine.settings(2);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  attacker evil{agent};
  // A root that the runtime would get along with, as far as it can.
  REQUIRE(
    evil
      .run("busybox:test",
           "cd /v && mkdir -p bin proc/sys/net/ipv4 proc/self/fd dev sys && cp /bin/busybox bin/sh && for r in r1 "
           "r2 r3; do ln -s / $r; done && echo 1 > proc/sys/net/ipv4/ip_unprivileged_port_start",
           {volume("evil", "/v")})
      .outcome
    == outcome::succeeded);
  for (auto start : {start_mode::cold, start_mode::warm})
    for (std::string target : {"/r1", "/r2", "/r3", "//r1/"}) {
      auto ended = evil.run("root:test", "echo own", {volume("evil", target), volume("evil", "/data")}, start);
      INFO(target << ", " << to_string(start) << ": " << ended.message);
      CHECK(ended.outcome == outcome::failed);
      CHECK(ended.message.find("is a link to / in the image docker.io/library/root:test") != std::string::npos);
      CHECK(agent.logs(ended.id).out.empty());
    }
  // No init's folder was ever made in it.
  auto looked = evil.run("busybox:test", "ls -a /v | grep davit || true", {volume("evil", "/v")});
  CHECK(agent.logs(looked.id).out.empty());
  for (auto start : {start_mode::cold, start_mode::warm})
    for (auto round = 0; round < 2; ++round) {
      auto ended = evil.run("root:test", "echo own; exit 4", {volume("evil", "/fine"), volume("evil", "/new")}, start);
      INFO(ended.message << "; " << ended.attempts.back().evidence.start);
      CHECK(ended.exit_code == 4);
      CHECK(ended.attempts.back().evidence.start.find("without an init") == std::string::npos);
    }
}
