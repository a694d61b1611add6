#include "actors/peer_guard.hpp"
#include "fixture/environment.hpp"
#include "fixture/peer_bytes.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

const peer_view view{node_bytes(1), node_bytes(2), 100, 7};

/// Whether the agent `there` hears it all, in pieces of this size.
bool is_heard(peer_guard guard, const std::string& bytes, std::size_t piece) {
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    if (!guard.good(std::string_view{bytes}.substr(at, piece)))
      return false;
  return true;
}

bool is_heard(const std::string& after_handshake, std::size_t piece = 7) {
  return is_heard({view.there, true}, client_handshake(view.own) + after_handshake, piece);
}

} // namespace

TEST_CASE("what agents say to each other is heard, however it comes in pieces", "[fleet]") {
  std::minstd_rand random{number_from("DAVIT_PEERS_SEED", 1)};
  std::string all;
  for (int i = 0; i < 2000; ++i) {
    auto one = good_message(view, random);
    peer_guard guard{view.there, true};
    guard.good(client_handshake(view.own));
    auto heard = guard.good(one);
    CAPTURE(i, one, guard.why());
    REQUIRE(heard);
    all += one;
  }
  for (std::size_t piece : {std::size_t{1}, std::size_t{31}, std::size_t{32}, std::size_t{33}, all.size()}) {
    CAPTURE(piece);
    CHECK(is_heard(all, piece));
  }
  CHECK(is_heard({view.there, false}, server_handshake(view.own, 5) + all, 100));
}

TEST_CASE("what no agent says ends the connection before the last of it is heard", "[fleet]") {
  for (const auto& [name, bytes] : bad_messages(view)) {
    CAPTURE(name);
    CHECK_FALSE(is_heard(bytes));
    CHECK_FALSE(is_heard(bytes, bytes.size()));
  }
}

TEST_CASE("a peer begins with the handshake of its side", "[fleet]") {
  auto heartbeat = basp_message(basp::heartbeat, "");
  for (auto came : {true, false}) {
    CAPTURE(came);
    auto right = client_handshake(view.own), wrong = server_handshake(view.own, 5);
    if (!came)
      std::swap(right, wrong);
    CHECK(is_heard({view.there, came}, right + heartbeat, 50));
    CHECK_FALSE(is_heard({view.there, came}, wrong, 50));
    CHECK_FALSE(is_heard({view.there, came}, heartbeat + right, 50));
    CHECK_FALSE(is_heard({view.there, came}, right + right, 50));
  }
}

TEST_CASE("an agent that has reached itself says no more than the handshake", "[fleet]") {
  std::minstd_rand random{1};
  peer_guard guard{view.there, true};
  CHECK(guard.good(client_handshake(view.there) + basp_message(basp::heartbeat, "")));
  CHECK_FALSE(guard.good(basp_message(basp::monitor, view.there + view.there, 0, 0, 1)));
  CHECK(guard.why().empty());
}

TEST_CASE("a message that is too long is found by its header", "[fleet]") {
  peer_guard::limits most;
  most.message = 1000;
  peer_guard guard{view.there, true, most};
  CHECK(guard.good(client_handshake(view.own)));
  auto page = basp_message(basp::direct, std::string(1001, 'x'), 1);
  CHECK_FALSE(guard.good(std::string_view{page}.substr(0, 32)));
}

TEST_CASE("a long page of a log is heard", "[fleet]") {
  auto page = page_message(view, 5'000'000);
  CHECK(is_heard(page + page, 60'000));
}

TEST_CASE("whatever comes is judged, and nothing is heard behind what was refused", "[fleet]") {
  std::minstd_rand random{number_from("DAVIT_PEERS_SEED", 1)};
  for (int round = 0; round < 3000; ++round) {
    auto bytes = client_handshake(view.own) + good_message(view, random) + good_message(view, random);
    for (auto changes = random() % 4; changes > 0; --changes)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % 4 ? bytes.size() : random() % bytes.size());
    auto whole = is_heard({view.there, true}, bytes, bytes.size() + 1);
    CHECK(is_heard({view.there, true}, bytes, 1 + random() % 40) == whole);
  }
}
