// The last lines of a log: where they begin, and how they come to a client.
#include "api/log_lines.hpp"

#include "actors/keeper_fixture.hpp"
#include "api/api_server.hpp"
#include "encoding/base64.hpp"
#include "fixture/agent_client.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"
#include "store/attempt_log.hpp"
#include "transport/endpoint.hpp"

#include <caf/event_based_actor.hpp>
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>

using namespace davit;
using namespace davit::test;

namespace {

using records = std::vector<log_record>;

/// By the definition: each line with the bytes that belong to it, in the order in which lines begin.
records last_lines(const records& all, std::size_t count) {
  std::map<log_stream, std::size_t> open;
  std::size_t lines = 0;
  std::vector<std::vector<std::size_t>> line_of(all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    for (auto c : all[i].bytes) {
      auto one = open.try_emplace(all[i].stream, lines);
      lines += one.second;
      line_of[i].push_back(one.first->second);
      if (c == '\n')
        open.erase(one.first);
    }
  records result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto kept = all[i];
    kept.bytes.clear();
    for (std::size_t at = 0; at < all[i].bytes.size(); ++at)
      if (line_of[i][at] + count >= lines)
        kept.bytes += all[i].bytes[at];
    if (!kept.bytes.empty())
      result.push_back(kept);
  }
  return result;
}

/// As a stream does it: pages of some records each, offsets count records.
records cut_lines(const records& all, std::size_t count, std::size_t page, std::size_t& places) {
  tail_scan scan{count};
  for (std::size_t i = 0; i < all.size() || i == 0; ++i) {
    if (i % page == 0)
      scan.page(i);
    places = std::max(places, scan.places());
    if (i < all.size())
      scan.add(all[i]);
  }
  auto cut = scan.found(all.size());
  records result;
  for (auto i = cut.offset(); i < all.size(); ++i) {
    auto kept = all[i];
    kept.bytes.erase(0, cut.dropped(all[i]));
    if (!kept.bytes.empty())
      result.push_back(kept);
  }
  return result;
}

records random_log(std::mt19937& random) {
  static const std::vector<std::string> pieces{"", "a", "bc", "\n", "d\n", "ef\n", "\n\n", "g\nh", "i\nj\nk\n", "\nl"};
  records all(random() % 40);
  for (auto& one : all) {
    one.stream = static_cast<log_stream>(1 + random() % 3);
    one.bytes = pieces[random() % pieces.size()];
  }
  return all;
}

} // namespace

TEST_CASE("the last lines of any log are whole lines, as many as were asked for", "[log_tail]") {
  std::mt19937 random{7};
  std::size_t places = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto all = random_log(random);
    auto count = random() % 12;
    auto page = 1 + random() % 7;
    auto found = cut_lines(all, count, page, places), expected = last_lines(all, count);
    if (found != expected) {
      for (const auto& one : all)
        UNSCOPED_INFO(to_string(one.stream) << ": " << encoding::base64_encode(one.bytes));
      FAIL("tail " << count << ", pages of " << page);
    }
  }
}

TEST_CASE("few places of a log are remembered, however many lines are wanted", "[log_tail]") {
  records all(100'000);
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].bytes = std::to_string(i) + '\n';
  for (auto count : {std::size_t{1}, std::size_t{50'000}, std::size_t{99'999}, std::size_t{1'000'000}}) {
    std::size_t places = 0;
    auto found = cut_lines(all, count, 3, places);
    CHECK(found.size() == std::min(count, all.size()));
    CHECK(found.back() == all.back());
    CHECK(places <= tail_scan::most_places);
  }
}

namespace {

/// The API alone, with one task and its log.
struct one_log : keeper_fixture, agent_client {
  const attempt_key key{task_id::make_v7(), 1};
  std::unique_ptr<store::log_writer> log = store::log_writer::open(folder.path() / "log", 0).value();
  std::string listen = listen_address();
  caf::actor store_keeper, log_keeper;
  api_actor api;

