// The store keeper: what it commits together, and what becomes of it when a commit fails, or when it dies after one.
#include "actors/agent_context.hpp"
#include "actors/metrics.hpp"
#include "actors/store_keeper.hpp"
#include "configuration/configuration.hpp"
#include "fixture/agent_client.hpp"
#include "fixture/commit_thief.hpp"
#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"
#include "passing_store.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <catch2/generators/catch_generators.hpp>

#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// How a test wants its store to behave. Shared between the test and the keeper's thread.
struct plan {
  std::atomic<int> batches{0}, rows{0}; ///< That were run: batches, and writes in them.
  std::atomic<int> lists{0};
  std::atomic<int> lists_before_beat{-1};
  std::atomic<int> die_after_commit{-1};       ///< In the batch of this number.
  std::atomic<int> fail_from{-1}, fail_to{-1}; ///< Batches that fail.
  std::atomic<bool> away = false;              ///< And how.
  std::atomic<bool> lose_answers = false;      ///< They are done before they fail.
  std::promise<void> begun;
  std::shared_future<void> gate;       ///< The first batch waits for it, if it is there.
  std::shared_future<void> asked_gate; ///< And whoever asks for the last event.
};

class planned_store final : public passing_store {
public:
  planned_store(std::unique_ptr<store::task_store> to, std::shared_ptr<plan> how)
    : passing_store(std::move(to)), plan_(std::move(how)) {}

  store::result<void> batch(const std::function<void()>& work) override {
    auto number = plan_->batches++;
    if (number == 0 && plan_->gate.valid()) {
      plan_->begun.set_value();
      plan_->gate.wait();
    }
    auto fails = number >= plan_->fail_from && number < plan_->fail_to;
    if (fails && !plan_->lose_answers)
      return store::error{store::errc::unavailable, "the database is ill", plan_->away};
    auto done = passing_store::batch(work);
    if (number == plan_->die_after_commit)
      throw std::runtime_error("killed between the commit and its answers");
    if (fails)
      return store::error{store::errc::unavailable, "the answer was lost"};
    return done;
  }

  store::result<std::int64_t> last_event() override {
    if (plan_->asked_gate.valid())
      plan_->asked_gate.wait();
    return passing_store::last_event();
  }

  store::result<bool> heartbeat(const agent_status& agent, duration lease) override {
    plan_->lists_before_beat = plan_->lists.load();
    return passing_store::heartbeat(agent, lease);
  }

  store::result<task_page> list(const task_query& query) override {
    ++plan_->lists;
    return passing_store::list(query);
  }

  store::result<task_receipt> accept(const store::new_task& task) override {
    ++plan_->rows;
    if (task.spec.name == "bad")
      return store::error{store::errc::conflict, "it is bad"};
    if (task.spec.name == "poison")
      throw std::runtime_error("it is poison");
    return passing_store::accept(task);
  }

private:
  std::shared_ptr<plan> plan_;
};

struct fixture {
  scratch_folder folder;
  caf_configuration config;
  transport::io_runtime io;
  caf::actor_system system{config};
  std::string url = "sqlite://" + (folder / "davit.db");
  std::shared_ptr<plan> how = std::make_shared<plan>();
  caf::scoped_actor self{system};
  std::vector<store_actor> keepers;

  fixture() { spdlog::set_level(spdlog::level::off); } // what fails does so on purpose

  ~fixture() {
    spdlog::set_level(spdlog::level::info);
    for (const auto& one : keepers) {
      self->send_exit(one, caf::exit_reason::user_shutdown);
      self->wait_for(one);
    }
    io.stop();
  }

  agent_settings settings() const {
    agent_settings made;
    made.name = "a";
    made.data_dir = folder.path();
    made.store_url = url;
    made.min_free_disk = byte_size{0};
    return made;
  }

  store_actor spawn(std::shared_ptr<const data_files> files = nullptr) {
    auto settings = this->settings();
    std::string wrong;
    auto context = std::make_shared<const agent_context>(
      agent_context{settings, io, policy::make(settings.policy, wrong), std::make_shared<metrics>(system), nullptr});
    keepers.push_back(spawn_store_keeper(
      system, context,
      [how = how](const std::string& where) -> store::result<std::unique_ptr<store::task_store>> {
        auto opened = store::task_store::open(where);
        if (!opened)
          return opened.error();
        return std::unique_ptr<store::task_store>{std::make_unique<planned_store>(std::move(*opened), how)};
      },
      std::move(files)));
    return keepers.back();
  }

  static task_spec spec_of(std::string name) {
    task_spec spec;
    spec.image = "a";
    spec.name = std::move(name);
    return spec;
  }

