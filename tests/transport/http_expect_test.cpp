// Clients that hold a request's body back until they are asked for it: RFC 9110, 10.1.1.
#include "fixture/raw_client.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <future>
#include <mutex>
#include <sys/socket.h>
#include <thread>
#include <utility>

using namespace davit;
using namespace davit::transport;
using davit::test::raw_client;
using namespace std::chrono_literals;

namespace {

const std::string asked_for = "HTTP/1.1 100 Continue\r\n\r\n";

std::string post(const std::string& path, const std::string& headers, const char* version = "1.1") {
  return "POST " + path + " HTTP/" + version + "\r\nHost: x\r\n" + headers + "\r\n";
}

/// Answers a whole request with its body; a header by what its path says.
struct judging {
  io_runtime io{2};
  std::shared_ptr<http_server> server;
  std::mutex mutex;
  exchange_ptr undecided;
  std::vector<std::thread> threads;

  explicit judging(bool judges = true, server_limits limits = {}) {
    auto on_header = judges ? [this](exchange_ptr one) { judge(std::move(one)); } : when_whole(echo);
    auto made = http_server::listen(io, endpoint{"", "127.0.0.1", 0, {}}, limits, on_header);
    REQUIRE(made.has_value());
    server = *made;
  }
  ~judging() {
    server->stop();
    for (auto& one : threads)
      one.join();
    io.stop();
  }

  static void echo(exchange_ptr one) { one->respond({200, "text/plain", "body:" + one->request().body + ".", {}}); }

  void judge(exchange_ptr one) {
    auto path = one->request().path;
    std::lock_guard guard{mutex};
    if (path == "/refused")
      one->respond({401, "text/plain", "not you.", {}});
    else if (path == "/undecided")
      undecided = std::move(one);
    else // from a thread of its own, as an actor does
      threads.emplace_back([one] { one->read_body([one] { echo(one); }); });
  }

  raw_client connect() { return raw_client{server->where().port}; }
};

} // namespace

