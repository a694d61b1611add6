// Archives of a task's files: how many an agent holds at once.
#include "fixture/raw_client.hpp"
#include "fixture/scripted_engine.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

using namespace davit;
using namespace davit::test;

namespace {

/// An engine whose containers run until they are let go, and have files of 16 MiB.
struct engine_with_files {
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  std::string archive = std::string(16 << 20, 'x');
  scripted_engine engine{"files", [this](const std::string& request, scripted_connection& connection) {
                           if (request.find("/wait") != std::string::npos) {
                             std::unique_lock lock{mutex};
                             changed.wait(lock, [this] { return over; });
                           }
                           return request.starts_with("GET") && request.find("/archive") != std::string::npos
                               && connection.answer(200, archive, "application/x-tar");
                         }};

  ~engine_with_files() { let_go(); }
  void let_go() {
    std::lock_guard guard{mutex};
    over = true;
    changed.notify_all();
  }
};

} // namespace

TEST_CASE("each caller sends itself one archive at once, until it is sent or nobody wants it, and others get theirs",
          "[files]") {
  engine_with_files files;
  token_file tokens;
  const std::string callers[]
    = {tokens.make("a", "submit,read", {"--owner", "team-a"}), tokens.make("b", "submit,read", {"--owner", "team-b"}),
       tokens.make("c", "submit,read", {"--owner", "team-c"})};
  test_agent agent{{files.engine.settings()},
                   [&](agent_settings& settings) { settings.access.tokens_file = tokens.path; }};
  std::string targets[3];
  for (int i = 0; i < 3; ++i) {
    agent.use_token(callers[i]);
    auto id = agent.submit(busybox("true"));
    agent.await_state(id, task_state::running);
    targets[i] = "/v1/tasks/" + to_string(id) + "/files?path=/out";
  }
  auto ask = [&](int caller) {
    raw_client client{agent.socket()};
    client.send("GET " + targets[caller] + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + callers[caller]
                + "\r\nConnection: close\r\n\r\n");
    return client;
  };
  // Such a client takes the header, and nothing more.
  auto begins = [](raw_client& client) {
    char header[12]{};
    return std::string(header, ::recv(client.fd, header, sizeof header, MSG_WAITALL) > 0 ? sizeof header : 0);
  };
  auto slow = ask(0);
  REQUIRE(begins(slow) == "HTTP/1.1 200");
  auto again = ask(0).read();
  CHECK(again.starts_with("HTTP/1.1 429"));
  CHECK(again.find("Retry-After: ") != std::string::npos);
  auto slower = ask(1);
  CHECK(begins(slower) == "HTTP/1.1 200"); // whatever the first one holds
  auto third = ask(2).read();
  CHECK(third.starts_with("HTTP/1.1 503"));
  CHECK(third.find("Retry-After: ") != std::string::npos);
  CHECK(slow.read().size() > files.archive.size());
  agent.use_token(callers[0]);
  CHECK(eventually([&] { return agent.http("GET", targets[0]).status == 200; }));
  slower.reset();
  CHECK(eventually([&] {
    auto one = ask(1), other = ask(2);
    return begins(one) == "HTTP/1.1 200" && begins(other) == "HTTP/1.1 200";
  }));
  std::ostringstream audit;
  audit << std::ifstream{agent.data() + "/audit.log"}.rdbuf();
  auto path = targets[0].substr(0, targets[0].find('?'));
  CHECK(
    audit.str().find("\"method\":\"GET\",\"path\":\"" + path + "\",\"status\":200,\"location\":\"\",\"file\":\"/out\"}")
    != std::string::npos);
  files.let_go();
}

TEST_CASE("an archive that is on its way ends when its token is revoked", "[files]") {
  engine_with_files files;
  token_file tokens;
  auto token = tokens.make("a", "submit,read");
  test_agent agent{{files.engine.settings()},
                   [&](agent_settings& settings) { settings.access.tokens_file = tokens.path; }};
  agent.use_token(token);
  auto id = agent.submit(busybox("true"));
  agent.await_state(id, task_state::running);
  raw_client client{agent.socket()};
  client.send("GET /v1/tasks/" + to_string(id) + "/files?path=/out HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
              + token + "\r\n\r\n");
  REQUIRE(client.read_some(12) == "HTTP/1.1 200");
  REQUIRE(run_process({DAVIT_BINARY, "token", "revoke", "a", "--tokens-file", tokens.path}).exit_code == 0);
  CHECK(eventually([&] { return agent.http("GET", "/v1/tasks").status == 401; }));
  std::this_thread::sleep_for(std::chrono::milliseconds{600}); // two looks at who still may read
  CHECK(client.read().size() < files.archive.size() / 2);
  files.let_go();
}