  template <class Result, class... Args>
  std::optional<Result> ask(const store_actor& whom, Args... args) {
    std::optional<Result> result;
    self->request(whom, 60s, std::move(args)...)
      .receive([&](Result& answer) { result = std::move(answer); }, [](const caf::error&) {});
    return result;
  }

  /// Whether each was accepted, in the order in which they were sent.
  std::vector<bool> answers(std::size_t count) {
    std::vector<bool> all;
    while (all.size() < count)
      self->receive([&](const task_receipt&) { all.push_back(true); }, [&](const caf::error&) { all.push_back(false); },
                    caf::after(60s) >> [&] { FAIL("only " << all.size() << " were answered"); });
    return all;
  }

  /// One write whose commit is held, and more that come meanwhile; then the commit goes on.
  void send_behind(const store_actor& keeper, int more, std::promise<void>& open) {
    send_accept(keeper, "first");
    how->begun.get_future().wait();
    for (int i = 0; i < more; ++i)
      send_accept(keeper, "next");
    open.set_value();
  }

  void send_accept(const store_actor& keeper, const std::string& name) {
    self->send(keeper, accept_atom_v, spec_of(name), std::string{"me"});
  }

  std::size_t tasks() const {
    auto store = store::task_store::open(url);
    task_query query;
    query.limit = 1000;
    return (*store)->list(query)->tasks.size();
  }
};

claim_request request_of(uuid incarnation, std::vector<attempt_key> at_work, std::uint32_t room = 8) {
  claim_request request{"a", incarnation, {{"e", "id", {label_wanted(fixture::spec_of(""))}, 64, room}}};
  request.at_work = std::move(at_work);
  return request;
}

} // namespace

TEST_CASE_METHOD(fixture, "what comes while a commit runs is the next commit, all of it") {
  std::promise<void> open;
  how->gate = open.get_future().share();
  auto keeper = spawn();
  send_behind(keeper, 50, open);
  CHECK(answers(51) == std::vector<bool>(51, true));
  CHECK(how->batches == 2);
  CHECK(how->rows == 51);
}

TEST_CASE_METHOD(fixture, "one write that can't be done takes no other with it") {
  std::promise<void> open;
  how->gate = open.get_future().share();
  auto keeper = spawn();
  send_accept(keeper, "first");
  how->begun.get_future().wait();
  for (auto name : {"good", "bad", "good", "poison", "good"})
    send_accept(keeper, name);
  open.set_value();
  CHECK(answers(6) == std::vector<bool>{true, true, false, true, false, true});
  CHECK(tasks() == 4);
}

TEST_CASE_METHOD(fixture, "a commit whose answer is lost is done again, write by write, and each task is there once") {
  std::promise<void> open;
  how->gate = open.get_future().share();
  how->lose_answers = true;
  how->fail_from = 1;
  how->fail_to = 2;
  auto keeper = spawn();
  send_behind(keeper, 20, open);
  CHECK(answers(21) == std::vector<bool>(21, true));
  CHECK(how->batches == 22);
  CHECK(tasks() == 21);
}

TEST_CASE_METHOD(fixture, "a database that can't be reached is tried once for all that wait, not once for each") {
  std::promise<void> open;
  how->gate = open.get_future().share();
  how->away = true;
  how->fail_from = 1;
  how->fail_to = 2;
  auto keeper = spawn();
  send_behind(keeper, 20, open);
  auto all = answers(21);
  CHECK(std::count(all.begin(), all.end(), true) == 1);
  CHECK(how->batches == 2);
  send_accept(keeper, "later");
  CHECK(answers(1).front());
}

TEST_CASE_METHOD(
  fixture, "a store keeper that dies between a commit and its answers: what it has claimed is in the next answer") {
  if (GENERATE(false, true))
    url = test_database::common().url(test_database::common().create());
  auto keeper = spawn();
  for (int i = 0; i < 5; ++i)
    send_accept(keeper, "task");
  answers(5);
  auto incarnation = uuid::make_v4();
  how->die_after_commit = how->batches.load();
  CHECK_FALSE(ask<claim_answer>(keeper, claim_atom_v, request_of(incarnation, {}, 3)));
  keeper = spawn();
  auto found = ask<claim_answer>(keeper, claim_atom_v, request_of(incarnation, {}, 2));
  REQUIRE(found);
  CHECK(found->attempts.size() == 5); // three that were lost, two new ones
  CHECK(std::count_if(found->attempts.begin(), found->attempts.end(), [](const auto& one) { return one.resumed; })
        == 3);
  std::vector<attempt_key> at_work;
  for (const auto& one : found->attempts) {
    at_work.push_back(one.token.key);
    CHECK(one.token.incarnation == incarnation);
    CHECK(one.task.attempts.size() == 1);
  }
  CHECK(ask<claim_answer>(keeper, claim_atom_v, request_of(incarnation, at_work))->attempts.empty());
}

