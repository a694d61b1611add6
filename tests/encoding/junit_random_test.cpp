// Reports made at random, in random pieces and spoiled, against the counts of who made them.
#include "encoding/junit_reading.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

using namespace davit;
using namespace davit::encoding;
using namespace davit::test;

namespace {

/// Writes a report, and counts what it writes.
class writer {
public:
  explicit writer(std::mt19937& random) : random_(random) {}

  std::string report() {
    text = one_of(
      {"", "\n", "<?xml version=\"1.0\"?>", "<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\n<!-- made -->"});
    prefix_ = one_of({"", "", "j:", "ns.1:"});
    auto many = prefix_ + one_of({"testsuites", "testsuite"});
    text += "<" + many + lies() + ">";
    for (auto parts = pick(6); parts > 0; --parts)
      part(0);
    return text + "</" + many + ">" + one_of({"", "\n", "<!-- end -->\n"});
  }

  test_counts expected;
  std::string text;

private:
  std::size_t pick(std::size_t below) { return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_); }
  std::string one_of(std::initializer_list<const char*> all) { return *(all.begin() + pick(all.size())); }

  std::string lies() {
    std::string all;
    for (auto* name : {"tests", "failures", "errors", "skipped", "time", "name"})
      if (pick(2) == 0)
        all += " " + std::string{name} + "=\"" + std::to_string(pick(100)) + "\"";
    return all;
  }

  void noise() {
    text += one_of({"", "", " ", "\n\t", "<!-- <testcase/> -->",
                    "<properties><property name='a' value='&lt;testcase/>'/></properties>",
                    "<system-out><![CDATA[<testcase><failure/></testcase>]]></system-out>", "<?testcase?>",
                    "text &amp; text"});
  }

  void part(int depth) {
    noise();
    if (depth < 6 && pick(3) == 0) {
      auto around = pick(8) == 0 ? one_of({"properties", "x:group", "failure"}) : prefix_ + "testsuite";
      text += "<" + around + lies() + ">";
      for (auto parts = pick(5); parts > 0; --parts)
        part(depth + 1);
      text += "</" + around + ">";
    } else {
      test();
    }
  }

  void test() {
    auto number = std::to_string(expected.tests++);
    auto of_class = one_of({"", "c", "c.d&lt;e&gt;"});
    std::string shown = of_class == "c" ? "c." : of_class.empty() ? "" : "c.d<e>.";
    struct time {
      const char* text;
      double seconds;
    };
    static constexpr time times[] = {{"", 0},          {" time='nonsense'", 0}, {" time='-4'", 0},
                                     {" time='0'", 0}, {" time='0.25'", 0.25},  {" time='1,000.5'", 1000.5},
                                     {" time='7'", 7}, {" time=\"2e-1\"", 0.2}};
    auto took = times[pick(std::size(times))];
    std::vector<std::string> attributes{" name=\"t" + number + "&amp;&#x263A;\"", took.text};
    if (!of_class.empty())
      attributes.push_back(" classname='" + of_class + "'");
    std::shuffle(attributes.begin(), attributes.end(), random_);
    auto name = shown + "t" + number + "&☺";
    expected.seconds += took.seconds;
    if (took.seconds > 0)
      all_.push_back({name, took.seconds});
    text += "<" + prefix_ + "testcase";
    for (const auto& one : attributes)
      text += one;
    auto how = pick(8);
    if (how == 0) {
      text += " status='notrun'/>";
      ++expected.skipped;
      return;
    }
    text += ">";
    noise();
    std::string message;
    auto verdict = [&](const std::string& name) {
      auto element = prefix_ + name;
      text += "<" + element + " type='t' message='&quot;" + number + "&quot; no'>";
      text += one_of({"at x", "<![CDATA[at x]]>", "at<!-- --> x"}) + "</" + element + ">";
      if (message.empty())
        message = "\"" + number + "\" no\nat x";
    };
    switch (how) {
      case 1:
        verdict("failure");
        noise();
        verdict("error"); // it has failed all the same
        ++expected.failures;
        break;
      case 2:
        text += "<skipped/>";
        verdict("failure");
        ++expected.failures;
        break;
      case 3:
        verdict("error");
        ++expected.errors;
        break;
      case 4:
        text += "<skipped message='none'>failure</skipped>";
        ++expected.skipped;
        break;
      case 5:
        text += "<system-err><failure/></system-err><flakyFailure message='x'/><rerunError/>";
        break;
      default:
        break;
    }
    noise();
    text += "</" + prefix_ + "testcase>";
    if (!message.empty() && expected.failed.size() < 20)
      expected.failed.push_back({name, message});
  }

