// Which of an output's files are counted as reports, and what of them is seen: no secrets, no control characters, no
// more than has room.
#include "actors/attempt_samples.hpp"
#include "actors/output_tests.hpp"
#include "encoding/junit.hpp"
#include "encoding/printable.hpp"
#include "fixture/result_text.hpp"
#include "json/write.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>

using namespace davit;
using namespace davit::test;

namespace {

/// Files whose bytes are made when they are read.
struct file_source final : blobs::blob_source {
  struct reader final : blobs::byte_reader {
    std::string bytes;
    std::size_t at = 0;
    std::uint64_t* sum = nullptr;
    bool fails = false;
    blobs::result<std::size_t> read(std::span<char> into) override {
      if (fails)
        return blobs::error{blobs::errc::failed, "the disk is broken"};
      auto count = bytes.copy(into.data(), into.size(), at);
      at += count;
      *sum += count;
      return count;
    }
  };

  std::map<std::string, std::string> files;
  std::uint64_t read = 0;
  std::vector<std::string> opened;
  bool fails = false;

  blobs::result<std::unique_ptr<blobs::byte_reader>> open(const blobs::tree_entry& file) override {
    opened.push_back(file.path);
    auto made = std::make_unique<reader>();
    made->bytes = files.at(file.path);
    made->sum = &read;
    made->fails = fails;
    return std::unique_ptr<blobs::byte_reader>{std::move(made)};
  }

  blobs::tree tree() const {
    blobs::tree all;
    for (const auto& [path, bytes] : files) {
      auto& one = all.entries.emplace_back();
      one.path = path;
      one.size = bytes.size();
    }
    return all;
  }
};

std::optional<test_counts> count(
  file_source& from, const report_limits& limits = {}, const std::function<bool()>& stopped = [] { return false; }) {
  auto tree = from.tree();
  auto counts = count_tests(possible_reports(tree), from, stopped, limits);
  REQUIRE(counts);
  return *counts;
}

std::string report(int tests, const std::string& padding = {}) {
  std::string text = "<testsuites><!--" + padding + "-->";
  for (int i = 0; i < tests; ++i)
    text += "<testcase name='t" + std::to_string(i) + "' time='1'/>";
  return text + "</testsuites>";
}

} // namespace

TEST_CASE("the reports among an output's files are counted, and nothing else is", "[junit]") {
  file_source from;
  from.files = {{"a.xml", report(2)},
                {"deep/B.XML", report(3)},
                {"notes.txt", report(5)},
                {"empty.xml", ""},
                {"pom.xml", "<project/>"},
                {".xml", report(1)},
                {"xml", report(5)},
                {"broken.xml", "<testsuite>"},
                {"binary.xml", "\x7f"
                               "ELF"},
                {"half.xml", report(4).substr(0, 60)}};
  auto counts = count(from);
  REQUIRE(counts);
  CHECK(counts->reports == 3);
  CHECK(counts->unread == 2);
  CHECK(counts->tests == 6);
  CHECK(counts->seconds == 6);
  CHECK(std::find(from.opened.begin(), from.opened.end(), "notes.txt") == from.opened.end());
  from.files = {{"pom.xml", "<project/>"}, {"a.txt", report(1)}};
  CHECK_FALSE(count(from));
  from.files.clear();
  CHECK_FALSE(count(from));
  blobs::tree links;
  for (auto kind : {blobs::entry_kind::folder, blobs::entry_kind::symlink, blobs::entry_kind::hard_link}) {
    auto& one = links.entries.emplace_back();
    one.path = "x.xml";
    one.kind = kind;
    one.size = 1;
  }
  CHECK(possible_reports(links).empty());
}

