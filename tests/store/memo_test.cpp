#include "store_fixture.hpp"

#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

struct memo_fixture : store_fixture {
  claimed_attempt begin(const std::string& owner) {
    accept(0, {}, "", "", owner);
    auto answer = claim(one_engine);
    REQUIRE(answer.size() == 1);
    return answer.front();
  }
  claimed_attempt succeed(const std::string& owner, const std::string& memo, outcome how = outcome::succeeded) {
    auto work = begin(owner);
    auto result = result_of(work, how);
    result.memo = memo;
    collected_output out;
    out.name = "out";
    result.outputs.push_back(out);
    REQUIRE(store->finish(result).has_value());
    return work;
  }
  static std::string name_of(const claimed_attempt& work) {
    return to_string(work.token.key.task) + '/' + std::to_string(work.token.key.number);
  }
};

} // namespace

TEST_CASE_METHOD(memo_fixture, "the newest success of the same owner is recalled", "[memo]") {
  INFO("url " << url);
  succeed("a", "one");
  std::this_thread::sleep_for(2ms);
  auto newer = succeed("a", "one");
  succeed("b", "one");
  succeed("a", "two", outcome::failed);
  succeed("a", "");
  auto asking = begin("a");
  auto found = store->recall(asking.token, "one");
  REQUIRE(found.has_value());
  CHECK(found->attempt == name_of(newer));
  CHECK(found->agent == "a");
  CHECK(found->outputs.size() == 1);
  CHECK(store->get(asking.token.key.task, "a")->attempts.back().answer_of == name_of(newer));
  for (const std::string memo : {"two", "", "three"}) {
    CHECK(store->recall(asking.token, memo)->attempt.empty());
    CHECK(store->get(asking.token.key.task, "a")->attempts.back().answer_of.empty());
  }
  auto stranger = asking.token;
  stranger.incarnation = uuid::make_v4();
  CHECK(store->recall(stranger, "one").error().code == errc::fenced);
}

TEST_CASE_METHOD(memo_fixture, "what is an answer is kept for as long as the task that it answers", "[memo]") {
  INFO("url " << url);
  auto original = succeed("a", "one");
  auto asking = begin("a");
  auto result = result_of(asking, outcome::succeeded);
  result.answer_of = store->recall(asking.token, "one")->attempt;
  auto tomorrow = std::chrono::system_clock::now() + 24h;
  auto old = [&] { return store->finished_before(tomorrow, 100).value(); };
  CHECK(old().empty()); // already while it is recalled
  succeed("a", "gone");
  CHECK(old().size() == 1); // its log is about to go
  CHECK(store->recall(asking.token, "gone")->attempt.empty());
  CHECK(store->recall(asking.token, "one")->attempt == name_of(original));
  REQUIRE(store->finish(result).has_value());
  CHECK(old().size() == 2);
  REQUIRE(store->forget({original.token.key.task}).has_value());
  CHECK(store->get(original.token.key.task, "a").has_value());
  CHECK(store->recall(begin("a").token, "one")->attempt == name_of(original)); // an answer is not found itself
  REQUIRE(store->forget({asking.token.key.task}).has_value());
  CHECK_FALSE(store->get(asking.token.key.task, "a").has_value());
}
