// Agents that speak to each other: with the right certificates alone, of the same fleet alone, and whatever comes at
// the port.
#include "actors/agent_context.hpp"
#include "fixture/certificates.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"
#include "fixture/tls_configuration.hpp"
#include "messages/actors.hpp"

#include <caf/actor_system.hpp>
#include <caf/openssl/remote_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <csignal>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct peer_place {
  std::uint16_t port = free_port();
  certificate_files files;
  std::string address() const { return "127.0.0.1:" + std::to_string(port); }
};

/// A daemon that listens for peers.
class member : public test_daemon {
public:
  member(const std::string& name, std::vector<engine_settings> engines, const std::string& store,
         const certificate_authority& authority, peer_place place, std::vector<std::string> more = {})
    : test_daemon(std::move(engines), options(name, store, authority, place, std::move(more))),
      where(std::move(place)) {
    start();
  }
  peer_place where;
  bool said_that(const std::string& text) {
    auto has = eventually([&] { return said().find(text) != std::string::npos; }, 10s);
    if (!has)
      UNSCOPED_INFO("it said: " << said());
    return has;
  }

private:
  static std::vector<std::string> options(const std::string& name, const std::string& store,
                                          const certificate_authority& authority, const peer_place& place,
                                          std::vector<std::string> more) {
    auto set = [&](const std::string& option, const std::string& value) {
      more.insert(more.begin(), "--davit." + option + "=\"" + value + "\"");
    };
    set("agent.name", name);
    set("store.url", store);
    set("fleet.listen", place.address());
    set("fleet.tls-ca", authority.file());
    set("fleet.tls-certificate", place.files.certificate);
    set("fleet.tls-key", place.files.key);
    more.push_back("--davit.fleet.lease=6s");
    return more;
  }
};

struct fleet_fixture {
  test_database server;
  std::string url = server.url(server.create());
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "fleet"};
  peer_place place(const certificate_authority& by) {
    peer_place made;
    made.files = by.issue("agent-" + std::to_string(made.port));
    return made;
  }
};

} // namespace

TEST_CASE_METHOD(
  fleet_fixture,
  "agents find each other by the store; a live log is followed at another agent, and after its end at any",
  "[fleet][peers]") {
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, url, authority, place(authority)}, b{"b", {}, url, authority, place(authority)};
  CHECK(b.said_that("agent a (davit"));
  CHECK(a.said_that("agent b (davit"));
  auto id = b.submit(busybox("echo first; sleep 3; echo second; seq 20000"));
  b.await_state(id, task_state::running);
  // The first line is there while the task runs.
  auto text = b.stream("/v1/tasks/" + to_string(id) + "/logs?follow=1", {{"Accept", "text/event-stream"}},
                       [](const std::string& all) { return all.find("first") != std::string::npos; });
  CHECK(text.find("first") != std::string::npos);
  CHECK(b.find(id).state == task_state::running);
  auto ended = b.wait(id);
  CHECK(ended.outcome == outcome::succeeded);
  auto whole = a.logs(id).out;
  CHECK(whole.starts_with("first\nsecond\n1\n2\n"));
  CHECK(whole.ends_with("\n20000\n"));
  CHECK(b.logs(id).out == whole);
  // The one that ran it goes away: the log is in the store.
  a.kill();
  member c{"c", {}, url, authority, place(authority)};
  CHECK(eventually([&] { return c.logs(id).out == whole; }));
  CHECK(b.logs(id).out == whole);
  CHECK(b.said_that("agent a is not a peer any more"));
}

TEST_CASE_METHOD(fleet_fixture, "a peer is found by a name alone, where the store does not tell of it",
                 "[fleet][peers]") {
  member a{"a", {}, url, authority, place(authority), {"--davit.fleet.advertise=\"no-such-host.invalid:7301\""}};
  member b{"b",
           {},
           url,
           authority,
           place(authority),
           {"--davit.fleet.peers=[\"localhost:" + std::to_string(a.where.port) + "\", \"no-such-name.invalid:7301\"]"}};
  CHECK(b.said_that("agent a (davit"));
  CHECK(a.said_that("agent b (davit"));
  CHECK(b.said_that("no-such-name.invalid:7301 is not a peer: its name can't be resolved"));
}

