// Turns: of each owner a few requests are answered at once, in their order, and no owner keeps another waiting.
#include "api/fair_turns.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <list>
#include <random>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("turns go to each owner's requests in their order, as many at once as there may be") {
  constexpr std::size_t most = 3;
  std::mt19937 chance{Catch::getSeed()};
  auto below = [&](int end) { return static_cast<int>(chance() % static_cast<unsigned>(end)); };
  api::fair_turns<int> turns{most};
  // What must be: a list of each owner, whose first few have begun.
  std::map<std::string, std::vector<std::pair<int, int>>> all; // request, when it came
  std::set<int> begun, over;
  std::map<int, std::string> owner_of;
  int next = 0;
  auto at = [](int when) { return api::fair_turns<int>::clock::time_point{std::chrono::seconds{when}}; };
  std::function<void(int)> leave = [&](int request) {
    std::erase_if(all[owner_of[request]], [&](const auto& one) { return one.first == request; });
    over.insert(request);
    REQUIRE(turns.leave(request) == !begun.contains(request));
  };
  auto check = [&] {
    for (const auto& [owner, list] : all) {
      std::size_t running = 0;
      for (std::size_t i = 0; i < list.size(); ++i) {
        running += begun.contains(list[i].first);
        REQUIRE(begun.contains(list[i].first) == (running == i + 1)); // a beginning of the list
      }
      REQUIRE(running == std::min(most, list.size()));
      REQUIRE(turns.begun(owner) == running);
    }
  };
  for (int now = 0; now < 3000; ++now) {
    auto what = below(10);
    if (what < 5) {
      auto request = ++next;
      auto owner = owner_of[request] = std::string(1, static_cast<char>('a' + below(3)));
      auto at_once = below(4) == 0;
      all[owner].emplace_back(request, now);
      turns.enter(owner, request, at(now), [&, request, at_once] {
        REQUIRE_FALSE(over.contains(request));
        begun.insert(request);
        if (at_once)
          leave(request);
      });
    } else if (what < 9 && next != 0) {
      auto request = 1 + below(next);
      if (!over.contains(request))
        leave(request);
      REQUIRE_FALSE(turns.leave(request)); // a second time, nothing happens
    } else {
      for (auto request : turns.give_up(at(now - 40))) {
        REQUIRE_FALSE(begun.contains(request));
        auto& list = all[owner_of[request]];
        auto there = std::find_if(list.begin(), list.end(), [&](const auto& one) { return one.first == request; });
        REQUIRE(there != list.end());
        REQUIRE(there->second < now - 40);
        list.erase(there);
        over.insert(request);
      }
      for (const auto& [owner, list] : all)
        for (const auto& [request, when] : list)
          REQUIRE((begun.contains(request) || when >= now - 40));
    }
    check();
  }
}

TEST_CASE("an owner that asks for much at once does not keep another's request waiting", "[limits]") {
  token_file tokens;
  auto greedy = tokens.make("greedy", "submit,read"), modest = tokens.make("modest", "submit,read");
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 0;
                   }};
  agent.use_token(greedy);
  auto body = R"({"image":"busybox:test","stdin":")" + std::string(3'900'000, 'x') + "\"}";
  for (int i = 0; i < 2; ++i)
    REQUIRE(agent.http("POST", "/v1/tasks", {}, body).status == 202);
  auto ask = [&](const std::string& token, const std::string& target) {
    raw_client client{static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)))};
    client.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n");
    return client;
  };
  constexpr std::size_t count = 300; // each has the store read 7.8 MB
  std::list<raw_client> all;
  for (std::size_t i = 0; i < count; ++i)
    all.push_back(ask(greedy, "/v1/tasks"));
  auto other = ask(modest, "/v1/tasks");
  CHECK(other.read_some(12) == "HTTP/1.1 200");
  std::size_t answered = 0;
  for (auto& one : all) {
    pollfd look{one.fd, POLLIN, 0};
    answered += ::poll(&look, 1, 0) > 0;
  }
  CHECK(answered < count / 2);
  all.clear();
  agent.use_token(greedy);
  CHECK(eventually([&] { return agent.http("GET", "/v1/tasks").status == 200; }));
}
