// The HTTP server among clients that mean harm: whatever they send, whenever they go, it lives and serves others.
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <cstdlib>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <unistd.h>

using namespace davit;
using namespace davit::transport;

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
    auto made = http_server::listen(io.context(), endpoint{"", "127.0.0.1", 0, {}}, limits, [this](exchange_ptr one) { answer(std::move(one)); });
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

struct client {
  int fd = -1;
  explicit client(std::uint16_t port) : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  }
  client(client&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  client& operator=(client&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~client() {
    if (fd >= 0)
      ::close(fd);
  }
  void send(std::string_view bytes) { (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT); }
  void reset() {
    linger now{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(std::exchange(fd, -1));
  }
  std::string read_all() {
    std::string all;
    char buffer[4096];
    pollfd look{fd, POLLIN, 0};
    while (::poll(&look, 1, 20'000) > 0) {
      auto count = ::recv(fd, buffer, sizeof buffer, 0);
      if (count <= 0)
        break;
      all.append(buffer, static_cast<std::size_t>(count));
    }
    return all;
  }
};

/// Whether somebody with a plain request gets an answer. The server may close an idle connection in favour of another, so
/// a client that was cut before its request was read asks once more, as every HTTP client does.
bool is_served(std::uint16_t port) {
  for (int i = 0; i < 50; ++i) {
    client good{port};
    good.send("GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (good.read_all().ends_with("good"))
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
    "NONSENSE\r\n\r\n",
  };
  std::vector<client> crowd;
  std::size_t late = 0;
  for (int round = 0; round < rounds; ++round) {
    switch (draw(9)) {
      case 0: case 1: case 2:
        if (crowd.size() < 3 * most_connections)
          crowd.emplace_back(port);
        break;
      case 3: case 4: case 5:
        if (!crowd.empty()) {
          const auto& words = said[draw(said.size() - 1)];
          auto& who = crowd[draw(crowd.size() - 1)];
          auto begin = draw(3) == 0 ? draw(words.size() - 1) : 0;
          who.send(std::string_view{words}.substr(begin, draw(1) ? words.size() : draw(words.size())));
          if (draw(3) == 0)
            who.send(words + words);
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
  // All have been forgotten: as many as it takes at once are served at once.
  for (std::size_t i = 0; i < most_connections; ++i)
    REQUIRE(is_served(port));
  std::vector<client> all;
  for (std::size_t i = 0; i < most_connections; ++i)
    all.emplace_back(port).send("GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  for (auto& good : all)
    CHECK(good.read_all().ends_with("good"));
}

} // namespace

TEST_CASE("clients that send halves, pipeline, stop reading, reset and come in crowds: the server serves others and forgets them") {
  auto number = [](const char* name, unsigned standard) {
    auto text = std::getenv(name);
    return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : standard;
  };
  auto seed = number("DAVIT_HTTP_SEED", 1);
  for (unsigned i = 0; i < number("DAVIT_HTTP_SIEGES", 6); ++i)
    besiege(seed + i);
}
