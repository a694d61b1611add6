// Archives of a task's files: how many an agent holds at once.
#include "fixture/raw_client.hpp"
#include "fixture/scripted_engine.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>

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

TEST_CASE(
  "an agent holds two archives at once, until they are sent or nobody wants them, and says so to a third client",
  "[files]") {
  engine_with_files files;
  test_agent agent{{files.engine.settings()}};
  auto id = agent.submit(busybox("true"));
  agent.await_state(id, task_state::running);
  auto target = "/v1/tasks/" + to_string(id) + "/files?path=/out";
  auto ask = [&] {
    raw_client client{agent.socket()};
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client;
  };
  auto begins = [](raw_client& client) { return client.read("\r\n\r\n").substr(0, 12); };
  // They take the header, and nothing more.
  auto slow = ask(), slower = ask();
  char header[12];
  for (auto one : {&slow, &slower})
    REQUIRE(::recv(one->fd, header, sizeof header, MSG_WAITALL) == sizeof header);
  auto third = ask();
  auto refused = third.read();
  CHECK(refused.starts_with("HTTP/1.1 503"));
  CHECK(refused.find("Retry-After: ") != std::string::npos);
  auto rest = slow.read({});
  CHECK(rest.size() > files.archive.size());
  CHECK(eventually([&] { return agent.http("GET", target).status == 200; }));
  slower.reset();
  CHECK(eventually([&] {
    auto one = ask(), other = ask();
    return begins(one) == "HTTP/1.1 200" && begins(other) == "HTTP/1.1 200";
  }));
  std::ostringstream audit;
  audit << std::ifstream{agent.data() + "/audit.log"}.rdbuf();
  CHECK(audit.str().find("\"method\":\"GET\",\"path\":\"/v1/tasks/" + to_string(id)
                         + "/files\",\"status\":200,\"location\":\"\",\"file\":\"/out\"}")
        != std::string::npos);
  files.let_go();
}