TEST_CASE_METHOD(
  fixture, "answers to COMMIT are lost again and again under load: each task is accepted once, run once, ended once",
  "[postgresql]") {
  auto& server = test_database::common();
  auto name = server.create();
  commit_thief thief{server.port()};
  url = server.url(name, thief.port());
  auto keeper = spawn();
  thief.steal_every(3);
  auto incarnation = uuid::make_v4();
  constexpr std::size_t count = 60;
  std::set<task_id> accepted;
  std::set<attempt_key> at_work, begun;
  std::size_t ended = 0, lost_claims = 0;
  auto finish_one = [&](const attempt_token& token) {
    attempt_result result;
    result.token = token;
    result.outcome = outcome::succeeded;
    result.finished_at = std::chrono::system_clock::now();
    for (bool stored = false; !stored;) // as an executor does
      self->request(keeper, 60s, finish_atom_v, result)
        .receive([&] { stored = true; }, [&](const caf::error& e) { REQUIRE_FALSE(e == store_errc::fenced); });
    at_work.erase(token.key);
    ++ended;
  };
  for (std::size_t i = 0; i < count; i += 10) {
    for (std::size_t k = 0; k < 10; ++k)
      send_accept(keeper, "task");
    for (std::size_t k = 0; k < 10; ++k)
      self->receive([&](const task_receipt& receipt) { CHECK(accepted.insert(receipt.id).second); },
                    [&](const caf::error&) { /* tells its client so */ }, caf::after(60s) >> [] { FAIL("no answer"); });
    auto answer = ask<claim_answer>(keeper, claim_atom_v, request_of(incarnation, {at_work.begin(), at_work.end()}, 8));
    if (!answer) {
      ++lost_claims;
      continue;
    }
    for (const auto& one : answer->attempts) {
      CHECK(begun.insert(one.token.key).second); // none is given twice
      at_work.insert(one.token.key);
    }
    while (at_work.size() > 4)
      finish_one({*at_work.begin(), incarnation});
  }
  thief.steal_every(0);
  for (;;) {
    auto answer
      = ask<claim_answer>(keeper, claim_atom_v, request_of(incarnation, {at_work.begin(), at_work.end()}, 64));
    REQUIRE(answer);
    for (const auto& one : answer->attempts) {
      CHECK(begun.insert(one.token.key).second);
      at_work.insert(one.token.key);
    }
    if (at_work.empty())
      break;
    while (!at_work.empty())
      finish_one({*at_work.begin(), incarnation});
  }
  INFO(thief.stolen() << " answers were lost, of claims " << lost_claims);
  CHECK(thief.stolen() > 10);
  auto all = server.sql(name, "SELECT COUNT(*), COUNT(*) FILTER (WHERE state = 'finished'), MAX(attempts) FROM task");
  CHECK(all == std::to_string(ended) + "|" + std::to_string(ended) + "|1\n");
  for (auto id : accepted)
    CHECK(begun.contains({id, 1}));
  CHECK(server.sql(name, "SELECT COUNT(*) FROM attempt") == std::to_string(ended) + "\n");
  CHECK(server.sql(name, "SELECT COUNT(*) FROM event")
        == std::to_string(3 * ended) + "\n"); // accepted, claimed, finished
  // Of the clients that were told of a failure some have a task all the same; of the others none has two.
  CHECK(ended >= accepted.size());
  CHECK(ended <= count);
}

TEST_CASE_METHOD(fixture,
                 "the answers to several COMMITs are lost one after another, and no connection is had in between: no "
                 "client is told that its task was not accepted which was",
                 "[postgresql]") {
  auto refused = GENERATE(0, 2);
  CAPTURE(refused);
  auto& server = test_database::common();
  auto name = server.create();
  commit_thief thief{server.port()};
  url = server.url(name, thief.port());
  auto keeper = spawn();
  REQUIRE(ask<task_counts>(keeper, count_atom_v)); // it has opened the store
  thief.refuse_after_theft(refused);
  thief.steal(4);
  // While the keeper answers something else, so that one commit has all three.
  std::promise<void> open;
  how->asked_gate = open.get_future().share();
  caf::anon_send(keeper, ping_atom_v);
  for (int i = 0; i < 3; ++i)
    send_accept(keeper, "task");
  open.set_value();
  CHECK(answers(3) == std::vector<bool>(3, true));
  CHECK(thief.stolen() == 4);
  CHECK(server.sql(name, "SELECT COUNT(*), COUNT(DISTINCT id) FROM task") == "3|3\n");
  CHECK(server.sql(name, "SELECT COUNT(*) FROM event") == "3\n");
  send_accept(keeper, "later");
  CHECK(answers(1).front());
}

