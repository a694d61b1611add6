// What comes of every event in every step: attempt_table.txt says it, and is to be read. DAVIT_WRITE_TABLE=1 writes it
// anew after a change that is meant.
#include "actors/attempt_samples.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace davit;
using namespace davit::test;

namespace {

const std::string file = DAVIT_SOURCE "/tests/actors/attempt_table.txt";

/// The step that comes next and what is done; empty: nothing comes of it.
std::string outcome_of(const attempt_run& before, const event& happened) {
  auto [after, actions] = next(before, happened, moment());
  std::string text;
  for (const auto& one : actions)
    if (auto words = describe(one); !words.empty())
      text += (text.empty() ? "" : ", ") + words;
  auto there = describe(after);
  if (there == describe(before) && text.empty())
    return {};
  return (there == describe(before) ? "stays" : "-> " + there) + (text.empty() ? "" : " [" + text + "]");
}

/// Names with commas, in lines that can be read.
struct paragraph {
  std::string text;
  std::size_t width = 120;

  void add(const std::string& one) {
    auto first = text.empty();
    width += one.size() + 2;
    if (width > 116) {
      text += std::string{first ? "" : ","} + "\n    " + one;
      width = one.size() + 4;
    } else {
      text += (first ? "" : ", ") + one;
    }
  }
};

/// The table's lines for one step.
std::string lines_of(const std::string& name, const attempt_run& run) {
  std::ostringstream out;
  paragraph nothing, mistakes;
  for (const auto& [event_name, happened] : every_event()) {
    auto comes = outcome_of(run, happened);
    if (comes.empty())
      nothing.add(event_name);
    else if (comes == "stays [MISTAKE]")
      mistakes.add(event_name);
    else
      out << "  " << event_name << ": " << comes << "\n";
  }
  return "# " + name + "\n" + out.str() + "  nothing comes of:" + nothing.text + "\n  can't be:" + mistakes.text
       + "\n\n";
}

} // namespace

TEST_CASE("every event in every step does what the table says", "[attempt]") {
  std::string table;
  for (const auto& [name, run] : every_step())
    table += lines_of(name, run);
  if (std::getenv("DAVIT_WRITE_TABLE"))
    std::ofstream{file} << table;
  std::ifstream in{file};
  std::istringstream now{table};
  std::string expected, actual, section;
  while (std::getline(now, actual)) {
    REQUIRE(std::getline(in, expected));
    if (actual.starts_with("# "))
      section = actual;
    INFO(section);
    CHECK(actual == expected);
  }
  CHECK_FALSE(std::getline(in, expected));
}
