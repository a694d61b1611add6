// Text in requests: bytes that are not UTF-8, or have a NUL, are nobody's name and nobody's key.
#include "api/request_text.hpp"

#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace davit;
using namespace davit::test;

namespace {

/// The Unicode Standard, table 3-7, row by row.
bool is_text_by_the_table(const std::string& text) {
  struct row {
    unsigned char first, last, low, high; ///< Of the first byte, and of the second.
    std::size_t more;
  };
  static constexpr row rows[] = {{0x01, 0x7f, 0, 0, 0},       {0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2},
                                 {0xe1, 0xec, 0x80, 0xbf, 2}, {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2},
                                 {0xf0, 0xf0, 0x90, 0xbf, 3}, {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3}};
  auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  for (std::size_t i = 0; i < text.size();) {
    const row* found = nullptr;
    for (const auto& one : rows)
      if (at(i) >= one.first && at(i) <= one.last)
        found = &one;
    if (!found)
      return false;
    for (std::size_t n = 1; n <= found->more; ++n)
      if (at(i + n) < (n == 1 ? found->low : 0x80) || at(i + n) > (n == 1 ? found->high : 0xbf))
        return false;
    i += 1 + found->more;
  }
  return true;
}

} // namespace

TEST_CASE("what is text is what the Unicode Standard calls UTF-8, without NUL", "[text]") {
  std::mt19937 random{7};
  static constexpr unsigned char edges[] = {0x00, 0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                            0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xfe, 0xff};
  std::size_t good = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text(random() % 6, '\0');
    for (auto& one : text)
      one = static_cast<char>(random() % 4 == 0 ? random() & 0xff : edges[random() % std::size(edges)]);
    auto expected = is_text_by_the_table(text);
    good += expected;
    if (api::is_text(text) != expected)
      FAIL_CHECK("judged otherwise: " << transport::url_encode(text));
  }
  CHECK(good > 10'000);
}

TEST_CASE("every parameter, key and name that is not text is refused, by its name", "[text]") {
  test_agent agent{{}};
  auto refused = [&](const transport::http_response& answer, const std::string& field) {
    INFO(answer.body);
    CHECK(answer.status == 400);
    CHECK(answer.body.find("\"field\":\"" + field + '"') != std::string::npos);
  };
  for (std::string bytes : {"%ff", "%00", "a%c3", "%ed%a0%80", "a%00b"}) {
    for (auto name : {"name", "owner", "label", "state", "cursor", "limit"})
      refused(agent.http("GET", "/v1/tasks?" + std::string{name} + '=' + bytes), name);
    refused(agent.http("GET", "/v1/tasks?label=a=" + bytes), "label");
    refused(agent.http("GET", "/v1/events?after=" + bytes), "after");
    refused(agent.http("GET", "/v1/tasks?" + bytes + "=x"), "query");
  }
  refused(agent.http("POST", "/v1/agents/%ff/drain"), "path");
  auto body = R"({"image":"busybox:test"})";
  for (auto key : {"k\xe4", "k\xf6", "\xff", "\xc3"}) // ISO 8859-1: not one key, and not two
    refused(agent.http("POST", "/v1/tasks", {{"Idempotency-Key", key}}, body), "Idempotency-Key");
  auto twice = agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "a"}, {"Idempotency-Key", "b"}}, body);
  CHECK(twice.status == 400);
  CHECK(twice.body.find("several Idempotency-Key headers") != std::string::npos);
  for (auto [field, value] : {std::pair{"name", R"("a\u0000b")"}, std::pair{"dedupe_key", R"("a\u0000b")"},
                              std::pair{"labels", R"({"a\u0000":"b"})"}, std::pair{"labels", R"({"a":"b\u0000"})"}})
    refused(
      agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test",")" + std::string{field} + "\":" + value + '}'),
      field);
  CHECK(agent.http("GET", "/v1/tasks").body.find("\"tasks\":[]") != std::string::npos);
  CHECK(agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "schl\xc3\xbcssel"}}, body).status == 202);
  CHECK(agent.http("GET", "/v1/tasks?name=%c3%bc").status == 200);
}
