#include "transport/open_connections.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit::transport;

namespace {

struct counted {
  int closed = 0;
  std::shared_ptr<open_connections::place> enter(open_connections& list) {
    return list.enter([this] { ++closed; });
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

TEST_CASE("with too many connections the one that has been idle for longest gives way, and one at work never does",
          "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted a, b, c, d, e, f;
  auto place_a = a.enter(*list), place_b = b.enter(*list), place_c = c.enter(*list);
  place_a->busy();
  auto place_d = d.enter(*list);
  CHECK(place_d);
  CHECK(b.closed == 1);
  place_c->busy();
  place_c->idle(); // later than d
  auto place_e = e.enter(*list);
  CHECK(place_e);
  CHECK(d.closed == 1);
  CHECK(c.closed == 0);
  place_c->busy();
  place_e->busy();
  CHECK_FALSE(f.enter(*list));
  CHECK(a.closed + c.closed + e.closed == 0);
}

TEST_CASE("after the end nobody comes in", "[http]") {
  auto list = std::make_shared<open_connections>(3);
  counted a, b;
  auto place = a.enter(*list);
  list->close_all();
  CHECK(a.closed == 1);
  CHECK_FALSE(b.enter(*list));
}
