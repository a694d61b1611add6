// Streams and waits end when the token that they came with is revoked or expires; those of others go on.
#include "fixture/key_file.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <boost/json.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// The answer's header alone.
std::string header_of(raw_client& client) {
  std::string header;
  for (char one = 0; !header.ends_with("\r\n\r\n") && ::recv(client.fd, &one, 1, 0) == 1;)
    header += one;
  return header;
}

struct watched_agent {
  token_file tokens;
  key_file keys;
  std::string id = keys.add_key();
  std::string listen = listen_address();
  std::string admin = tokens.make("root", "admin");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.mint_key = keys.path;
                   }};
  std::string task = submit();

  std::string submit() {
    agent.use_token(admin);
    auto answer = agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test","command":["true"]})");
    return std::string{boost::json::parse(answer.body).at("id").as_string()};
  }

  raw_client open(const std::string& token, const std::string& target, const std::string& accept = "*/*") {
    raw_client client{static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)))};
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nAccept: " + accept + "\r\nAuthorization: Bearer " + token
                + "\r\n\r\n");
    return client;
  }

  struct streams {
    raw_client events, task_events, log_events, log, multiplexed, wait;
  };

  /// One of each kind, each begun.
  streams open_all(const std::string& token) {
    auto one = "/v1/tasks/" + task;
    constexpr auto sse = "text/event-stream";
    streams all{open(token, "/v1/events", sse),
                open(token, one + "/events", sse),
                open(token, one + "/logs?follow=1", sse),
                open(token, one + "/logs?follow=1"),
                open(token, one + "/logs?follow=1", "application/vnd.docker.multiplexed-stream"),
                open(token, one + "/wait?timeout=10m")};
    for (auto client : {&all.events, &all.task_events, &all.log_events, &all.log, &all.multiplexed})
      REQUIRE(header_of(*client).starts_with("HTTP/1.1 200"));
    return all;
  }
};

constexpr auto farewell = "event: unauthorized\ndata: {\"detail\":\"this token";

/// Each kind of stream ends in its own way.
void require_ended(watched_agent::streams& all) {
  for (auto client : {&all.events, &all.task_events, &all.log_events}) {
    auto told = client->read("0\r\n\r\n");
    INFO(told);
    CHECK(told.find(farewell) != std::string::npos);
    CHECK(told.find("event: end") == std::string::npos);
    CHECK(told.ends_with("0\r\n\r\n"));
  }
  for (auto client : {&all.log, &all.multiplexed}) // a client must not take it for whole
    CHECK(client->read().find("0\r\n\r\n") == std::string::npos);
  auto answer = all.wait.read("}\n");
  CHECK(answer.starts_with("HTTP/1.1 401"));
  CHECK(answer.find("WWW-Authenticate: Bearer") != std::string::npos);
}

void require_open(raw_client& client) {
  pollfd look{client.fd, POLLIN | POLLRDHUP, 0};
  CHECK(::poll(&look, 1, 0) == 0);
}

} // namespace

TEST_CASE_METHOD(watched_agent, "a revoked token ends its streams and waits, and no others") {
  auto reader = tokens.make("reader", "read:all"), other = tokens.make("other", "read:all");
  REQUIRE(eventually([&] {
    agent.use_token(other);
    return agent.http("GET", "/v1/tasks").status == 200;
  }));
  auto ending = open_all(reader), staying = open_all(other);
  REQUIRE(run_process({DAVIT_BINARY, "token", "revoke", "reader", "--tokens-file", tokens.path}).exit_code == 0);
  require_ended(ending);
  for (auto client : {&staying.log, &staying.multiplexed, &staying.wait})
    require_open(*client);
  agent.use_token(admin);
  CHECK(agent.http("POST", "/v1/tasks/" + task + "/cancel").status == 200);
  CHECK(staying.wait.read("}\n").starts_with("HTTP/1.1 200"));
  CHECK(staying.log.read("0\r\n\r\n").ends_with("0\r\n\r\n"));
  CHECK(staying.log_events.read("0\r\n\r\n").find("event: end") != std::string::npos);
  auto audit = shell("cat " + agent.data() + "/audit.log");
  CHECK(audit.find(R"("caller":"token reader from 127.0.0.1","method":"GET","path":"/v1/events","status":401)")
        != std::string::npos);
}

TEST_CASE_METHOD(watched_agent, "what a token has begun to send before it was revoked is not taken") {
  auto token = tokens.make("sender", "submit,read");
  auto kept = tokens.make("other", "submit,read");
  auto port = static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)));
  const std::string body = R"({"image":"busybox:test","command":["true"]})";
  auto begin = [&](const std::string& by, const std::string& more) {
    raw_client client{port};
    client.send("POST /v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + by + "\r\n" + more
                + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body.substr(0, 5));
    return client;
  };
  REQUIRE(eventually([&] {
    agent.use_token(kept);
    return agent.http("GET", "/v1/tasks").status == 200;
  }));
  auto one = begin(token, {}), waits = begin(token, "X-Also: that\r\n"), good = begin(kept, {});
  std::this_thread::sleep_for(200ms);
  REQUIRE(run_process({DAVIT_BINARY, "token", "revoke", "sender", "--tokens-file", tokens.path}).exit_code == 0);
  std::this_thread::sleep_for(2500ms);
  for (auto client : {&one, &waits, &good})
    client->send(body.substr(5));
  CHECK(one.read().starts_with("HTTP/1.1 401"));
  CHECK(waits.read().starts_with("HTTP/1.1 401"));
  CHECK(good.read().starts_with("HTTP/1.1 202"));
}

TEST_CASE_METHOD(watched_agent, "a listed or minted token that expires ends its streams and waits") {
  auto minted = GENERATE(false, true);
  INFO((minted ? "minted" : "listed"));
  auto token
    = minted ? keys.mint("short", "team", "read:all", "4s") : tokens.make("short", "read:all", {"--expires", "4s"});
  REQUIRE(eventually([&] {
    agent.use_token(token);
    return agent.http("GET", "/v1/tasks").status == 200;
  }));
  auto ending = open_all(token);
  require_ended(ending);
}

TEST_CASE_METHOD(watched_agent, "a key that is removed ends the streams of the tokens that it has signed") {
  auto old = keys.mint("old", "team", "read:all", "1h");
  auto ending = open_all(old);
  keys.add_key();
  auto next = keys.mint("new", "team", "read:all", "1h");
  REQUIRE(eventually([&] {
    agent.use_token(next);
    return agent.http("GET", "/v1/tasks").status == 200;
  }));
  auto staying = open(next, "/v1/tasks/" + task + "/wait?timeout=10m");
  keys.run({"remove-key", id});
  require_ended(ending);
  require_open(staying);
}

TEST_CASE_METHOD(watched_agent, "a tokens file that can't be read ends the streams of its tokens") {
  auto ending = open_all(admin);
  auto staying = open(keys.mint("m", "team", "read:all", "1h"), "/v1/tasks/" + task + "/wait?timeout=10m");
  shell("echo '{}x' > " + tokens.path);
  require_ended(ending);
  require_open(staying);
}

TEST_CASE("who came without a token keeps what was opened") {
  token_file tokens;
  tokens.make("root", "admin");
  test_agent agent{{}, [&](agent_settings& settings) { settings.access.tokens_file = tokens.path; }};
  auto task = to_string(agent.submit(busybox("true")));
  raw_client local{agent.socket()};
  local.send("GET /v1/tasks/" + task + "/wait?timeout=2s HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(local.read("}\n").starts_with("HTTP/1.1 202"));
}
