#include "transport/guest_executor.hpp"

#include "fixture/environment.hpp"
#include "transport/io_runtime.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <future>
#include <random>
#include <thread>
#include <vector>

using namespace davit::transport;
namespace asio = boost::asio;

namespace {

/// A door whose thread is at work until it is let go: what is added meanwhile waits.
struct held_door {
  explicit held_door(io_runtime& io) {
    std::promise<void> busy;
    io.door().add(door::visit::first, 0, [&busy, go = may_go_.get_future().share()] {
      busy.set_value();
      go.wait();
    });
    busy.get_future().wait();
  }
  void let_go() { may_go_.set_value(); }

private:
  std::promise<void> may_go_;
};

} // namespace

TEST_CASE("a guest's work is done at the door, a known one's in the house", "[guest]") {
  io_runtime io{1};
  auto who = std::make_shared<guest>();
  guest_executor executor{io.context(), io.door(), who};
  auto thread_of = [](auto where) {
    std::promise<std::thread::id> id;
    asio::post(where, [&] { id.set_value(std::this_thread::get_id()); });
    return id.get_future().get();
  };
  auto house = thread_of(io.context().get_executor());
  std::promise<std::thread::id> at_door;
  io.door().add(door::visit::first, 0, [&] { at_door.set_value(std::this_thread::get_id()); });
  auto entrance = at_door.get_future().get();
  CHECK(house != entrance);
  asio::any_io_executor any = asio::make_strand(executor);
  CHECK(thread_of(executor) == entrance);
  CHECK(thread_of(any) == entrance);
  asio::steady_timer timer{any, std::chrono::milliseconds{1}}; // the house's, though it tells the door
  std::promise<std::thread::id> rung;
  timer.async_wait([&](auto) { rung.set_value(std::this_thread::get_id()); });
  CHECK(rung.get_future().get() == entrance);
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

TEST_CASE("whoever has just come is served before those who have waited for long or come again, and all are served",
          "[guest]") {
  io_runtime io{1};
  held_door held{io};
  std::promise<void> over;
  constexpr int each = 100;
  std::vector<std::pair<door::visit, int>> seen; // on the door's thread alone
  for (int i = 0; i < each; ++i)
    for (auto whose : {door::visit::first, door::visit::again})
      io.door().add(whose, 0, [&, i, whose] {
        seen.emplace_back(whose, i);
        if (seen.size() == 2 * each)
          over.set_value();
      });
  held.let_go();
  over.get_future().wait();
  REQUIRE(seen.size() == 2 * each);
  auto in_time = 0, again = 0;
  for (std::size_t i = 0; i < each; ++i) {
    again += seen[i].first == door::visit::again;
    in_time += seen[i].first == door::visit::first && seen[i].second >= each - static_cast<int>(i) - 1;
  }
  CHECK(again >= 10);
  CHECK(again <= 15);
  CHECK(in_time >= 60);
}

TEST_CASE("a crowd of one address makes nobody of another wait", "[guest]") {
  io_runtime io{1};
  held_door held{io};
  std::promise<void> over;
  constexpr std::size_t crowd = 1000, others = 100;
  std::vector<door::origin> seen; // on the door's thread alone
  auto add = [&](door::origin from) {
    io.door().add(door::visit::first, from, [&, from] {
      seen.push_back(from);
      if (seen.size() == crowd + others)
        over.set_value();
    });
  };
  for (std::size_t i = 0; i < crowd; ++i) {
    add(1);
    if (i < others)
      add(2 + i % 5); // five, before nine tenths of the crowd
  }
  held.let_go();
  over.get_future().wait();
  REQUIRE(seen.size() == crowd + others);
  // They take turns: the crowd has about as many as each of the others until those have all of theirs.
  auto last = std::find_if(seen.rbegin(), seen.rend(), [](auto from) { return from != 1; });
  CHECK(std::distance(last, seen.rend()) <= static_cast<std::ptrdiff_t>(others + 2 * others / 5));
}

TEST_CASE("who is to leave does so at once, also one that came again", "[guest]") {
  io_runtime io{1};
  held_door held{io};
  std::promise<void> over;
  auto who = std::make_shared<guest>();
  auto strand = guest_strand(io, who);
  std::vector<int> seen; // on the door's thread alone
  for (int i = 0; i < 100; ++i)
    io.door().add(i % 2 == 0 ? door::visit::first : door::visit::again, 0, [&] {
      seen.push_back(1);
      if (seen.size() == 101)
        over.set_value();
    });
  who->leaves();
  who->answered(); // too late
  asio::post(strand, [&] { seen.push_back(0); });
  held.let_go();
  over.get_future().wait();
  CHECK(std::find(seen.begin(), seen.end(), 0) - seen.begin() <= 1);
}

TEST_CASE("what waits at the door when it closes is dropped, whatever it owns", "[guest]") {
  auto owned = std::make_shared<int>();
  {
    io_runtime io{1};
    auto who = std::make_shared<guest>();
    auto strand = guest_strand(io, who);
    std::promise<void> busy, may_go;
    asio::post(strand, [&] {
      busy.set_value();
      may_go.get_future().wait();
    });
    busy.get_future().wait();
    struct adds_when_it_goes {
      asio::strand<guest_executor> strand;
      std::shared_ptr<int> owned;
      ~adds_when_it_goes() {
        if (owned)
          asio::post(strand, [kept = owned] {});
      }
    };
    for (int i = 0; i < 3; ++i)
      asio::post(strand, [kept = std::make_shared<adds_when_it_goes>(strand, owned)] {});
    io.door().add(door::visit::first, 0, [kept = std::make_shared<adds_when_it_goes>(strand, owned)] {});
    std::thread stopping{[&] { io.stop(); }};
    may_go.set_value();
    stopping.join();
  }
  CHECK(owned.use_count() == 1);
}
