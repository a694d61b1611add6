// An engine that is behind when a container ends does not read all that stands in its pipes: the log and the evidence
// say so.
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("a log whose end the engine has lost says that it may be missing, and so does the evidence", "[output]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(1)}};
  constexpr std::size_t size = 3u << 20; // an entry of the engine's log for each byte
  int lost = 0;
  for (auto start : {start_mode::cold, start_mode::automatic}) {
    auto spec = busybox("yes '' | head -c " + std::to_string(size));
    spec.start = start;
    auto ended = agent.wait(agent.submit(spec), 10min);
    CHECK(ended.outcome == outcome::succeeded);
    auto log = agent.logs(ended.id);
    const auto& note = ended.attempts.back().evidence.note;
    INFO(log.out.size() << " of " << size << " bytes; " << log.notes << "; " << note);
    CHECK(log.out.find_first_not_of('\n') == std::string::npos);
    auto whole = log.out.size() == size;
    lost += whole ? 0 : 1;
    // If the engine has lost the init's word alone, nobody can know that the rest is whole.
    auto told = log.notes.find("may be missing") != std::string::npos;
    CHECK((whole || told));
    CHECK((note.find("the engine has lost the log's end") != std::string::npos) == told);
  }
  if (lost == 0)
    WARN("the engine kept up, and nothing was lost");
}
