// The fleet's actor without an agent: its port, what peers may ask, and what is left when it fails.
#include "actors/fleet.hpp"
#include "actors/metrics.hpp"
#include "actors/supervisor.hpp"
#include "configuration/configuration.hpp"
#include "fixture/certificates.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/tls_configuration.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/openssl/remote_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <sys/resource.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// All descriptors of this process, but for some.
struct exhausted_descriptors {
  rlimit before{};
  std::vector<int> taken;

  explicit exhausted_descriptors(std::size_t spare) {
    ::getrlimit(RLIMIT_NOFILE, &before);
    auto few = before;
    few.rlim_cur = std::min<rlim_t>(before.rlim_cur, 1024);
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (int one = ::dup(2); one >= 0; one = ::dup(2))
      taken.push_back(one);
    for (; spare > 0 && !taken.empty(); --spare, taken.pop_back())
      ::close(taken.back());
  }
  ~exhausted_descriptors() {
    for (auto one : taken)
      ::close(one);
    ::setrlimit(RLIMIT_NOFILE, &before);
  }
};

agent_status living(const std::string& name, const std::string& address = {}) {
  agent_status one;
  one.name = name;
  one.address = address;
  return one;
}

/// Says that there are these agents, or others that it is told.
caf::actor spawn_store(caf::actor_system& system, std::vector<agent_status> agents) {
  return system.spawn([agents = std::move(agents)](caf::event_based_actor*) -> caf::behavior {
    auto all = std::make_shared<std::vector<agent_status>>(agents);
    return {[](news_atom) {}, [=](agents_atom) { return *all; },
            [=](list_atom, const std::vector<agent_status>& now) { *all = now; }};
  });
}

struct fleet_alone {
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "fleet"};
  caf_configuration ours;
  tls_configuration theirs{authority};
  transport::io_runtime io;
  caf::actor_system here{ours};
  caf::scoped_actor self{here};
  std::atomic<int> drains{0};
  /// What the store says; changed by `tell`. At the beginning: agents a and b, of no data directory.
  caf::actor store = spawn_store(here, {living("a"), living("b")});
  caf::actor supervisor
    = here.spawn([this](caf::event_based_actor*) -> caf::behavior { return {[this](drain_atom) { ++drains; }}; });

  std::atomic<int> starts{0};
  supervisor_actor keeper; ///< Of the fleet alone: it is started again when it fails, as in an agent.
  caf::actor fleet;

  ~fleet_alone() {
    caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
    for (const auto& one : {store, supervisor})
      caf::anon_send_exit(one, caf::exit_reason::kill);
    io.stop();
  }

  void tell(std::vector<agent_status> agents) { self->send(store, list_atom_v, std::move(agents)); }

  context_ptr context_of(const std::string& name, std::uint16_t port, caf::actor_system& system) {
    agent_settings settings;
    settings.name = name;
    settings.peers.listen = "127.0.0.1:" + std::to_string(port);
    auto files = authority.issue("gate");
    settings.peers.tls_certificate = files.certificate;
    settings.peers.tls_key = files.key;
    settings.peers.tls_ca = authority.file();
    return std::make_shared<const agent_context>(
      agent_context{settings, io, nullptr, std::make_shared<metrics>(system), nullptr});
  }

  void start(std::uint16_t port) {
    auto context = context_of("a", port, here);
    supervision_plan plan;
    plan.subtrees.push_back({"fleet", false, {}});
    plan.children.push_back(
      {"fleet", "fleet",
       [=, this](directory&) {
         fleet_handles handles{caf::actor_cast<store_actor>(store), {}, caf::actor_cast<supervisor_actor>(supervisor)};
         auto made = fleet = caf::actor_cast<caf::actor>(spawn_fleet(here, context, handles));
         ++starts;
         return made;
       },
       [](const directory&) { return std::nullopt; }});
    keeper = spawn_supervisor(here, context, std::move(plan));
    self->send(keeper, start_atom_v);
  }

  /// The answer to a hello by this name, from an agent that is asked by `there` from then on.
  caf::error hello(caf::actor_system& from, std::uint16_t port, const std::string& name, const caf::actor& there = {}) {
    auto found = caf::openssl::remote_actor<peer_actor>(from, "127.0.0.1", port);
    if (!found)
      return found.error();
    caf::error answer;
    caf::scoped_actor visitor{from};
    visitor
      ->request(*found, 5s, hello_atom_v, peer_hello{peer_hello::current_protocol, "default", name, "0"},
                caf::actor_cast<caf::strong_actor_ptr>(there))
      .receive([](const peer_hello&) {}, [&](const caf::error& e) { answer = e; });
    return answer;
  }

  /// Whether `fleet` has told the agent of this name to drain, whoever that is.
  bool drain(const std::string& name) {
    auto good = false;
    self->request(fleet, 10s, drain_atom_v, name).receive([&] { good = true; }, [](const caf::error&) {});
    return good;
  }

  /// Another agent comes to the port and asks for a drain; false: nobody answers. A system of its own each time: CAF
  /// remembers peers.
  bool visit(std::uint16_t port) {
    caf::actor_system there{theirs};
    auto found = caf::openssl::remote_actor<peer_actor>(there, "127.0.0.1", port);
    if (!found)
      return false;
    caf::scoped_actor visitor{there};
    auto good = false;
    visitor
      ->request(*found, 1s, hello_atom_v, peer_hello{peer_hello::current_protocol, "default", "b", "0"},
                caf::strong_actor_ptr{})
      .receive([&](const peer_hello& hello) { good = hello.agent == "a"; }, [](const caf::error&) {});
    visitor->request(*found, 1s, drain_atom_v).receive([] {}, [&](const caf::error&) { good = false; });
    return good;
  }
};

} // namespace