  std::mt19937& random_;
  std::string prefix_; ///< Of its elements.

public:
  std::vector<slow_test> all_; ///< That took any time.

  std::vector<slow_test> slowest() const {
    auto sorted = all_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    sorted.resize(std::min<std::size_t>(5, sorted.size()));
    return sorted;
  }
};

void check_sane(const test_counts& counts) {
  CHECK(counts.failures + counts.errors + counts.skipped <= counts.tests);
  CHECK((std::isfinite(counts.seconds) && counts.seconds >= 0));
  CHECK(counts.slowest.size() <= 5);
  CHECK(counts.failed.size() == std::min<std::uint64_t>(20, counts.failures + counts.errors));
}

} // namespace

TEST_CASE("random reports, in random pieces, are counted exactly", "[junit]") {
  std::mt19937 random{Catch::getSeed()};
  std::uint64_t tests = 0;
  for (int round = 0; round < 2000; ++round) {
    writer made{random};
    auto text = made.report();
    CAPTURE(round, text);
    auto done = read(text, 1 + random() % (random() % 4 == 0 ? 5 : 500));
    REQUIRE(done.end == junit_end::counted);
    made.expected.reports = 1;
    made.expected.slowest = made.slowest();
    CHECK(done.counts.seconds == Catch::Approx(made.expected.seconds));
    made.expected.seconds = done.counts.seconds;
    REQUIRE(done.counts == made.expected);
    tests += done.counts.tests;
  }
  CHECK(tests > 2000);
}

TEST_CASE("several reports add up to what they say together", "[junit]") {
  std::mt19937 random{Catch::getSeed()};
  for (int round = 0; round < 100; ++round) {
    test_counts all, expected;
    std::vector<slow_test> slow;
    for (int i = 0; i < 5; ++i) {
      writer made{random};
      junit_reader reader;
      reader.feed(made.report());
      REQUIRE(reader.finish(all) == junit_end::counted);
      expected.tests += made.expected.tests;
      expected.failures += made.expected.failures;
      slow.insert(slow.end(), made.all_.begin(), made.all_.end());
    }
    std::stable_sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    slow.resize(std::min<std::size_t>(5, slow.size()));
    CHECK(all.reports == 5);
    CHECK(all.tests == expected.tests);
    CHECK(all.failures == expected.failures);
    CHECK(all.slowest == slow);
    check_sane(all);
  }
}

TEST_CASE("spoiled reports do no harm, and those that are not XML any more count nothing", "[junit]") {
  std::mt19937 random{Catch::getSeed()};
  int unread = 0;
  for (int round = 0; round < 3000; ++round) {
    writer made{random};
    auto text = made.report();
    for (auto changes = 1 + random() % 4; changes > 0 && !text.empty(); --changes) {
      auto at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 20);
          break;
        case 2:
          text.insert(at, text.substr(random() % text.size(), random() % 60));
          break;
        default:
          text.resize(at);
      }
    }
    CAPTURE(text);
    auto done = read(text, 1 + random() % 300);
    if (done.end != junit_end::counted)
      REQUIRE(done.counts == test_counts{});
    unread += done.end == junit_end::unread;
    check_sane(done.counts);
  }
  CHECK(unread > 300);
}
