// What the documents say of what the code has: every metric, and tables without a stray cell.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace {

std::string read_source(const std::string& path) {
  std::ifstream in{std::string{DAVIT_SOURCE} + "/" + path};
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

std::set<std::string> all_matches(const std::string& text, const char* pattern, int group) {
  std::set<std::string> found;
  std::regex expression{pattern};
  for (std::sregex_iterator one{text.begin(), text.end(), expression}, none; one != none; ++one)
    found.insert((*one)[group]);
  return found;
}

/// The cells of a table's row; a bar behind a backslash or in code is none's end.
std::size_t cells(const std::string& row) {
  std::size_t bars = 0;
  bool code = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] == '`')
      code = !code;
    else if (row[i] == '\\')
      ++i;
    else if (row[i] == '|' && !code)
      ++bars;
  }
  return bars;
}

} // namespace

TEST_CASE("every metric is in the operator's manual, and no other") {
  auto manual = read_source("docs/operations.md");
  auto begin = manual.find("| metric |");
  REQUIRE(begin != std::string::npos);
  auto table = manual.substr(begin, manual.find("\n\n", begin) - begin);
  std::set<std::string> made;
  auto source = read_source("actors/metrics.cpp") + read_source("api/certificate_watch.cpp");
  for (auto name : all_matches(source, "\"davit\", \"([a-z-]+)\"", 1)) {
    std::replace(name.begin(), name.end(), '-', '_');
    made.insert("davit_" + name);
  }
  for (auto name : all_matches(read_source("api/metrics_text.cpp"), "\"(davit_[a-z_]+)\"", 1))
    made.insert(name);
  REQUIRE(made.size() > 20);
  auto told = all_matches(table, "`(davit_[a-z_]+)", 1);
  auto stem = [](std::string name) {
    for (std::string end : {"_total", "_seconds", "_bytes"})
      if (name.ends_with(end))
        name.resize(name.size() - end.size());
    return name;
  };
  std::set<std::string> made_stems, told_stems;
  for (const auto& one : made)
    made_stems.insert(stem(one));
  for (const auto& one : told)
    told_stems.insert(stem(one));
  CHECK(made_stems == told_stems);
}

TEST_CASE("every row of a table in the documents has the cells that its head has") {
  namespace fs = std::filesystem;
  std::size_t tables = 0;
  for (const auto& file : fs::recursive_directory_iterator{fs::path{DAVIT_SOURCE} / "docs"}) {
    if (file.path().extension() != ".md")
      continue;
    std::ifstream in{file.path()};
    std::string line;
    std::size_t head = 0;
    for (int number = 1; std::getline(in, line); ++number) {
      if (!line.starts_with("|")) {
        head = 0;
        continue;
      }
      if (head == 0) {
        head = cells(line);
        ++tables;
      }
      CAPTURE(file.path().filename().string(), number, line);
      CHECK(cells(line) == head);
    }
  }
  CHECK(tables > 10);
}
