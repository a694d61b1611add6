// Logs at random, read as davit reads them: cut at every byte, gone on with by each of its ways, from engines that keep
// and that lose newlines. What was written is the oracle. DAVIT_LOG_SEED and DAVIT_LOG_CASES choose.
#include "transport/log_parser.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

using namespace davit;
using namespace davit::transport;

namespace {

constexpr std::size_t part = 16 * 1024;

/// What an engine holds of a log: its records in their order.
struct engine_log {
  std::vector<log_record> records;
  bool loses_newlines = false; ///< At the end of lines that it has cut, as the driver `local` of 20.10 does.
  std::map<log_stream, std::string> written;
  std::map<log_stream, bool> unclear; ///< Whether the last newline is there can't be known.
};

struct generator {
  std::mt19937 random;
  explicit generator(unsigned seed) : random(seed) {}
  int draw(int least, int most) { return std::uniform_int_distribution<int>{least, most}(random); }
  bool one_in(int many) { return draw(1, many) == 1; }

  engine_log make() {
    engine_log log;
    log.loses_newlines = one_in(3);
    std::map<log_stream, int> left{{log_stream::out, one_in(4) ? 0 : draw(1, 5)},
                                   {log_stream::err, one_in(4) ? 0 : draw(1, 5)}};
    if (one_in(8))
      left[one_in(2) ? log_stream::out : log_stream::err] += draw(10, 40);
    std::map<log_stream, timestamp> now;
    std::map<log_stream, std::set<timestamp>> used;
    auto begin = parse_timestamp("2026-11-24T03:35:55.730753637Z").value();
    now[log_stream::out] = begin;
    now[log_stream::err] = begin + std::chrono::nanoseconds{draw(-2, 2)};
    int number = 0;
    while (left[log_stream::out] + left[log_stream::err] > 0) {
      auto stream = left[log_stream::out] == 0 ? log_stream::err
                  : left[log_stream::err] == 0 ? log_stream::out
                  : one_in(2)                  ? log_stream::out
                                               : log_stream::err;
      --left[stream];
      auto& at = now[stream];
      // The same again, a little later, or what a clock does that is set: by less than the two seconds that `since`
      // allows for. A stamp that is left does not come back.
      if (!used[stream].empty() && !one_in(3)) {
        do
          at = one_in(2) ? at + std::chrono::nanoseconds{draw(1, 3)}
                         : begin + std::chrono::nanoseconds{draw(-900'000'000, 900'000'000)};
        while (used[stream].contains(at));
      }
      used[stream].insert(at);
      auto text = to_string(stream) + ' ' + std::to_string(number++);
      auto last = left[stream] == 0;
      if (one_in(12)) {
        auto parts = draw(1, 2);
        std::string line;
        for (int i = 0; i < parts; ++i) {
          auto piece = text + std::string(part - text.size(), static_cast<char>('a' + i));
          line += piece;
          log.records.push_back({stream, at, piece});
        }
        auto rest = draw(0, 2) == 0 ? std::string{} : text;
        auto newline = !(last && one_in(2));
        line += rest;
        if (newline)
          line += '\n';
        auto stored = rest + (newline && !log.loses_newlines ? "\n" : "");
        if (!stored.empty())
          log.records.push_back({stream, at, stored});
        else if (newline)
          log.records.push_back({stream, at, ""});
        log.written[stream] += line;
        log.unclear[stream] = log.loses_newlines;
      } else {
        auto newline = !(last && one_in(3));
        log.records.push_back({stream, at, text + (newline ? "\n" : "")});
        log.written[stream] += log.records.back().bytes;
        log.unclear[stream] = false;
      }
    }
    return log;
  }
};

std::string wire_of(const std::vector<log_record>& records) {
  std::string wire;
  for (const auto& one : records) {
    auto text = format_timestamp(one.at) + ' ' + one.bytes;
    std::string head(8, '\0');
    head[0] = one.stream == log_stream::err ? 2 : 1;
    for (std::size_t i = 0; i < 4; ++i)
      head[4 + i] = static_cast<char>(text.size() >> (24 - 8 * i) & 0xff);
    wire += head + text;
  }
  return wire;
}

/// What davit has of the log, and where it stands.
struct reader {
  log_cursor cursor;
  std::vector<log_record> kept;
  int gaps = 0;

  void take(log_resume& resume, const log_record& record) {
    bool gap = false;
    if (!resume.take(record, gap))
      return;
    gaps += gap;
    kept.push_back(record);
  }

