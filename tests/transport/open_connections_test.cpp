#include "transport/open_connections.hpp"

#include "fixture/environment.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <utility>
#include <vector>

using namespace davit::transport;

namespace {

struct counted {
  int closed = 0;
  std::shared_ptr<open_connections::place> enter(open_connections& list, const std::string& address = {}) {
    return list.enter(address, [this] { ++closed; });
  }
};

} // namespace

TEST_CASE("a connection is in the list for exactly as long as it keeps its place", "[http]") {
  auto list = std::make_shared<open_connections>(2);
  counted one;
  auto place = one.enter(*list);
  CHECK(list->size() == 1);
  place.reset();
  CHECK(list->size() == 0);
  list->close_all();
  CHECK(one.closed == 0);
}

TEST_CASE("a place outlives the server that gave it", "[http]") {
  counted one;
  auto list = std::make_shared<open_connections>(2);
  auto place = one.enter(*list);
  list.reset();
  place->busy();
  place.reset();
  CHECK(one.closed == 0);
}

TEST_CASE("with too many connections the one that has been idle for longest gives way, and one at work for a known "
          "client never does",
          "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted a, b, c, d, e, f;
  auto place_a = a.enter(*list), place_b = b.enter(*list), place_c = c.enter(*list);
  place_a->known();
  place_b->known();
  place_c->known();
  place_a->busy();
  auto place_d = d.enter(*list);
  CHECK(place_d);
  place_d->known();
  CHECK(b.closed == 1);
  place_c->busy();
  place_c->idle(); // later than d
  auto place_e = e.enter(*list);
  CHECK(place_e);
  place_e->known();
  CHECK(d.closed == 1);
  CHECK(c.closed == 0);
  place_c->busy();
  place_e->busy();
  CHECK_FALSE(f.enter(*list));
  CHECK(a.closed + c.closed + e.closed == 0);
}

TEST_CASE("unknown clients give way before known ones, those that wait first", "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted known_idle, working, waiting, others[4];
  auto place_known = known_idle.enter(*list), place_working = working.enter(*list),
       place_waiting = waiting.enter(*list);
  place_known->known();
  place_working->busy();
  auto first = others[0].enter(*list);
  CHECK(waiting.closed == 1);
  first->known();
  auto second = others[1].enter(*list);
  CHECK(working.closed == 1);
  second->known();
  second->busy();
  auto third = others[2].enter(*list);
  CHECK(known_idle.closed == 1);
  auto [closed, turned_away] = list->so_far();
  CHECK(closed == 3);
  CHECK(turned_away == 0);
}

TEST_CASE("who has had an answer and is not known gives way first, at work or not", "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted waiting, answered, again, others[3];
  auto place_waiting = waiting.enter(*list), place_answered = answered.enter(*list), place_again = again.enter(*list);
  place_answered->answered();
  place_again->busy();
  place_again->answered();
  auto first = others[0].enter(*list);
  CHECK(answered.closed == 1);
  auto second = others[1].enter(*list);
  CHECK(again.closed == 1);
  auto third = others[2].enter(*list);
  CHECK(waiting.closed == 1);
}

TEST_CASE("one address has half of the places, and gives way to nobody else's connections but its own", "[http]") {
  auto list = std::make_shared<open_connections>(4);
  counted other, a, b, c, d;
  auto place_other = other.enter(*list, "192.0.2.1");
  auto place_a = a.enter(*list, "192.0.2.2"), place_b = b.enter(*list, "192.0.2.2");
  place_b->known();
  auto place_c = c.enter(*list, "192.0.2.2");
  CHECK(a.closed == 1);
  CHECK(other.closed + b.closed == 0);
  place_a.reset();
  for (auto one : {place_b.get(), place_c.get()}) {
    one->known();
    one->busy();
  }
  CHECK_FALSE(d.enter(*list, "192.0.2.2"));
  CHECK(list->so_far().turned_away == 1);
  CHECK(d.enter(*list, "192.0.2.3"));
}

TEST_CASE("after the end nobody comes in", "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted a, b;
  auto place = a.enter(*list);
  list->close_all();
  CHECK(a.closed == 1);
  CHECK_FALSE(b.enter(*list));
}

TEST_CASE("whatever clients do, the one that the rules name is closed for a new one", "[http]") {
  auto seed = davit::test::number_from("DAVIT_SEED", std::random_device{}());
  INFO("DAVIT_SEED=" << seed);
  std::minstd_rand random{static_cast<unsigned>(seed)};
  struct entry {
    std::shared_ptr<open_connections::place> place;
    std::string address;
    bool idle = true, known = false, answered = false, closed = false;
    int since = 0; ///< What it is.
    int rank() const { return known ? (idle ? 3 : 4) : answered ? 0 : (idle ? 1 : 2); }
  };
  for (int round = 0; round < 30; ++round) {
    const std::size_t most = 4 + random() % 12;
    auto list = std::make_shared<open_connections>(most);
    std::vector<std::unique_ptr<entry>> all;
    std::uint64_t closed = 0, turned_away = 0;
    for (int step = 0; step < 2000; ++step) {
      if (auto what = random() % 8; what >= 3 && !all.empty()) {
        auto which = all.begin() + static_cast<std::ptrdiff_t>(random() % all.size());
        auto& one = **which;
        const auto since = std::exchange(one.since, step);
        switch (what) {
          case 3:
            one.idle = true;
            one.place->idle();
            break;
          case 4:
            one.idle = false;
            one.place->busy();
            break;
          case 5:
            one.answered = true;
            one.place->answered();
            break;
          case 6:
            if (one.known || random() % 4 != 0) { // nothing new
              one.since = since;
              continue;
            }
            one.known = true;
            one.place->known();
            break;
          default:
            one.since = since;
            if (one.closed || random() % 8 == 0)
              all.erase(which);
        }
        continue;
      }
      // Somebody comes. Who has to give way?
      auto address = std::string(random() % 4, 'a');
      std::size_t of_address = 0, open = 0;
      for (auto& one : all) {
        of_address += one->address == address;
        open += !one->closed;
      }
      auto own = !address.empty() && of_address >= most / 2;
      entry* first = nullptr;
      for (auto& one : all)
        if (!one->closed && one->rank() < 4 && (!own || one->address == address)
            && (!first || std::pair{one->rank(), one->since} < std::pair{first->rank(), first->since}))
          first = one.get();
      auto must_close = own || open >= most;
      auto made = std::make_unique<entry>();
      made->address = address;
      made->since = step;
      made->place = list->enter(address, [one = made.get()] { one->closed = true; });
      if (must_close && !first) {
        CHECK_FALSE(made->place);
        CHECK(list->so_far().turned_away == ++turned_away);
        continue;
      }
      REQUIRE(made->place);
      closed += must_close;
      CHECK(list->so_far().closed == closed);
      if (must_close)
        REQUIRE(first->closed);
      all.push_back(std::move(made));
      REQUIRE(list->size() == all.size());
    }
    list->close_all();
    for (auto& one : all)
      CHECK(one->closed);
    all.clear();
    CHECK(list->size() == 0);
  }
}