TEST_CASE(
  "a client that waits to be asked for its body is asked after its header was let in, and answered when it has sent it",
  "[http]") {
  judging one;
  auto client = one.connect();
  for (int i = 0; i < 3; ++i) {
    client.send(post("/good", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
    CHECK(client.read("\r\n\r\n") == asked_for);
    client.send("hello");
    auto answer = client.read(".");
    CHECK(answer.starts_with("HTTP/1.1 200"));
    CHECK(answer.ends_with("body:hello."));
  }
  client.send(post("/good", "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n"));
  CHECK(client.read("\r\n\r\n") == asked_for);
  client.send("5\r\nagain\r\n0\r\n\r\n");
  CHECK(client.read(".").ends_with("body:again."));
}

TEST_CASE("a client whose header is refused is not asked for its body, and hears why even if it sends it all the same",
          "[http]") {
  judging one;
  auto client = one.connect();
  client.send(post("/refused", "Content-Length: 3000000\r\nExpect: 100-continue\r\n"));
  auto answer = client.read();
  CHECK(answer.starts_with("HTTP/1.1 401"));
  CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  CHECK(answer.ends_with("not you."));
  auto hasty = one.connect();
  hasty.send(post("/refused", "Content-Length: 3000000\r\nExpect: 100-continue\r\n") + std::string(3'000'000, 'x'));
  CHECK(hasty.read().starts_with("HTTP/1.1 401"));
}

TEST_CASE("a body that comes with its header, or before it is asked for, is taken without asking", "[http]") {
  judging one;
  auto client = one.connect();
  client.send(post("/good", "Content-Length: 5\r\nExpect: 100-continue\r\n") + "hello");
  CHECK(client.read(".").find("100 Continue") == std::string::npos);
  client.send(post("/good", "Content-Length: 0\r\nExpect: 100-continue\r\n"));
  CHECK(client.read(".").starts_with("HTTP/1.1 200"));
  auto old = one.connect();
  old.send(post("/good", "Content-Length: 5\r\nExpect: 100-continue\r\n", "1.0") + "hello");
  CHECK(old.read().ends_with("body:hello."));
}

TEST_CASE("where nobody judges headers, every client is asked for its body", "[http]") {
  judging one{false};
  auto client = one.connect();
  client.send(post("/refused", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  CHECK(client.read("\r\n\r\n") == asked_for);
  client.send("hello");
  CHECK(client.read(".").ends_with("body:hello."));
}

TEST_CASE("a header is judged before its body comes, also if the client does not wait to be asked", "[http]") {
  judging one;
  auto client = one.connect();
  client.send(post("/refused", "Content-Length: 3000000\r\n")); // and no more
  auto answer = client.read();
  CHECK(answer.starts_with("HTTP/1.1 401"));
  CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  auto chunked = one.connect();
  chunked.send(post("/refused", "Transfer-Encoding: chunked\r\n"));
  CHECK(chunked.read().starts_with("HTTP/1.1 401"));
  auto endless = one.connect(); // longer than any body may be: who may not come in hears that first
  endless.send(post("/refused", "Content-Length: 99999999999\r\n"));
  CHECK(endless.read().starts_with("HTTP/1.1 401"));
  auto good = one.connect();
  good.send(post("/good", "Content-Length: 5\r\n"));
  good.send("hello");
  CHECK(good.read(".").ends_with("body:hello."));
  good.send(post("/good", "Transfer-Encoding: chunked\r\n") + "5\r\nagain\r\n0\r\n\r\n");
  CHECK(good.read(".").ends_with("body:again."));
}

TEST_CASE("a body that is too long is refused by its header, or where it gets too long", "[http]") {
  server_limits limits;
  limits.body_bytes = 1000;
  judging one{true, limits};
  auto client = one.connect();
  client.send(post("/good", "Content-Length: 1001\r\nExpect: 100-continue\r\n"));
  CHECK(client.read().starts_with("HTTP/1.1 413"));
  auto other = one.connect();
  other.send(post("/good", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"));
  CHECK(other.read("\r\n\r\n") == asked_for);
  other.send("800\r\n" + std::string(0x800, 'x') + "\r\n0\r\n\r\n");
  CHECK(other.read().starts_with("HTTP/1.1 413"));
}

TEST_CASE("a client that is asked for its body and does not send it is given up", "[http]") {
  server_limits limits;
  limits.body = 100ms;
  judging one{true, limits};
  auto client = one.connect();
  client.send(post("/good", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  CHECK(client.read() == asked_for);
}

TEST_CASE("a client that goes while its header is judged is noticed, and what is decided afterwards does no harm",
          "[http]") {
  server_limits limits;
  limits.half_closed = 100ms; // it has not shut down its sending side alone, but that can't be seen
  judging one{true, limits};
  std::mutex mutex;
  bool gone = false;
  {
    auto client = one.connect();
    client.send(post("/undecided", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
    exchange_ptr waiting;
    while (!waiting) {
      std::lock_guard guard{one.mutex};
      waiting = one.undecided;
    }
    waiting->on_closed([&] {
      std::lock_guard guard{mutex};
      gone = true;
    });
  }
  auto is_gone = [&] {
    std::lock_guard guard{mutex};
    return gone;
  };
  while (!is_gone())
    std::this_thread::yield();
  std::lock_guard guard{one.mutex};
  one.undecided->read_body([] { FAIL("there is no body"); });
  one.undecided->respond({200, "text/plain", "", {}});
}

TEST_CASE("a client that has nothing more to say gets its answer, at once or later", "[http]") {
  server_limits limits;
  limits.half_closed = 2s;
  judging one{true, limits};
  for (int i = 0; i < 100; ++i) {
    auto client = one.connect();
    client.send(post("/", "Content-Length: 5\r\n") + "hello");
    ::shutdown(client.fd, SHUT_WR);
    CHECK(client.read().ends_with("body:hello."));
  }
  auto client = one.connect();
  client.send(post("/undecided", "Content-Length: 5\r\n") + "hello");
  ::shutdown(client.fd, SHUT_WR);
  exchange_ptr waiting;
  while (!waiting) {
    std::lock_guard guard{one.mutex};
    waiting = std::exchange(one.undecided, nullptr);
  }
  std::this_thread::sleep_for(200ms); // it has been seen by then that nothing more comes
  waiting->respond({200, "text/plain", "late.", {}});
  CHECK(client.read().ends_with("late."));
  // Also one that comes in parts for longer than it may take from one to the next, and one that is read slowly.
  auto next = [&] {
    exchange_ptr asked;
    while (!asked) {
      std::lock_guard guard{one.mutex};
      asked = std::exchange(one.undecided, nullptr);
    }
    return asked;
  };
  auto parts = one.connect();
  parts.send("GET /undecided HTTP/1.1\r\nHost: x\r\n\r\n");
  ::shutdown(parts.fd, SHUT_WR);
  auto asked = next();
  asked->begin({200, "text/plain", "", {}});
  for (int i = 0; i < 25; ++i) { // all of it takes longer
    std::this_thread::sleep_for(100ms);
    asked->write("part", nullptr);
  }
  asked->finish();
  CHECK(parts.read().ends_with("part\r\n0\r\n\r\n"));
  auto slow = one.connect();
  slow.send("GET /undecided HTTP/1.1\r\nHost: x\r\n\r\n");
  ::shutdown(slow.fd, SHUT_WR);
  asked = next();
  constexpr std::size_t size = 30'000'000;
  asked->respond({200, "text/plain", std::string(size, 'x'), {}});
  std::this_thread::sleep_for(2500ms);
  CHECK(slow.read().size() > size);
  // Who has gone is not waited for.
  { one.connect().send("GET /undecided HTTP/1.1\r\nHost: x\r\n\r\n"); }
  asked = next();
  std::promise<void> gone;
  asked->on_closed([&] { gone.set_value(); });
  gone.get_future().wait();
}

TEST_CASE("an answer that is cut ends at once, though its reader takes nothing", "[http]") {
  judging one;
  for (auto streamed : {true, false}) {
    auto client = one.connect();
    client.send("GET /undecided HTTP/1.1\r\nHost: x\r\n\r\n");
    exchange_ptr asked;
    while (!asked) {
      std::lock_guard guard{one.mutex};
      asked = std::exchange(one.undecided, nullptr);
    }
    server_response large{200, "text/plain", "", {}};
    large.body.resize(50'000'000, 'x');
    if (streamed)
      asked->begin(std::move(large));
    else
      asked->respond(std::move(large));
    client.read_some(1000);
    std::this_thread::sleep_for(300ms); // the system takes no more by then
    CHECK(one.server->connections()->size() == 1);
    asked->cut();
    asked.reset();
    while (one.server->connections()->size() != 0) // its patience with a slow reader is five minutes
      std::this_thread::sleep_for(1ms);
  }
}