  one_log() {
    auto settings = context->settings;
    settings.api_listen = {listen};
    auto asked
      = std::make_shared<const agent_context>(agent_context{settings, io, context->policy, context->metrics, nullptr});
    task found;
    found.id = key.task;
    found.state = task_state::finished;
    found.attempts.resize(1);
    api_handles around;
    store_keeper = system.spawn(
      [=](caf::event_based_actor*) -> caf::behavior { return {[=](find_atom, task_id) { return found; }}; });
    log_keeper = system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](read_atom, const log_query& query) { return log->read(query.offset, query.max_bytes).value(); }};
    });
    around.store = caf::actor_cast<store_actor>(store_keeper);
    around.logs = caf::actor_cast<log_actor>(log_keeper);
    api = spawn_api(system, asked, around);
    speak_to(transport::parse_endpoint("http://" + listen).value());
    REQUIRE(eventually([&] {
      try {
        return http("GET", "/healthz").status == 200;
      } catch (const std::exception&) {
        return false;
      }
    }));
  }
  ~one_log() override {
    for (const auto& one : {caf::actor_cast<caf::actor>(api), store_keeper, log_keeper})
      caf::anon_send_exit(one, caf::exit_reason::kill);
  }

  bool write(const records& some) { return log->append(some).has_value(); }
  std::string read(const std::string& query) {
    auto answer = http("GET", target(query));
    CHECK(answer.status == 200);
    return answer.body;
  }
  std::string target(const std::string& query) const { return "/v1/tasks/" + to_string(key.task) + "/logs?" + query; }
};

} // namespace

TEST_CASE_METHOD(one_log, "a tail counts lines, also those that came in pieces", "[log_tail]") {
  std::string q(16'384, 'q'), r(16'384, 'r');
  timestamp at{};
  REQUIRE(write({{log_stream::out, at, q},
                 {log_stream::out, at, q},
                 {log_stream::out, at, "q\n"},
                 {log_stream::err, at, "error, "},
                 {log_stream::out, at, r},
                 {log_stream::err, at, "and its end\n"},
                 {log_stream::out, at, r},
                 {log_stream::out, at, "r\n"}}));
  REQUIRE(log->close().has_value());
  auto second = r + r + "r\n", all = q + q + "q\nerror, " + r + "and its end\n" + r + "r\n";
  CHECK(read("tail=0").empty());
  CHECK(read("tail=1") == second);
  CHECK(read("tail=2") == "error, " + r + "and its end\n" + r + "r\n");
  CHECK(read("tail=3") == all);
  CHECK(read("tail=4") == all);
  CHECK(read("tail=1&stream=stderr") == "error, and its end\n");
  auto stamp = format_timestamp(at) + ' ';
  CHECK(read("timestamps=1&tail=1") == stamp + second);
  CHECK(read("timestamps=1") == stamp + q + q + "q\n" + stamp + "error, " + stamp + r + "and its end\n" + r + "r\n");
}

TEST_CASE_METHOD(one_log, "a long tail comes in pages, as the client takes them", "[log_tail]") {
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    records some(1000);
    for (auto& one : some) {
      one.bytes = std::to_string(expected.size()) + std::string(90, '.') + '\n';
      expected += one.bytes;
    }
    REQUIRE(write(some));
  }
  REQUIRE(log->close().has_value());
  raw_client client{static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)))};
  client.send("GET " + target("tail=199999") + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  auto answer = client.read("\r\n0\r\n\r\n");
  answer.erase(0, answer.find("\r\n\r\n") + 4);
  std::string body;
  std::size_t longest = 0, at = 0;
  while (at < answer.size()) {
    auto head = answer.find("\r\n", at);
    auto size = std::stoul(answer.substr(at, head - at), nullptr, 16);
    longest = std::max(longest, size);
    body.append(answer, head + 2, size);
    at = head + 2 + size + 2;
  }
  CHECK(body == expected.substr(expected.find('\n') + 1));
  CHECK(longest <= 256 * 1024);
}