TEST_CASE_METHOD(fixture, "a heartbeat is committed before what was asked for earlier") {
  auto keeper = spawn();
  REQUIRE(ask<task_counts>(keeper, count_atom_v)); // it has opened the store
  std::promise<void> open;
  how->asked_gate = open.get_future().share();
  caf::anon_send(keeper, ping_atom_v);
  constexpr int lists = 200;
  for (int i = 0; i < lists; ++i)
    self->send(keeper, list_atom_v, task_query{});
  agent_status me;
  me.name = "a";
  me.incarnation = uuid::make_v4();
  auto beat = self->request<caf::message_priority::high>(keeper, 60s, beat_atom_v, me, duration{60s});
  open.set_value();
  beat.receive([](bool good) { CHECK(good); }, [](const caf::error& e) { FAIL(text_of(e)); });
  CHECK(how->lists_before_beat >= 0);
  CHECK(how->lists_before_beat < lists / 2);
}

TEST_CASE_METHOD(fixture, "a keeper that ends while an acceptance is in doubt has not said that it was refused",
                 "[postgresql]") {
  auto& server = test_database::common();
  auto name = server.create();
  commit_thief thief{server.port()};
  url = server.url(name, thief.port());
  auto keeper = spawn();
  REQUIRE(ask<task_counts>(keeper, count_atom_v)); // it has opened the store
  thief.refuse_after_theft(1'000'000);
  thief.steal(1);
  caf::error answer;
  auto asked = self->request(keeper, 60s, accept_atom_v, spec_of("task"), std::string{"me"});
  CHECK(eventually([&] { return thief.stolen() == 1; }));
  self->send_exit(keeper, caf::exit_reason::kill);
  asked.receive([](const task_receipt&) { FAIL("nobody can know"); }, [&](const caf::error& e) { answer = e; });
  CHECK(answer.category() == caf::type_id_v<caf::sec>);
  CHECK(server.sql(name, "SELECT COUNT(*) FROM task") == "1\n");
}

TEST_CASE_METHOD(fixture, "nothing is accepted into a file that was removed or replaced, and no new one is made",
                 "[store_keeper]") {
  auto how_lost = GENERATE(as<std::string>{}, "removed", "moved", "replaced", "folder");
  CAPTURE(how_lost);
  std::filesystem::create_directory(folder / "data");
  url = "sqlite://" + (folder / "data/davit.db");
  spawn();
  self->send_exit(keepers.back(), caf::exit_reason::user_shutdown);
  self->wait_for(keepers.back());
  auto files = std::make_shared<const data_files>(settings());
  auto keeper = spawn(files);
  REQUIRE(ask<task_receipt>(keeper, accept_atom_v, spec_of("before"), std::string{}));
  auto name = folder / "data/davit.db", aside = folder / "aside";
  auto change = how_lost == "removed" ? "rm " + name
              : how_lost == "moved"   ? "mv " + name + " " + aside
              : how_lost == "folder"  ? "mv " + (folder / "data") + " " + aside
                                      : "cp " + name + " " + aside + "; mv " + aside + " " + name;
  REQUIRE(std::system(change.c_str()) == 0);
  CHECK_FALSE(ask<task_receipt>(keeper, accept_atom_v, spec_of("lost"), std::string{}));
  self->wait_for(keeper);
  auto next = spawn(files);
  self->monitor(next);
  self->receive([&](const caf::down_msg& down) {
    CHECK(text_of(down.reason).starts_with(name + (how_lost == "replaced" ? " was replaced" : " was removed")));
  });
  CHECK(std::filesystem::exists(name) == (how_lost == "replaced"));
  if (how_lost != "folder")
    return;
  REQUIRE(std::system(("mv " + aside + " " + (folder / "data")).c_str()) == 0);
  CHECK(ask<task_receipt>(spawn(files), accept_atom_v, spec_of("again"), std::string{}));
}

TEST_CASE_METHOD(fixture, "a store's file that goes is missed without a write", "[store_keeper]") {
  REQUIRE(ask<task_counts>(spawn(), count_atom_v));
  auto keeper = spawn(std::make_shared<const data_files>(settings()));
  REQUIRE(ask<task_counts>(keeper, count_atom_v));
  std::filesystem::remove(folder / "davit.db");
  self->wait_for(keeper);
}