TEST_CASE_METHOD(fleet_fixture, "a second agent with a name is refused, and does not take the first one's place",
                 "[fleet][peers]") {
  member a{"a", {}, url, authority, place(authority)}, c{"c", {}, url, authority, place(authority)};
  CHECK(a.said_that("agent c (davit"));
  // It would come to a by the store, and a to it by its configuration.
  auto wrong = place(authority);
  member b{"b", {}, url, authority, place(authority), {"--davit.fleet.peers=[\"" + wrong.address() + "\"]"}};
  CHECK(b.said_that("agent c (davit"));
  member impostor{"c", {}, url, authority, wrong, {"--davit.fleet.peers=[\"" + a.where.address() + "\"]"}};
  CHECK(impostor.said_that("another agent named c uses the store"));
  CHECK(b.said_that(wrong.address() + " is not a peer: another agent named c has the lease in the store"));
  CHECK(b.http("POST", "/v1/agents/c/drain").status == 202);
  CHECK(eventually([&] { return c.http("GET", "/readyz").body.find("draining") != std::string::npos; }));
  CHECK(impostor.http("GET", "/readyz").body.find("draining") == std::string::npos);
  CHECK(impostor.said().find("is a peer now") == std::string::npos);
}

TEST_CASE_METHOD(fleet_fixture, "an agent is drained through another", "[fleet][peers]") {
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, url, authority, place(authority)}, b{"b", {}, url, authority, place(authority)};
  CHECK(b.said_that("agent a (davit"));
  CHECK(b.http("POST", "/v1/agents/a/drain").status == 202);
  CHECK(eventually([&] { return b.call("GET", "/v1/agents").find("draining") != std::string::npos; }));
  CHECK(b.http("POST", "/v1/agents/nobody/drain").status == 404);
}

TEST_CASE_METHOD(fleet_fixture,
                 "who has another authority's certificate, or is of another fleet, is no peer, and both sides say why",
                 "[fleet][peers]") {
  certificate_authority other{folder.path().string(), "other"};
  member a{"a", {}, url, authority, place(authority)};
  member stranger{"stranger", {}, url, other, place(other)};
  CHECK(stranger.said_that("the TLS handshake failed"));
  auto elsewhere = server.url(server.create());
  member foreigner{
    "foreigner",      {},
    elsewhere,        authority,
    place(authority), {"--davit.fleet.name=other", "--davit.fleet.peers=[\"" + a.where.address() + "\"]"}};
  CHECK(foreigner.said_that("is of the fleet"));
  CHECK(a.said_that("refused a peer: agent foreigner is of the fleet \"other\""));
  CHECK(a.said().find("is a peer now") == std::string::npos);
}

TEST_CASE_METHOD(fleet_fixture,
                 "an agent that speaks an older version of the protocol is turned away, and both sides say why",
                 "[fleet][peers]") {
  member a{"a", {}, url, authority, place(authority)};
  CHECK(a.said_that("peers find this agent"));
  tls_configuration old{authority};
  caf::actor_system system{old};
  auto remote = caf::openssl::remote_actor<peer_actor>(system, "127.0.0.1", a.where.port);
  REQUIRE(remote);
  caf::scoped_actor self{system};
  std::string answer = "it was let in";
  self->request(*remote, 10s, hello_atom_v, peer_hello{0, "default", "old", "0.0.1"}, caf::strong_actor_ptr{})
    .receive([](const peer_hello&) {}, [&](const caf::error& e) { answer = text_of(e); });
  CHECK(answer.find("agent old (davit 0.0.1) speaks version 0 of the agents' protocol") != std::string::npos);
  CHECK(answer.find("upgrade the older one") != std::string::npos);
  CHECK(a.said_that("refused a peer: agent old (davit 0.0.1) speaks version 0"));
}

TEST_CASE_METHOD(fleet_fixture, "whatever is sent to the fleet's port does the agent no harm", "[fleet][peers]") {
  member a{"a", {}, url, authority, place(authority)};
  CHECK(a.said_that("peers find this agent"));
  std::minstd_rand random{11};
  for (int round = 0; round < 60; ++round) {
    auto fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(a.where.port);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    std::string bytes(1 + random() % 5000, '\0');
    for (auto& one : bytes)
      one = static_cast<char>(random());
    if (round % 3 == 0) // the beginning of CAF's own handshake, with a length that is a lie
      bytes = std::string{"\0\0\0\0\x7f\xff\xff\xff\0\0\0\0\0\0\0\6", 16} + bytes;
    if (round % 3 == 1) // the beginning of TLS
      bytes = std::string{"\x16\3\1\x40\0\1\0\x3f\xfc", 9} + bytes;
    ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::close(fd);
  }
  CHECK(a.call("GET", "/healthz") == "ok\n");
  member b{"b", {}, url, authority, place(authority)};
  CHECK(a.said_that("agent b (davit"));
}
