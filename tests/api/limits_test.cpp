// What one caller may hold at a live agent: its own part, so that others still have theirs.
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <list>

using namespace davit;
using namespace davit::test;

namespace {

struct two_callers {
  token_file tokens;
  std::string greedy = tokens.make("greedy", "submit,read"), modest = tokens.make("modest", "submit,read,metrics");
  std::string listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 0;
                   }};
  std::list<raw_client> open;

  /// The answer's header; empty: there is none yet. The connection stays.
  std::string ask(const std::string& token, const std::string& line, const std::string& headers, int patience_ms) {
    auto& client = open.emplace_back(static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1))));
    client.send(line + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n" + headers + "\r\n");
    return client.read("\r\n\r\n", patience_ms);
  }
  std::string follow(const std::string& token) {
    return ask(token, "GET /v1/events", "Accept: text/event-stream\r\n", 20'000);
  }
};

bool is_limit(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 429") && answer.find("\r\nRetry-After: ") != std::string::npos;
}

} // namespace

TEST_CASE_METHOD(two_callers, "a caller with as many streams as it may have gets no more, and others get theirs",
                 "[limits]") {
  std::string answer;
  for (int i = 0; i < 1100 && !answer.starts_with("HTTP/1.1 429"); ++i)
    answer = follow(greedy);
  CHECK(is_limit(answer));
  CHECK(follow(modest).starts_with("HTTP/1.1 200"));
  open.clear();
  CHECK(eventually([&] { return follow(greedy).starts_with("HTTP/1.1 200"); }));
  agent.use_token(modest);
  CHECK(agent.metric("davit_http_limited_total{limit=\"streams\"}") >= 1);
}

TEST_CASE_METHOD(two_callers, "bodies on their way are counted by their headers, each caller's apart", "[limits]") {
  auto post = [&](const std::string& token, int patience_ms) {
    return ask(token, "POST /v1/tasks", "Content-Length: 4000000\r\n", patience_ms);
  };
  for (int i = 0; i < 16; ++i) // 64 MB: the agent waits for them
    CHECK(post(greedy, 50).empty());
  CHECK(is_limit(post(greedy, 20'000)));
  CHECK(post(modest, 50).empty());
  CHECK(ask(greedy, "GET /v1/tasks", "", 20'000).starts_with("HTTP/1.1 200")); // what has no body goes on
  open.clear();
  CHECK(eventually([&] { return post(greedy, 200).empty(); }));
}

TEST_CASE_METHOD(two_callers, "answers that nobody takes count as their caller's, until they are taken or given up",
                 "[limits]") {
  auto submit = [&](const std::string& token) {
    agent.use_token(token);
    auto made = agent.http("POST", "/v1/tasks", {},
                           R"({"image":"busybox:test","stdin":")" + std::string(3'900'000, 'x') + "\"}");
    REQUIRE(made.status == 202);
    return "GET " + made.header("Location");
  };
  auto large = submit(greedy), other = submit(modest);
  // The beginning of the answer; the rest stays where it is.
  auto look = [&](const std::string& token, const std::string& line) {
    auto& client = open.emplace_back(free_socket{});
    int little = 4096;
    ::setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    client.connect(static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1))));
    client.send(line + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n");
    return client.read_some(400);
  };
  std::string answer;
  int taken = 0;
  for (; taken < 60 && !answer.starts_with("HTTP/1.1 429"); ++taken)
    answer = look(greedy, large);
  CHECK(is_limit(answer));
  CHECK(taken <= 40); // 17 of them are 64 MiB; some the system takes in
  CHECK(look(modest, other).starts_with("HTTP/1.1 200"));
  CHECK(look(greedy, "GET /v1/tasks").starts_with("HTTP/1.1 200")); // a list has no standard input
  submit(greedy);                                                   // what changes something goes on
  open.clear();
  CHECK(eventually([&] { return look(greedy, large).starts_with("HTTP/1.1 200"); }));
  agent.use_token(modest);
  CHECK(agent.metric("davit_http_limited_total{limit=\"answers\"}") >= 1);
}