TEST_CASE_METHOD(fleet_alone, "a fleet whose port is taken is tried again, and has it when it is free", "[fleet]") {
  auto taken = std::make_unique<silent_listener>();
  auto port = taken->port();
  start(port);
  REQUIRE(eventually([&] { return starts > 1; }));
  taken.reset();
  CHECK(eventually([&] { return visit(port); }, 30s));
}

TEST_CASE_METHOD(fleet_alone, "a fleet that fails leaves its port to its successor, and peers speak to that one",
                 "[fleet]") {
  auto port = free_port();
  start(port);
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    auto before = starts.load(), asked = drains.load();
    CHECK(eventually([&] { return visit(port); }, 30s));
    CHECK(drains > asked);
    caf::anon_send_exit(fleet, caf::exit_reason::out_of_workers);
    REQUIRE(eventually([&] { return starts > before; }));
  }
}

TEST_CASE_METHOD(fleet_alone,
                 "a fleet's port without file descriptors ends nothing, and takes peers when there are some",
                 "[fleet]") {
  auto port = free_port();
  start(port);
  REQUIRE(eventually([&] { return visit(port); }, 30s));
  for (std::size_t spare = 0; spare < 6; ++spare) {
    CAPTURE(spare);
    std::vector<raw_client> crowd;
    for (int i = 0; i < 8; ++i)
      crowd.emplace_back(free_socket{});
    exhausted_descriptors none{spare};
    for (auto& one : crowd) {
      one.connect(port);
      one.send(std::string{"\x16\3\1\x40\0\1\0\x3f\xfc", 9});
    }
    crowd.front().read({}, 100);
  }
  CHECK(eventually([&] { return visit(port); }, 30s));
  CHECK(starts == 1);
}

