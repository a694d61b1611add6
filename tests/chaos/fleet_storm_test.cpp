// The promises of a fleet under random faults: three agents, three engines of which each agent reaches two, one
// PostgreSQL. Agents, engines and the database are killed and frozen, and agents are cut off from the database and from
// each other. DAVIT_CHAOS_SEED and DAVIT_CHAOS_ROUNDS choose.
//
//     agent a --- engine 0          each agent --- its own way to the database,
//          \   /                                   which can be cut
//     agent b --- engine 1
//          \   /
//     agent c --- engine 2 --- (agent a)
#include "chaos/storm.hpp"
#include "fixture/certificates.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <filesystem>
#include <iostream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// An agent, its way to the database, and the way of the others to it.
struct ship {
  scratch_folder folder;
  cutting_proxy proxy;
  std::uint16_t own_port = free_port();
  cutting_proxy peers{own_port};
  std::unique_ptr<test_daemon> agent;

  ship(const std::string& name, std::vector<engine_settings> engines, const test_database& server,
       const std::string& database, const certificate_authority& authority)
    : proxy(server.socket()) {
    auto files = authority.issue(name);
    auto port = [](std::uint16_t number) { return "=\"127.0.0.1:" + std::to_string(number) + "\""; };
    std::filesystem::create_symlink(proxy.socket(), folder / ".s.PGSQL.5432");
    agent = std::make_unique<test_daemon>(
      std::move(engines),
      std::vector<std::string>{
        "--davit.agent.name=\"" + name + "\"", "--davit.agent.drain-timeout=200ms", "--davit.fleet.lease=6s",
        "--davit.fleet.listen" + port(own_port), "--davit.fleet.advertise" + port(peers.port()),
        "--davit.fleet.tls-ca=\"" + authority.file() + "\"",
        "--davit.fleet.tls-certificate=\"" + files.certificate + "\"", "--davit.fleet.tls-key=\"" + files.key + "\"",
        "--davit.store.url=\"postgresql://davit@/" + database + "?host=" + folder.path().string() + "&port=5432\""});
  }
};

class fleet_storm {
public:
  explicit fleet_storm(unsigned seed) : random_(seed) {
    for (int i = 0; i < 3; ++i) {
      engines_.push_back(std::make_unique<test_engine>(
        "e" + std::to_string(i), i == 0 ? std::vector<std::string>{"--live-restore"} : std::vector<std::string>{}));
      witnesses_.push_back(std::make_unique<witness>(*engines_.back()));
    }
    for (std::size_t i = 0; i < 3; ++i) {
      auto first = engines_[i]->settings(3), second = engines_[(i + 1) % 3]->settings(3);
      first.sandboxes = second.sandboxes = 2;
      first.grace = second.grace = 60s;
      first.log_files = engines_[i]->containers(); // whoever takes its tasks over asks the engine
      ships_.push_back(std::make_unique<ship>(std::string(1, static_cast<char>('a' + i)),
                                              std::vector<engine_settings>{first, second}, server_, database_,
                                              authority_));
      ships_.back()->agent->start();
    }
  }

  void round(tally& count) {
    const std::vector<std::string> faults{
      "agent killed",        "agent frozen",       "agent drained",          "engine killed",
      "engine frozen",       "database killed",    "database frozen",        "agent cut from the database",
      "agents cut from one", "agents deaf to one", "agent and engine killed"};
    auto tasks = rough_round(
      random_, count, faults, [&] { return submit_for_certain(random_, any_agent()); },
      [&](const std::string& fault) { strike(fault); });
    for (const auto& one : tasks)
      judge(any_agent(), one, count, said());
    ++count.rounds;
    for (const auto& engine : engines_) {
      auto clean = eventually([&] { return engine->leftovers().empty(); }, 120s);
      INFO(engine->docker("ps -a") << said());
      REQUIRE(clean);
    }
  }

  void final_check() {
    for (const auto& one : witnesses_)
      check_witness(*one);
  }

private:
  std::string said() {
    std::string all;
    for (const auto& one : ships_)
      all += one->agent->said() + "\n--\n";
    return all;
  }

  test_daemon& any_agent() { return *ships_[static_cast<std::size_t>(draw(random_, 0, 2))]->agent; }

  void strike(const std::string& fault) {
    auto& [folder, proxy, own_port, peers, agent] = *ships_[static_cast<std::size_t>(draw(random_, 0, 2))];
    auto at = static_cast<std::size_t>(draw(random_, 0, 2));
    auto& engine = *engines_[at];
    if (fault == "agent killed") {
      agent->kill();
      pause(random_, 0, 9000); // shorter and longer than a lease
      agent->start();
    } else if (fault == "agent frozen") {
      agent->signal(SIGSTOP);
      pause(random_, 100, 9000);
      agent->signal(SIGCONT);
    } else if (fault == "agent drained") {
      agent->signal(SIGTERM);
      agent->wait_end();
      agent->start();
    } else if (fault == "engine killed") {
      engine.kill();
      pause(random_, 0, 2000);
      engine.start();
      witnesses_[at]->watch();
    } else if (fault == "engine frozen") {
      engine.freeze();
      pause(random_, 100, 6000);
      engine.thaw();
    } else if (fault == "database killed") {
      server_.kill();
      pause(random_, 0, 2000);
      server_.start();
    } else if (fault == "database frozen") {
      server_.freeze();
      pause(random_, 100, 3000);
      server_.thaw();
    } else if (fault == "agents cut from one") {
      for (int i = draw(random_, 1, 5); i > 0; --i) {
        peers.cut();
        pause(random_, 0, 300);
      }
    } else if (fault == "agents deaf to one") {
      peers.silence(true);
      pause(random_, 100, 9000);
      peers.silence(false);
    } else if (fault == "agent cut from the database") {
      proxy.silence(true);
      pause(random_, 100, 12'000);
      proxy.silence(false);
      proxy.cut();
    } else {
      agent->kill();
      engine.kill();
      engine.start();
      witnesses_[at]->watch();
      agent->start();
    }
  }

  dice random_;
  scratch_folder folder_;
  certificate_authority authority_{folder_.path().string(), "fleet"};
  test_database server_;
  std::string database_ = server_.create();
  std::vector<std::unique_ptr<test_engine>> engines_;
  std::vector<std::unique_ptr<witness>> witnesses_;
  std::vector<std::unique_ptr<ship>> ships_;
};

} // namespace

TEST_CASE("random faults in a fleet: every accepted task ends once, with its own code and its whole log, in one "
          "container per attempt, and nothing is left",
          "[random-fleet]") {
  auto seed = number_of("DAVIT_CHAOS_SEED", 1), rounds = number_of("DAVIT_CHAOS_ROUNDS", 2);
  INFO("seed " << seed);
  tally count;
  fleet_storm faults{static_cast<unsigned>(seed)};
  for (int i = 0; i < rounds; ++i)
    faults.round(count);
  faults.final_check();
  std::cout << "fleet, seed " << seed << ": " << count.text() << '\n';
}
