// Names that are looked up by a system that answers late, or never.
#include "transport/byte_stream.hpp"
#include "transport/io_runtime.hpp"
#include "transport/resolver.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch_test_macros.hpp>

#include <condition_variable>
#include <cstdlib>
#include <dlfcn.h>
#include <future>
#include <mutex>
#include <netdb.h>
#include <string_view>

using namespace davit;
using namespace davit::transport;
using namespace std::chrono_literals;

namespace {

/// What the system's resolver does with the names of this test.
struct slow_names {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  int waiting = 0;
  int asked = 0;

  void hang() {
    std::unique_lock lock{mutex};
    ++waiting;
    ++asked;
    changed.notify_all();
    changed.wait(lock, [&] { return released; });
    --waiting;
    changed.notify_all();
  }
  void release_all() {
    std::unique_lock lock{mutex};
    released = true;
    changed.notify_all();
    changed.wait(lock, [&] { return waiting == 0; });
    released = false;
    asked = 0;
  }
};

/// Never destroyed: the threads of look-ups that nobody waits for any more may still hang here.
auto& slow = *new slow_names;

template <class T>
std::future<T> start(io_runtime& io, awaitable<T> work) {
  return boost::asio::co_spawn(boost::asio::make_strand(io.context()), std::move(work), boost::asio::use_future);
}

endpoint tcp(const std::string& host) {
  return {"", host, 1, {}};
}

} // namespace

/// Instead of libc's: names under .late.test are answered when the test lets them be, others as ever.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* req, addrinfo** pai) {
  static auto real = reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (name && std::string_view{name}.ends_with(".late.test")) {
    slow.hang();
    return real("127.0.0.1", service, req, pai);
  }
  return real(name, service, req, pai);
}

TEST_CASE("a connection to a name that is never resolved ends at its deadline, and holds up no other name",
          "[resolver]") {
  io_runtime io{2};
  auto stuck = start(io, connect(tcp("never.late.test"), within(100ms)));
  REQUIRE(stuck.wait_for(20s) == std::future_status::ready);
  CHECK(stuck.get().error().message == "the name never.late.test was not resolved in time");
  for (auto host : {"127.0.0.1", "localhost"}) {
    auto other = start(io, connect(tcp(host), within(20s)));
    REQUIRE(other.wait_for(30s) == std::future_status::ready);
    auto answer = other.get();
    CHECK(answer.error().code == engine_errc::unreachable); // nobody listens there
    CHECK(answer.error().message.find("is it running?") != std::string::npos);
  }
  slow.release_all();
}

TEST_CASE("those who ask for one name at once share one look-up", "[resolver]") {
  io_runtime io{2};
  std::vector<std::future<result<std::vector<boost::asio::ip::tcp::endpoint>>>> all;
  for (std::uint16_t port = 1; port <= 50; ++port)
    all.push_back(start(io, resolve("shared.late.test", port, within(60s))));
  auto impatient = start(io, resolve("shared.late.test", 1, within(50ms)));
  CHECK(impatient.get().error().code == engine_errc::timed_out);
  {
    std::lock_guard guard{slow.mutex};
    CHECK(slow.asked == 1);
  }
  slow.release_all();
  for (std::uint16_t port = 1; port <= 50; ++port) {
    auto found = all[port - 1u].get();
    REQUIRE(found.has_value());
    CHECK(found->front() == boost::asio::ip::tcp::endpoint{boost::asio::ip::make_address("127.0.0.1"), port});
  }
}

TEST_CASE("answers that come as the deadline passes do no harm, however many", "[resolver]") {
  io_runtime io{2};
  for (int round = 0; round < 40; ++round) {
    std::vector<std::future<result<std::vector<boost::asio::ip::tcp::endpoint>>>> all;
    auto host = "n" + std::to_string(round % 7) + ".late.test";
    for (int i = 0; i < 50; ++i)
      all.push_back(start(io, resolve(host, 1, within(std::chrono::milliseconds{1 + i % 5}))));
    all.front().wait();
    slow.release_all();
    for (auto& one : all) {
      REQUIRE(one.wait_for(20s) == std::future_status::ready);
      auto found = one.get();
      CHECK((found.has_value() || found.error().code == engine_errc::timed_out));
    }
  }
  slow.release_all();
}

TEST_CASE("whoever waits for a name may be gone with everything before the answer comes", "[resolver]") {
  {
    io_runtime io{1};
    auto waiting = start(io, resolve("gone.late.test", 1, no_deadline));
    std::unique_lock lock{slow.mutex};
    slow.changed.wait(lock, [] { return slow.waiting == 1; });
  }
  slow.release_all();
}

TEST_CASE("a name that does not exist is unreachable, and its name is told", "[resolver]") {
  io_runtime io{1};
  auto found = start(io, resolve("does-not-exist.invalid", 1, within(60s))).get();
  REQUIRE_FALSE(found.has_value());
  CHECK(found.error().code == engine_errc::unreachable);
  CHECK(found.error().message.starts_with("cannot resolve does-not-exist.invalid: "));
}