TEST_CASE_METHOD(fleet_alone, "connections that never agree on TLS keep no peer out", "[fleet]") {
  auto port = free_port();
  start(port);
  REQUIRE(eventually([&] { return visit(port); }, 30s));
  std::vector<raw_client> silent;
  for (int i = 0; i < 300; ++i)
    silent.emplace_back(port);
  CHECK(visit(port));
  // More than the gate has places for: the first have given way.
  char byte = 0;
  CHECK(::recv(silent.front().fd, &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE_METHOD(fleet_alone, "a peer whose page of a log makes no sense is not believed, and asks no actor but one",
                 "[fleet]") {
  auto port = free_port();
  start(port);
  REQUIRE(eventually([&] { return visit(port); }, 30s));
  tell({living("a"), living("liar")});
  caf::actor_system there{theirs};
  auto found = caf::openssl::remote_actor<peer_actor>(there, "127.0.0.1", port);
  REQUIRE(found);
  auto liar = there.spawn([](caf::event_based_actor* me) -> caf::behavior {
    return {[me](read_atom, const log_query&) {
      // The answer goes to the fleet's actor: so does a hello.
      me->request(caf::actor_cast<caf::actor>(me->current_sender()), 5s, hello_atom_v,
                  peer_hello{peer_hello::current_protocol, "default", "intruder", "0"},
                  caf::actor_cast<caf::strong_actor_ptr>(me))
        .then([] {}, [](const caf::error&) {});
      log_page page;
      page.records.resize(2);
      return page;
    }};
  });
  struct ended { // whatever the test says: the system waits for it
    caf::actor one;
    ~ended() { caf::anon_send_exit(one, caf::exit_reason::kill); }
  } at_the_end{liar};
  caf::scoped_actor visitor{there};
  visitor
    ->request(*found, 5s, hello_atom_v, peer_hello{peer_hello::current_protocol, "default", "liar", "0"},
              caf::actor_cast<caf::strong_actor_ptr>(liar))
    .receive([](const peer_hello&) {}, [](const caf::error& e) { FAIL(text_of(e)); });
  auto peers = [&] {
    std::vector<std::string> names;
    self->request(fleet, 5s, list_atom_v)
      .receive([&](std::vector<std::string>& all) { names = std::move(all); },
               [](const caf::error& e) { FAIL(text_of(e)); });
    return names;
  };
  REQUIRE(eventually([&] { return peers() == std::vector<std::string>{"liar"}; }));
  std::string answer;
  self->request(fleet, 20s, read_atom_v, std::string{"liar"}, log_query{})
    .receive([&](const log_page&) { answer = "a page"; }, [&](const caf::error& e) { answer = text_of(e); });
  CHECK(answer == "agent liar sent a page that is not valid");
  CHECK(peers() == std::vector<std::string>{"liar"});
}

TEST_CASE_METHOD(fleet_alone, "an agent without a lease in the store is not a peer, and answers nobody", "[fleet]") {
  auto port = free_port();
  start(port);
  REQUIRE(eventually([&] { return visit(port); }, 30s));
  caf::actor_system there{theirs};
  CHECK(text_of(hello(there, port, "nobody")) == "agent nobody has no lease in the store");
  auto gone = living("b");
  gone.state = agent_state::gone;
  tell({living("a"), gone});
  CHECK(text_of(hello(there, port, "b")) == "agent b has no lease in the store");
  // Its own name is another's, who started earlier elsewhere.
  auto other = living("a");
  other.home = uuid::make_v4();
  tell({other, living("b")});
  CHECK(text_of(hello(there, port, "b")) == "another agent named a has the lease in the store");
  tell({living("a"), living("b")});
  CHECK_FALSE(hello(there, port, "b"));
}

TEST_CASE_METHOD(fleet_alone, "an agent that calls itself by another's name does not take the other's place",
                 "[fleet]") {
  auto first = GENERATE(as<std::string>{}, "real", "impostor");
  CAPTURE(first);
  auto port = free_port(), real_port = free_port();
  start(port);
  REQUIRE(eventually([&] { return visit(port); }, 30s));
  std::vector agents{living("a"), living("c", "127.0.0.1:" + std::to_string(real_port))};
  tell(agents);
  caf_configuration real_config;
  caf::actor_system elsewhere{real_config}, from{theirs};
  std::atomic<int> real_drains{0}, false_drains{0};
  auto counting = [](std::atomic<int>& count) {
    return [&count](caf::event_based_actor*) -> caf::behavior {
      return {[&count](drain_atom) { ++count; }, [](news_atom) {}};
    };
  };
  auto real_store = spawn_store(elsewhere, agents);
  auto real_supervisor = elsewhere.spawn(counting(real_drains)), impostor = from.spawn(counting(false_drains));
  fleet_actor real;
  auto start_real = [&] {
    real
      = spawn_fleet(elsewhere, context_of("c", real_port, elsewhere),
                    {caf::actor_cast<store_actor>(real_store), {}, caf::actor_cast<supervisor_actor>(real_supervisor)});
    // When it is a peer, it is the one that is drained.
    return eventually([&] { return drain("c") && real_drains > 0; }, 30s);
  };
  if (first == "real")
    CHECK(start_real());
  CHECK_FALSE(hello(from, port, "c", impostor));
  if (first == "impostor") {
    CHECK(eventually([&] { return drain("c") && false_drains > 0; }, 30s)); // there is nobody else yet
    CHECK(start_real());
    CHECK(eventually([&] {
      auto before = real_drains.load();
      return drain("c") && real_drains > before;
    }));
  }
  auto misled = false_drains.load(), right = real_drains.load();
  for (int i = 0; i < 5; ++i)
    CHECK(drain("c"));
  CHECK(false_drains == misled);
  CHECK(eventually([&] { return real_drains == right + 5; }));
  for (const auto& one : {caf::actor_cast<caf::actor>(real), real_store, real_supervisor, impostor})
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}
