// The HTTP server among clients that mean harm: whatever they send, whenever they go, it lives and serves others.
#include "fixture/environment.hpp"
#include "fixture/raw_client.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <future>
#include <mutex>
#include <random>
#include <thread>

using namespace davit;
using namespace davit::transport;
using davit::test::number_from;
using davit::test::raw_client;

namespace {

constexpr std::size_t most_connections = 12;

struct served {
  io_runtime io{2};
  std::shared_ptr<http_server> server;
  std::mutex mutex;
  std::vector<exchange_ptr> unanswered;

  served() {
    server_limits limits;
    limits.connections = most_connections;
    auto made = http_server::listen(io, endpoint{"", "127.0.0.1", 0, {}}, limits,
                                    [this](exchange_ptr one) { judge(std::move(one)); });
    REQUIRE(made.has_value());
    server = *made;
  }
  ~served() {
    server->stop();
    io.stop();
  }

  void answer(exchange_ptr one) {
    const auto& path = one->request().path;
    if (path == "/late") {
      std::lock_guard guard{mutex};
      unanswered.push_back(std::move(one));
    } else if (path == "/stream") {
      one->begin({});
      for (int i = 0; i < 20; ++i)
        one->write(std::string(500, 'x'), nullptr);
      one->finish();
    } else {
      one->respond({200, "text/plain", "good", {}});
    }
  }

  void judge(exchange_ptr one) {
    if (one->request().path == "/refused")
      one->respond({401, "text/plain", "", {}});
    else {
      one->trust("somebody");
      one->read_body([this, one] { answer(one); });
    }
  }

  /// Answers what waits, from a thread of its own as an actor does; how many it was.
  std::size_t answer_late() {
    std::vector<exchange_ptr> all;
    {
      std::lock_guard guard{mutex};
      all.swap(unanswered);
    }
    for (auto& one : all)
      one->respond({200, "text/plain", "late", {}});
    return all.size();
  }
};

/// Whether somebody with a plain request gets an answer. The server may close an idle connection in favour of another,
/// so a client that was cut before its request was read asks once more, as every HTTP client does.
bool is_served(std::uint16_t port) {
  for (int i = 0; i < 50; ++i) {
    raw_client good{port};
    good.send("GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (good.read().ends_with("good"))
      return true;
  }
  return false;
}

void besiege(unsigned seed) {
  constexpr int rounds = 1500;
  INFO("DAVIT_HTTP_SEED=" << seed);
  std::mt19937 random{seed};
  auto draw = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>{0, most}(random); };
  served one;
  auto port = one.server->where().port;
  const std::vector<std::string> said{
    "GET /now HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    "POST /now HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST /refused HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "NONSENSE\r\n\r\n",
  };
  std::vector<raw_client> crowd;
  std::size_t late = 0;
  for (int round = 0; round < rounds; ++round) {
    switch (draw(9)) {
      case 0:
      case 1:
      case 2:
        if (crowd.size() < 3 * most_connections)
          crowd.emplace_back(port);
        break;
      case 3:
      case 4:
      case 5:
        if (!crowd.empty()) {
          const auto& words = said[draw(said.size() - 1)];
          auto& who = crowd[draw(crowd.size() - 1)];
          auto begin = draw(3) == 0 ? draw(words.size() - 1) : 0;
          who.send(std::string_view{words}.substr(begin, draw(1) ? words.size() : draw(words.size())), MSG_DONTWAIT);
          if (draw(3) == 0)
            who.send(words + words, MSG_DONTWAIT);
        }
        break;
      case 6:
        if (!crowd.empty()) {
          auto at = draw(crowd.size() - 1);
          if (draw(1))
            crowd[at].reset();
          crowd.erase(crowd.begin() + static_cast<std::ptrdiff_t>(at));
        }
        break;
      case 7: // a request that is being answered holds its place: never all of them
        if (late < most_connections / 3) {
          ++late;
          crowd.emplace_back(port);
          crowd.back().send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        break;
      case 8:
        late -= std::min(late, one.answer_late());
        break;
      default:
        INFO("round " << round);
        if (round % 10 == 9)
          REQUIRE(is_served(port));
    }
  }
  one.answer_late();
  crowd.clear();
  // All are forgotten: as many as it takes at once are served at once.
  for (std::size_t i = 0; i < most_connections; ++i)
    REQUIRE(is_served(port));
  for (int i = 0; i < 2000 && one.server->connections()->size() != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{one.answer_late() == 0 ? 10 : 1});
  REQUIRE(one.server->connections()->size() == 0);
  std::vector<raw_client> all;
  for (std::size_t i = 0; i < most_connections; ++i)
    all.emplace_back(port).send("GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  for (auto& good : all)
    CHECK(good.read().ends_with("good"));
}

} // namespace

TEST_CASE("clients that send halves, pipeline, stop reading, reset and come in crowds: the server serves others and "
          "forgets them",
          "[http]") {
  auto seed = number_from("DAVIT_HTTP_SEED", 1);
  for (unsigned i = 0; i < number_from("DAVIT_HTTP_SIEGES", 6); ++i)
    besiege(seed + i);
}

TEST_CASE("what was being answered when the server's threads ended leaves nothing", "[http]") {
  std::weak_ptr<exchange_ptr::element_type> seen;
  std::promise<void> came;
  {
    io_runtime io{1};
    auto server = http_server::listen(io, endpoint{"", "127.0.0.1", 0, {}}, {}, [&](const exchange_ptr& one) {
      one->on_closed([one] {});
      one->begin({});
      seen = one;
      came.set_value();
    });
    REQUIRE(server.has_value());
    raw_client client{(*server)->where().port};
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    came.get_future().wait();
    io.stop();
  }
  CHECK(seen.expired());
}

TEST_CASE("who has shown who they are waits for nothing that others are still asked at the door", "[http]") {
  io_runtime io{1};
  std::promise<void> came, may_go;
  auto server = http_server::listen(io, endpoint{"", "127.0.0.1", 0, {}}, {}, [&](const exchange_ptr& one) {
    if (one->request().path == "/unknown") {
      came.set_value();
      may_go.get_future().wait();
    } else {
      one->trust("somebody");
    }
    one->respond({200, "text/plain", "", {}});
  });
  REQUIRE(server.has_value());
  auto port = (*server)->where().port;
  raw_client known{port}, unknown{port};
  auto ask
    = [](raw_client& client, const std::string& path) { client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); };
  auto answered = [](raw_client& client) { return client.read("\r\n\r\n").starts_with("HTTP/1.1 200"); };
  ask(known, "/");
  REQUIRE(answered(known));
  ask(unknown, "/unknown");
  came.get_future().wait();
  for (int i = 0; i < 3; ++i) {
    ask(known, "/");
    CHECK(answered(known));
  }
  may_go.set_value();
  CHECK(answered(unknown));
  (*server)->stop();
  io.stop();
}