  /// Everything since the cursor, up to `cut` bytes of it.
  void read_since(const std::vector<log_record>& there, std::size_t cut) {
    log_resume resume{cursor};
    auto since = resume.since();
    std::vector<log_record> given;
    for (const auto& one : there)
      if (since.empty() || one.at >= parse_since(since))
        given.push_back(one);
    log_parser parser{false};
    auto keep = [&](log_record record) { take(resume, record); };
    REQUIRE(parser.feed(std::string_view{wire_of(given)}.substr(0, cut), keep).has_value());
    cursor = resume.cursor();
  }

  /// The engine's own file, from its beginning.
  void read_file(const std::vector<log_record>& there, std::size_t most) {
    log_resume resume{cursor};
    log_parser parser{false};
    auto keep = [&](log_record record) { take(resume, record); };
    for (std::size_t i = 0; i < std::min(most, there.size()); ++i)
      REQUIRE(parser.feed(wire_of({there[i]}), keep).has_value());
    cursor = resume.cursor();
  }

  /// The last records alone, if they are enough.
  bool read_tail(const std::vector<log_record>& there, std::size_t count) {
    std::vector<log_record> last(there.end() - static_cast<std::ptrdiff_t>(std::min(count, there.size())), there.end()),
      tail;
    log_parser parser{false};
    REQUIRE(parser.feed(wire_of(last), [&](log_record record) { tail.push_back(std::move(record)); }).has_value());
    log_resume resume{cursor};
    if (cursor.empty() || !resume.reaches(tail, tail.size() < count))
      return false;
    for (const auto& one : tail)
      take(resume, one);
    cursor = resume.cursor();
    return true;
  }

  std::string text(log_stream stream) const {
    std::string all;
    for (const auto& one : kept)
      if (one.stream == stream)
        all += one.bytes;
    return all;
  }

private:
  static timestamp parse_since(const std::string& text) {
    auto dot = text.find('.');
    return timestamp{std::chrono::seconds{std::stoll(text.substr(0, dot))}
                     + std::chrono::nanoseconds{std::stoll(text.substr(dot + 1))}};
  }
};

std::string story(const engine_log& log) {
  std::string text;
  for (const auto& one : log.records)
    text += format_timestamp(one.at) + ' ' + to_string(one.stream) + ' ' + std::to_string(one.bytes.size()) + ' '
          + one.bytes.substr(0, 12) + (one.bytes.ends_with('\n') ? "" : "~\n");
  return text;
}

} // namespace

TEST_CASE(
  "a log that is cut anywhere and gone on with in any way is what was written: nothing lost, doubled or moved") {
  auto number = [](const char* name, unsigned standard) {
    auto text = std::getenv(name);
    return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : standard;
  };
  auto seed = number("DAVIT_LOG_SEED", 1), cases = number("DAVIT_LOG_CASES", 3000);
  for (unsigned i = 0; i < cases; ++i) {
    generator random{seed + i};
    auto log = random.make();
    reader one;
    std::string ways;
    std::size_t there = 0;
    auto reads = random.draw(1, 4);
    for (int read = 0; read < reads; ++read) {
      there = read + 1 == reads
              ? log.records.size()
              : static_cast<std::size_t>(random.draw(static_cast<int>(there), static_cast<int>(log.records.size())));
      std::vector<log_record> visible(log.records.begin(), log.records.begin() + static_cast<std::ptrdiff_t>(there));
      auto last = read + 1 == reads;
      auto way = random.draw(0, 2);
      if (way == 0) {
        ways += " file";
        one.read_file(visible, last ? there : static_cast<std::size_t>(random.draw(0, static_cast<int>(there))));
      } else {
        auto tail = way == 1 && one.read_tail(visible, static_cast<std::size_t>(random.draw(1, 12)));
        ways += tail ? " tail" : " since";
        if (!tail)
          one.read_since(visible,
                         last ? std::string::npos
                              : static_cast<std::size_t>(random.draw(0, static_cast<int>(wire_of(visible).size()))));
      }
      ways += '(' + std::to_string(there) + ')' + std::to_string(one.kept.size());
    }
    INFO("DAVIT_LOG_SEED=" << seed + i << ways << (log.loses_newlines ? " without newlines" : "") << '\n'
                           << story(log));
    for (auto stream : {log_stream::out, log_stream::err}) {
      auto expected = log.written[stream], got = one.text(stream);
      if (log.unclear[stream] && expected.ends_with('\n') && !got.ends_with('\n'))
        expected.pop_back();
      if (got != expected)
        FAIL(to_string(stream) << " has " << got.size() << " bytes instead of " << expected.size());
    }
    if (one.gaps != 0)
      FAIL(one.gaps << " gaps that are not there");
  }
}
