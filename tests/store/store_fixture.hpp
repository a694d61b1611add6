// What is promised of a store is promised of each: every test that uses this runs on SQLite and on a real PostgreSQL.
#pragma once

#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <memory>
#include <string>
#include <vector>

namespace davit::test {

using namespace std::chrono_literals;

struct store_fixture {
  scratch_folder folder;
  std::string url;
  std::unique_ptr<store::task_store> store;
  uuid incarnation = uuid::make_v4();
  std::vector<attempt_key> at_work; ///< What was claimed so far.

  store_fixture() {
    auto kind = GENERATE(as<std::string>{}, "sqlite", "postgresql");
    url = kind == "sqlite" ? "sqlite://" + (folder / "davit.db")
                           : test_database::common().url(test_database::common().create());
    open();
  }
  std::unique_ptr<store::task_store> another() const {
    auto opened = store::task_store::open(url);
    if (!opened)
      FAIL(opened.error().message);
    return std::move(*opened);
  }
  void open() {
    store.reset();
    store = another();
  }
  task_id accept(int priority = 0, std::vector<std::string> labels = {}, std::string pinned = "", std::string key = "",
                 std::string owner = "") {
    store::new_task made{uuid::make_v7(), {}, std::move(pinned), std::chrono::system_clock::now(), {},
                         std::move(owner)};
    made.spec.image = "alpine";
    made.spec.priority = priority;
    made.spec.engine.labels = std::move(labels);
    made.spec.dedupe_key = std::move(key);
    auto receipt = store->accept(made);
    REQUIRE(receipt.has_value());
    return receipt->id;
  }
  /// What `agent` and the dead ones have left, as its next incarnation asks for it.
  std::vector<claimed_attempt> take_over(const std::string& agent, uuid next, std::vector<std::string> dead = {}) {
    claim_request request{agent, next, {}};
    request.first = true;
    request.dead_agents = std::move(dead);
    auto answer = store->claim(request, false);
    REQUIRE(answer.has_value());
    return answer->attempts;
  }
  bool beats(const agent_status& agent) {
    auto answer = store->heartbeat(agent, 60s);
    REQUIRE(answer.has_value());
    return *answer;
  }
  /// As a scheduler asks that works at all that it was given.
  store::result<claim_answer> ask(claim_request request, bool private_only = false) {
    request.at_work = at_work;
    auto answer = store->claim(request, private_only);
    if (answer)
      for (const auto& one : answer->attempts)
        at_work.push_back(one.token.key);
    return answer;
  }
  std::vector<claimed_attempt>
  claim(std::vector<engine_offer> offers, bool private_only = false, std::string agent = "a") {
    auto answer = ask({std::move(agent), incarnation, std::move(offers)}, private_only);
    REQUIRE(answer.has_value());
    return answer->attempts;
  }
  attempt_result result_of(const claimed_attempt& work, outcome how) {
    attempt_result result;
    result.token = work.token;
    result.outcome = how;
    result.exit_code = 3;
    result.finished_at = std::chrono::system_clock::now();
    result.phases["run"] = 1.5;
    result.evidence.inspect = "{}";
    result.engine_id = work.task.attempts.back().engine_id;
    result.image = work.task.spec.image;
    return result;
  }
};

inline const std::vector<engine_offer> one_engine{{"e", "id", {"x"}, 10, 10}};

} // namespace davit::test