TEST_CASE("what is over a limit is unread, and is not read", "[junit]") {
  report_limits limits;
  limits.file_bytes = 100'000;
  limits.bytes = 250'000;
  limits.files = 5;
  file_source from;
  SECTION("one file") {
    from.files = {{"a.xml", report(1)}, {"b.xml", report(2, std::string(150'000, 'x'))}};
    auto counts = count(from, limits);
    REQUIRE(counts);
    CHECK(counts->tests == 1);
    CHECK(counts->unread == 1);
  }
  SECTION("all of them") {
    for (char c = 'a'; c <= 'e'; ++c)
      from.files[std::string{c} + ".xml"] = report(1, std::string(90'000, 'x'));
    auto counts = count(from, limits);
    REQUIRE(counts);
    CHECK(counts->tests == 2);
    CHECK(counts->unread == 3);
    CHECK(from.read < 400'000);
  }
  SECTION("large files that are something else cost little") {
    for (char c = 'a'; c <= 'd'; ++c)
      from.files[std::string{c} + ".xml"] = "<data>" + std::string(90'000, 'x') + "</data>";
    from.files["e.xml"] = report(1);
    auto counts = count(from, limits);
    REQUIRE(counts);
    CHECK(counts->tests == 1);
    CHECK(counts->unread == 0);
    CHECK(from.read < 100'000);
  }
  SECTION("their number") {
    for (char c = 'a'; c <= 'h'; ++c)
      from.files[std::string{c} + ".xml"] = report(1);
    auto counts = count(from, limits);
    REQUIRE(counts);
    CHECK(counts->tests == 5);
    CHECK(counts->unread == 3);
    CHECK(from.opened.size() == 5);
  }
  SECTION("time") {
    for (char c = 'a'; c <= 'd'; ++c)
      from.files[std::string{c} + ".xml"] = report(1);
    auto counts = count(from, limits, [&] { return from.opened.size() >= 2; });
    REQUIRE(counts);
    CHECK(counts->tests == 1);
    CHECK(counts->unread == 3);
  }
}

TEST_CASE("blobs that can't be read are an error", "[junit]") {
  file_source from;
  from.files = {{"a.xml", report(1)}};
  from.fails = true;
  auto tree = from.tree();
  auto counts = count_tests(possible_reports(tree), from, [] { return false; });
  REQUIRE_FALSE(counts);
  CHECK(counts.error().message == "the disk is broken");
}

TEST_CASE("names and messages of tests are one line, clean and short", "[junit]") {
  auto shown = [](std::string name, std::string message) {
    test_counts raw;
    raw.failed.push_back({std::move(name), std::move(message)});
    return presentable(raw, {}).failed[0];
  };
  CHECK(shown("a", "  \n\n  assert 1 == 2  \n more\n").message == "assert 1 == 2");
  CHECK(shown("a", "Failed\n    net_test.go:9: got 1").message == "Failed: net_test.go:9: got 1");
  CHECK(shown("a", "net.cc:7\nExpected equality of these values:\n  1").message
        == "net.cc:7: Expected equality of these values:");
  CHECK(shown("a", "unknown file\nC++ exception with description").message
        == "unknown file: C++ exception with description");
  CHECK(shown("a", "E:\r\nno").message == "E: no");
  CHECK(shown("a", "Timeout\n").message == "Timeout");
  CHECK(shown("a", "x\nx\n").message == "x");
  CHECK(shown("a", " \n\t\r\n").message.empty());
  CHECK(shown("a\u202e\u0085\tb", "\u001b[31mred\u001b[0m \u200bok").name == "a\\xe2\\x80\\xae\\xc2\\x85 b");
  CHECK(shown("a", "\x1b[31mred\x1b[0m ok").message == "\\x1b[31mred\\x1b[0m ok");
  CHECK(shown("", "").name == "(no name)");
  for (std::size_t size : {199, 200, 201, 5000}) {
    std::string text;
    while (text.size() + 3 <= size)
      text += "☺";
    auto one = shown(text, text);
    CHECK(one.name.size() <= 200);
    CHECK(one.message.size() <= 300);
    CHECK(encoding::printable(one.name) == one.name); // no half of a character
    CHECK(one.name.ends_with("...") == (text.size() > 200));
  }
  test_counts raw;
  raw.seconds = 0.1 + 0.2;
  raw.slowest.push_back({"a", 1.0000000001});
  auto json = json::write(presentable(raw, {}));
  CHECK(json.find("\"seconds\":3E-1") != std::string::npos);
}

TEST_CASE("a task's secrets are in no name and no message, wherever a text is cut", "[junit][secrets]") {
  const std::string secret = "correct-horse-battery";
  std::mt19937 random{Catch::getSeed()};
  for (int round = 0; round < 60; ++round) {
    // Long texts are cut by the reader, here and there within the secret.
    std::string padding(random() % 12, 'x');
    std::string text;
    while (text.size() < encoding::junit_text_bytes)
      text += padding + secret + (random() % 2 ? " " : "");
    std::string xml = "<testsuites><testcase classname='" + text + "' name='n' time='2'><failure message='" + text
                    + "'>" + text + "</failure></testcase><testcase name='f " + secret + "'><error>no " + secret
                    + "\n</error></testcase></testsuites>";
    encoding::junit_reader reader;
    reader.feed(xml);
    test_counts counts;
    REQUIRE(reader.finish(counts) == encoding::junit_end::counted);
    auto shown = presentable(counts, {secret, "other-secret"});
    auto all = json::write(shown);
    CAPTURE(padding, all);
    for (std::size_t size = 4; size <= secret.size(); ++size)
      REQUIRE(all.find(secret.substr(0, size)) == std::string::npos);
    CHECK(shown.failed.at(1).name == "f ***");
    CHECK(shown.failed.at(1).message == "no ***");
    CHECK(shown.slowest.at(0).name.find("***") != std::string::npos);
  }
}

TEST_CASE("what an attempt stores of its outputs has no secrets", "[attempt][junit][secrets]") {
  auto all = every_step();
  auto found = std::find_if(all.begin(), all.end(), [](const auto& one) { return one.first == "gathering"; });
  REQUIRE(found != all.end());
  auto run = found->second;
  run.secrets["TOKEN"].value = "swordfish-1";
  collected_output out{"out", output_state::kept, "sha256:", 1, 1, "1 left out: swordfish-1.sock"};
  out.tests.emplace();
  out.tests->tests = 1;
  out.tests->slowest.push_back({"login[swordfish-1]\x1b", 1});
  out.tests->failed.push_back({"login[swordfish-1]", "got swordfish-1\nand more"});
  auto [after, actions] = next(std::move(run), reply<ask::gather>{{{out}, {}}}, moment());
  const attempt_result* stored = nullptr;
  for (const auto& one : actions)
    if (auto* asked = std::get_if<ask::finish>(&one))
      stored = &asked->what;
  REQUIRE(stored);
  REQUIRE(stored->outputs.size() == 1);
  const auto& kept = stored->outputs[0];
  CHECK(kept.message == "1 left out: ***.sock");
  REQUIRE(kept.tests);
  CHECK(kept.tests->slowest[0].name == "login[***]\\x1b");
  CHECK(kept.tests->failed[0].name == "login[***]");
  CHECK(kept.tests->failed[0].message == "got ***");
}
