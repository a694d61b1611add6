// Peers that mean harm at a live agent's port, with and without a certificate of the fleet, while agents of the fleet
// are connected.
#include "fixture/certificates.hpp"
#include "fixture/environment.hpp"
#include "fixture/hostile_peers.hpp"
#include "fixture/peer_session.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// DAVIT_PEERS_BINARY: another build of davit, such as one with a sanitizer.
std::string binary() {
  auto other = std::getenv("DAVIT_PEERS_BINARY");
  return other ? other : DAVIT_BINARY;
}

/// An agent that listens for peers.
class member : public test_daemon {
public:
  member(const std::string& name, const std::string& store, const certificate_authority& authority,
         std::vector<engine_settings> engines = {})
    : member(name, store, authority, std::move(engines), free_port()) {}
  const std::uint16_t port;

  std::size_t descriptors() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{proc("fd")}, {}));
  }
  /// Resident mebibytes.
  std::size_t resident() {
    std::ifstream file{proc("statm")};
    std::size_t size = 0, pages = 0;
    file >> size >> pages;
    return pages * 4096 >> 20;
  }
  bool said_that(const std::string& text) {
    return eventually([&] { return said().find(text) != std::string::npos; });
  }

private:
  member(const std::string& name, const std::string& store, const certificate_authority& authority,
         std::vector<engine_settings> engines, std::uint16_t at)
    : test_daemon(std::move(engines), options(name, store, authority, at), binary()), port(at) {
    start({"ASAN_OPTIONS=detect_container_overflow=0"});
  }
  static std::vector<std::string>
  options(const std::string& name, const std::string& store, const certificate_authority& authority, std::uint16_t at) {
    auto files = authority.issue(name);
    auto set
      = [](const std::string& option, const std::string& value) { return "--davit." + option + "=\"" + value + "\""; };
    return {set("agent.name", name),
            set("store.url", store),
            set("fleet.listen", "127.0.0.1:" + std::to_string(at)),
            set("fleet.tls-ca", authority.file()),
            set("fleet.tls-certificate", files.certificate),
            set("fleet.tls-key", files.key)};
  }
  std::filesystem::path proc(const std::string& what) { return "/proc/" + std::to_string(pid()) + "/" + what; }
};

struct besieged_fleet {
  test_database server;
  std::string url = server.url(server.create());
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "fleet"}, other{folder.path().string(), "other"};
  certificate_files enemy = authority.issue("enemy"), stranger = other.issue("stranger");
  test_engine engine{"a"};
  member a{"a", url, authority, {engine.settings(4)}};

  /// What a peer tells it to do, it does.
  bool hears(member& from) {
    return eventually([&] { return from.said().find("agent a (davit") != std::string::npos; })
        && from.http("POST", "/v1/agents/a/drain").status == 202
        && eventually([&] { return from.call("GET", "/v1/agents").find("draining") != std::string::npos; });
  }
};

} // namespace

TEST_CASE_METHOD(besieged_fleet,
                 "whoever has a certificate and says what no agent says is sent away, and the agent lives",
                 "[fleet][peers]") {
  CHECK(a.said_that("peers find this agent"));
  std::size_t count = 0;
  for (std::size_t i = number_from("DAVIT_PEERS_MESSAGE", 0), first = i; i == first || i < count; ++i) {
    peer_session session{a.port, authority.file(), enemy};
    auto view = session.meet(node_bytes(1000 + i));
    REQUIRE_FALSE(view.there.empty());
    auto all = bad_messages(view);
    count = all.size();
    CAPTURE(all[i].name);
    CHECK(session.say(client_handshake(view.own)));
    session.say(all[i].bytes); // perhaps it does not take them all
    CHECK(session.is_cut());
    REQUIRE(a.running());
    REQUIRE(a.call("GET", "/healthz") == "ok\n");
  }
  member b{"b", url, authority};
  CHECK(hears(b));
}

TEST_CASE_METHOD(besieged_fleet, "peers that mean harm: the agent lives, and others of the fleet are its peers",
                 "[fleet][peers][siege]") {
  member b{"b", url, authority};
  CHECK(b.said_that("agent a (davit"));
  auto descriptors = a.descriptors();
  peers_plan plan;
  plan.port = a.port;
  plan.seed = number_from("DAVIT_PEERS_SEED", 1);
  plan.connections = number_from("DAVIT_PEERS", 8);
  plan.authority = authority.file();
  plan.member = enemy;
  plan.stranger = stranger;
  INFO("DAVIT_PEERS_SEED=" << plan.seed);
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds{number_from("DAVIT_PEERS_SECONDS", 5)};
  peers_report report;
  std::thread besiegers{[&] { report = besiege_as_peers(plan, until); }};
  std::size_t served = 0, most_resident = 0;
  while (std::chrono::steady_clock::now() < until && a.running() && b.running()) {
    // One agent takes the task and reads the log of the other, which runs it.
    auto id = b.submit(busybox("echo here; exit 3"));
    CHECK(b.wait(id).exit_code == 3);
    CHECK(b.logs(id).out == "here\n");
    if (a.http("GET", "/healthz").status == 200)
      ++served;
    most_resident = std::max(most_resident, a.resident());
  }
  besiegers.join();
  REQUIRE(a.running());
  CHECK(served > 0);
  CHECK(report.members > 0);
  CHECK(report.answers > 0);
  CHECK(most_resident < number_from("DAVIT_PEERS_MEBIBYTES", 1500));
  // What is left: those that have not agreed on TLS go by a deadline.
  auto forgotten = eventually([&] { return a.descriptors() <= descriptors + 4; });
  INFO(a.descriptors() << " descriptors, " << descriptors << " before");
  CHECK(forgotten);
  CHECK(hears(b));
  member c{"c", url, authority};
  CHECK(c.said_that("agent a (davit"));
  if (std::getenv("DAVIT_PEERS_SECONDS"))
    WARN(report.strangers << " strangers, " << report.members << " members, " << report.messages << " messages, "
                          << report.answers << " answers, " << served << " tasks; at most " << most_resident << " MiB");
}
