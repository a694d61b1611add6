#include "messages/task.hpp"
#include "messages/units.hpp"
#include "messages/uuid.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <set>

using namespace davit;
using namespace std::chrono_literals;

TEST_CASE("durations are read as people write them, and nothing else is") {
  CHECK(parse_duration("500ms") == 500ms);
  CHECK(parse_duration("10s") == 10s);
  CHECK(parse_duration("1.5s") == 1500ms);
  CHECK(parse_duration("5m") == 5min);
  CHECK(parse_duration("5min") == 5min);
  CHECK(parse_duration("1h30m") == 90min);
  CHECK(parse_duration("2d") == 48h);
  CHECK(parse_duration("0") == 0ms);
  for (auto wrong : {"", "5", "s", "-1s", "1x", "1s1", "1 s", "99999999999999999d", "9999999h", "1..2s"})
    CHECK_FALSE(parse_duration(wrong));
  for (auto value : {0ms, 1ms, 999ms, 61'000ms, 90'061'001ms})
    CHECK(parse_duration(format_duration(value)) == value);
}

TEST_CASE("sizes are powers of 1024, and keep their exact value in text") {
  byte_size size;
  CHECK((from_string("512m", size) && size.bytes == 512ull << 20));
  CHECK((from_string("1.5g", size) && size.bytes == 1536ull << 20));
  CHECK((from_string("64kb", size) && size.bytes == 64ull << 10));
  CHECK((from_string("1GiB", size) && size.bytes == 1ull << 30));
  CHECK((from_string("7", size) && size.bytes == 7));
  for (auto wrong : {"", "m", "1x", "-1m", "1mm", "1bb", "99999999999g"})
    CHECK_FALSE(from_string(wrong, size));
  for (auto bytes : {0ull, 1ull, 1023ull, 1024ull, 5ull << 20, (1ull << 30) + 1}) {
    REQUIRE(from_string(to_string(byte_size{bytes}), size));
    CHECK(size.bytes == bytes);
  }
}

TEST_CASE("timestamps keep their nanoseconds") {
  auto at = parse_timestamp("2026-11-24T03:35:55.730753637Z");
  REQUIRE(at);
  CHECK(format_timestamp(*at) == "2026-11-24T03:35:55.730753637Z");
  CHECK(parse_timestamp("2026-11-24T04:35:55.730753637+01:00") == at);
  CHECK(parse_timestamp("2026-11-24T03:35:55Z"));
  for (auto wrong : {"", "2026-11-24", "0001-01-01T00:00:00Z", "2026-13-24T03:35:55Z", "2026-11-24T25:35:55Z",
                     "2026-11-24T03:35:55", "2026-11-24T03:35:55.Z"})
    CHECK_FALSE(parse_timestamp(wrong));
}

TEST_CASE("task ids sort by the time they were made, and are never made twice") {
  std::set<uuid> seen;
  uuid last;
  for (int i = 0; i < 20'000; ++i) {
    auto id = uuid::make_v7();
    CHECK(last < id);
    last = id;
    seen.insert(id);
  }
  CHECK(seen.size() == 20'000);
  uuid again;
  REQUIRE(from_string(to_string(last), again));
  CHECK(again == last);
  CHECK(to_string(last)[14] == '7');
  CHECK_FALSE(from_string("not-an-id", again));
  CHECK_FALSE(from_string(to_string(last) + "0", again));
}

TEST_CASE("a backoff is a range of durations") {
  backoff_range range;
  CHECK((from_string("1s..1m", range) && range.least == 1s && range.most == 1min));
  CHECK_FALSE(from_string("1m..1s", range));
  CHECK_FALSE(from_string("soon", range));
}
