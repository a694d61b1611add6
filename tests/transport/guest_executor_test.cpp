#include "transport/guest_executor.hpp"

#include "fixture/environment.hpp"
#include "transport/io_runtime.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <catch2/catch_test_macros.hpp>

#include <future>
#include <random>
#include <thread>
#include <vector>

using namespace davit::transport;
namespace asio = boost::asio;

TEST_CASE("a guest's work is done at the door, a known one's in the house", "[guest]") {
  io_runtime io{1};
  auto who = std::make_shared<guest>();
  guest_executor executor{io.context(), io.door(), who};
  auto thread_of = [](auto where) {
    std::promise<std::thread::id> id;
    asio::post(where, [&] { id.set_value(std::this_thread::get_id()); });
    return id.get_future().get();
  };
  auto house = thread_of(io.context().get_executor()), door = thread_of(io.door().get_executor());
  CHECK(house != door);
  asio::any_io_executor any = asio::make_strand(executor);
  CHECK(thread_of(executor) == door);
  CHECK(thread_of(any) == door);
  asio::steady_timer timer{any, std::chrono::milliseconds{1}}; // the house's, though it tells the door
  std::promise<std::thread::id> rung;
  timer.async_wait([&](auto) { rung.set_value(std::this_thread::get_id()); });
  CHECK(rung.get_future().get() == door);
  who->known = true;
  CHECK(thread_of(executor) == house);
  CHECK(thread_of(any) == house);
}

TEST_CASE("a strand keeps its order while its guest becomes known", "[guest]") {
  std::minstd_rand random{davit::test::number_from("DAVIT_SEED", std::random_device{}())};
  for (int round = 0; round < 50; ++round) {
    io_runtime io{2};
    auto who = std::make_shared<guest>();
    auto strand = asio::make_strand(guest_executor{io.context(), io.door(), who});
    constexpr int count = 400;
    const auto turn = static_cast<int>(random() % count);
    std::vector<int> seen; // by the strand alone
    std::promise<void> over;
    for (int i = 0; i < count; ++i) {
      if (i == turn / 2)
        asio::post(strand, [&] { who->known = true; });
      auto work = [&, i] {
        seen.push_back(i);
        if (i + 1 == count)
          over.set_value();
      };
      if (random() % 2 == 0)
        asio::post(strand, work);
      else
        asio::dispatch(strand, work);
    }
    over.get_future().wait();
    io.stop();
    REQUIRE(seen.size() == count);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
  }
}
