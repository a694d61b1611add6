// An engine that is behind when a container ends does not read all that stands in its pipes: the log and the evidence
// say so, and of no log that is whole.
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE("a log whose end the engine has lost says that it may be missing, and no other does", "[output]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  constexpr std::size_t size = 3u << 20;
  auto script = "yes '' | head -c " + std::to_string(size);
  int lost = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<task_id> tasks;
    for (auto start : {start_mode::cold, start_mode::automatic, start_mode::cold, start_mode::automatic}) {
      auto spec = busybox(script); // an entry of the engine's log for each byte
      spec.start = start;
      tasks.push_back(agent.submit(spec));
    }
    for (auto id : tasks) {
      auto ended = agent.wait(id);
      CHECK(ended.outcome == outcome::succeeded);
      auto log = agent.logs(id);
      const auto& note = ended.attempts.back().evidence.note;
      INFO(log.out.size() << " of " << size << " bytes; " << log.notes << "; " << note);
      CHECK(log.out.find_first_not_of('\n') == std::string::npos);
      auto whole = log.out.size() == size;
      lost += whole ? 0 : 1;
      CHECK(log.notes.empty() == whole);
      CHECK((note.find("the engine has lost the log's end") != std::string::npos) == !whole);
    }
  }
  if (lost == 0)
    WARN("the engine kept up, and nothing was lost");
}
