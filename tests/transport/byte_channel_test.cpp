#include "transport/byte_channel.hpp"

#include "fixture/result_text.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <catch2/catch_test_macros.hpp>

#include <future>
#include <random>
#include <thread>

using namespace davit;
using namespace davit::transport;

namespace {

/// An io_context with a thread of its own.
struct other_side {
  boost::asio::io_context context;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread{[this] { context.run(); }};
  ~other_side() {
    work.reset();
    thread.join();
  }
};

std::string piece_of(std::mt19937_64& random) {
  return std::string(1 + random() % 3000, static_cast<char>('a' + random() % 26));
}

} // namespace

TEST_CASE("bytes come through a channel in order, in both directions, with few under way", "[files]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    std::vector<std::string> pieces;
    for (auto i = random() % 200; i > 0; --i)
      pieces.push_back(piece_of(random));
    std::string all, got;
    for (const auto& one : pieces)
      all += one;
    other_side other;
    auto channel = std::make_shared<byte_channel>(boost::asio::make_strand(other.context), 1 + random() % 5000);
    if (seed % 2 == 0) {
      std::promise<void> ended;
      boost::asio::co_spawn(
        other.context,
        [&, channel]() -> awaitable<void> {
          while (true) {
            auto piece = co_await channel->pop_async(no_deadline);
            if (!piece || piece->empty())
              break;
            got += *piece;
          }
          ended.set_value();
        },
        boost::asio::detached);
      for (auto& one : pieces)
        REQUIRE(channel->push(one));
      channel->end();
      ended.get_future().wait();
    } else {
      boost::asio::co_spawn(
        other.context,
        [&, channel]() -> awaitable<void> {
          for (auto& one : pieces)
            if (!co_await channel->push_async(one, no_deadline))
              co_return;
          channel->end();
        },
        boost::asio::detached);
      while (true) {
        auto piece = channel->pop();
        REQUIRE(piece);
        if (piece->empty())
          break;
        got += *piece;
      }
    }
    CHECK(got == all);
  }
}

TEST_CASE("whoever waits at a channel hears when the other side has gone", "[files]") {
  other_side other;
  auto channel = std::make_shared<byte_channel>(boost::asio::make_strand(other.context), 10);
  {
    auto lent = channel->lend({engine_errc::lost, 0, "gone"});
    CHECK(channel->push("more than ten bytes"));
    std::thread late{[lent = std::move(lent)]() mutable { lent.reset(); }};
    CHECK_FALSE(channel->push("no room, and nobody takes it"));
    late.join();
  }
  CHECK(channel->failure()->message == "gone");
  CHECK(channel->pop().error().message == "gone");
  auto ended = std::make_shared<byte_channel>(boost::asio::make_strand(other.context), 10);
  auto lent = ended->lend({engine_errc::lost, 0, "gone"});
  CHECK(ended->push("last"));
  ended->end();
  lent.reset(); // it was taken to its end: nothing is lost
  CHECK(ended->pop().value() == "last");
  CHECK(ended->pop().value().empty());
}
