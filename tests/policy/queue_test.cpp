// The queue's order, the fleet's limits and what a claim takes: by tables, and by a generator with an oracle.
#include "policy/placement.hpp"
#include "policy/queue.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

using namespace davit;
using namespace std::chrono_literals;

namespace {

const timestamp now{1'000'000s};

struct waiting {
  std::string id;
  std::int64_t priority = 0, turn = 0;
  std::string pinned, owner, image = "alpine";
  std::vector<std::string> wanted;
  std::map<std::string, std::string> labels;
  timestamp since = now - 1h;
};

/// A queue in memory, which is read as the store's is. Ids are numbers in text, so a task's own id tells nothing.
struct memory : queue_reader {
  std::vector<waiting> tasks;
  std::map<std::string, std::vector<std::string>> images;
  std::size_t reads = 0, rows_read = 0;

  static queue_place place_of(const waiting& one) { return {one.priority, one.turn, one.id}; }

  static std::string placement_of(const waiting& one) {
    std::string text;
    for (const auto& label : one.wanted)
      text += label + ",";
    return text;
  }

  const waiting& of(const std::string& id) const {
    return *std::find_if(tasks.begin(), tasks.end(), [&](const waiting& one) { return one.id == id; });
  }

  std::vector<queue_lane> lanes() const {
    std::map<std::pair<std::string, std::string>, queue_lane> found;
    for (const auto& one : tasks) {
      queue_place here{one.priority, one.turn, ""};
      auto [entry, added] = found.try_emplace({one.pinned, placement_of(one)},
                                              queue_lane{one.pinned, placement_of(one), one.wanted, here});
      if (!added && goes_before(here, entry->second.first))
        entry->second.first = here;
    }
    std::vector<queue_lane> all;
    for (auto& [key, lane] : found)
      all.push_back(lane);
    return all;
  }

  std::vector<queued_row> rows(const queue_lane& lane, const std::optional<queue_place>& after, std::size_t count,
                               const full_limits& full) override {
    ++reads;
    std::vector<queued_row> found;
    for (const auto& one : tasks) {
      auto kept = std::find(full.owners.begin(), full.owners.end(), one.owner) != full.owners.end()
               || std::any_of(full.labels.begin(), full.labels.end(), [&](const auto& label) {
                    auto there = one.labels.find(label.name);
                    return there != one.labels.end() && there->second == label.value
                        && (!label.owner || one.owner == label.owner);
                  });
      if (one.pinned != lane.pinned || placement_of(one) != lane.placement || kept
          || (after && !goes_before(*after, place_of(one))))
        continue;
      queued_row row;
      row.place = place_of(one);
      found.push_back(row);
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return goes_before(a.place, b.place); });
    if (found.size() > count)
      found.resize(count);
    rows_read += found.size();
    return found;
  }

  task whole(const queued_row& row) override {
    const auto& one = of(row.place.id);
    task made;
    made.name = one.id;
    made.owner = one.owner;
    made.created_at = one.since;
    made.spec.image = one.image;
    made.spec.labels = one.labels;
    return made;
  }

  const std::vector<std::string>& holders(const std::string& image) override { return images[image]; }

  claim_plan
  plan(const std::vector<engine_offer>& offers, const placement_rules& rules = {}, const running_counts& running = {}) {
    return plan_claim(lanes(), offers, rules, limit_usage{rules, running}, now, *this);
  }
};

using pairs = std::vector<std::pair<std::string, std::size_t>>;

/// Task and offer of each.
pairs taken(const claim_plan& plan) {
  pairs list;
  for (const auto& one : plan.taken)
    list.emplace_back(one.row.place.id, one.offer);
  return list;
}

/// The same decisions, made by looking at every task of the queue in turn.
pairs by_hand(memory& from, std::vector<engine_offer> offers, const placement_rules& rules, running_counts running,
              std::optional<timestamp>& look_again) {
  auto all = from.tasks;
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.turn != b.turn ? a.turn < b.turn : a.id < b.id;
  });
  pairs list;
  for (const auto& one : all) {
    if (rules.most_per_owner != 0 && running.owners[one.owner] >= rules.most_per_owner)
      continue;
    auto kept = false;
    for (const auto& limit : rules.label_limits)
      for (const auto& [name, value] : one.labels)
        if (limit.value.empty())
          kept |= name == limit.name && running.labels[{name, value, one.owner}] >= limit.most;
        else if (name == limit.name && value == limit.value) {
          std::int64_t all = 0;
          for (const auto& [group, count] : running.labels)
            all += group.name == name && group.value == value ? count : 0;
          kept |= all >= limit.most;
        }
    if (kept)
      continue;
    const auto& holders = from.images[one.image];
    auto offer = choose_engine(offers, one.wanted, holders, rules.strategy);
    if (!offer)
      continue;
    auto until = one.since + std::chrono::nanoseconds{rules.image_patience};
    if (!holders.empty() && std::find(holders.begin(), holders.end(), offer->id) == holders.end() && until > now) {
      // A claim that has no room left does not look so far.
      look_again = std::min(look_again.value_or(until), until);
      continue;
    }
    auto index = static_cast<std::size_t>(offer - offers.data());
    --offers[index].free;
    ++running.owners[one.owner];
    for (const auto& [name, value] : one.labels)
      ++running.labels[{name, value, one.owner}];
    list.emplace_back(one.id, index);
    if (std::all_of(offers.begin(), offers.end(), [](const auto& each) { return each.free == 0; }))
      break;
  }
  return list;
}

} // namespace

TEST_CASE("the larger priority goes first, then the smaller turn, then the smaller id") {
  const std::vector<queue_place> order{{2, 9, "z"}, {1, 0, "b"}, {1, 1, ""},  {1, 1, "a"},
                                       {1, 1, "b"}, {1, 2, "a"}, {-1, 0, "a"}};
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t k = 0; k < order.size(); ++k)
      CHECK(goes_before(order[i], order[k]) == (i < k));
}

TEST_CASE("an owner's next turn is behind its last one, and not before what waits") {
  CHECK(next_turn(0, 0) == 1);
  CHECK(next_turn(7, 3) == 8);
  CHECK(next_turn(7, 8) == 8);
  CHECK(next_turn(7, 30) == 30); // who comes late gets nothing for not having asked before
}

TEST_CASE("two owners that submit by turns are claimed by turns, whoever submits more") {
  memory queue;
  std::map<std::string, std::int64_t> last;
  auto submit = [&](const std::string& owner, const std::string& id) {
    auto first = queue.tasks.empty()
                 ? 0
                 : std::min_element(queue.tasks.begin(), queue.tasks.end(), [](const auto& a, const auto& b) {
                     return a.turn < b.turn;
                   })->turn;
    last[owner] = next_turn(last[owner], first);
    queue.tasks.push_back({id, 0, last[owner], "", owner, "alpine", {}, {}, now});
  };
  for (int i = 0; i < 6; ++i)
    submit("many", "m" + std::to_string(i));
  submit("few", "f0");
  submit("few", "f1");
  std::vector<std::string> order;
  for (const auto& [id, offer] : taken(queue.plan({{"e", "id", {}, 5, 5}})))
    order.push_back(id);
  CHECK(order == std::vector<std::string>{"f0", "m0", "f1", "m1", "m2"});
}

TEST_CASE("a limit that is reached is told in a sentence, and keeps only what it names") {
  placement_rules rules;
  rules.most_per_owner = 2;
  rules.label_limits = {{"deploy", "", 1}, {"team", "red", 3}, {"team", "", 5}};
  limit_usage usage{rules,
                    {{{"alice", 2}, {"bob", 1}},
                     {{{"deploy", "prod", "bob"}, 1},
                      {{"team", "red", "bob"}, 2},
                      {{"team", "red", "eve"}, 1},
                      {{"team", "blue", "bob"}, 4}}}};
  CHECK(usage.reached("bob", {}).empty());
  CHECK(usage.reached("alice", {}) == std::vector<std::string>{"2 tasks of alice run, and no more than 2 may at once"});
  CHECK(usage.reached("bob", {{"deploy", "prod"}})
        == std::vector<std::string>{"1 tasks of bob with the label deploy=prod run, and no more than 1 may at once"});
  CHECK(usage.reached("carol", {{"deploy", "prod"}}).empty());
  CHECK(usage.reached("carol", {{"team", "red"}})
        == std::vector<std::string>{"3 tasks with the label team=red run, and no more than 3 may at once"});
  CHECK(usage.reached("bob", {{"deploy", "test"}, {"team", "blue"}}).empty());
  CHECK(usage.reached("bob", {{"team", "red"}}).size() == 1);
  usage.add("bob", {{"team", "blue"}}); // which two limits count, once
  CHECK(usage.reached("bob", {}).size() == 1);
  CHECK(usage.reached("bob", {{"team", "blue"}}).size() == 2); // and the owner's own
  CHECK(usage.reached("carol", {{"team", "blue"}}).empty());
  auto full = usage.full();
  CHECK(full.owners == std::vector<std::string>{"alice", "bob"});
  CHECK(full.labels
        == std::vector<label_group>{{"deploy", "prod", "bob"}, {"team", "blue", "bob"}, {"team", "red", {}}});
  CHECK(limit_usage{{}, {{{"alice", 1000}}, {}}}.full().empty());
}

TEST_CASE("a task waits for an engine that holds its image until its patience is over, and lets others by") {
  placement_rules rules;
  rules.image_patience = 2s;
  memory queue;
  queue.images["alpine"] = {"warm-id"};
  queue.tasks = {{"1", 0, 1, "", "", "alpine", {}, {}, now - 1s},
                 {"2", 0, 2, "", "", "nobodys", {}, {}, now - 1s},
                 {"3", 0, 3, "", "", "alpine", {}, {}, now - 500ms},
                 {"4", 0, 4, "", "", "alpine", {}, {}, now - 2s}};
  auto cold = queue.plan({{"cold", "cold-id", {}, 8, 8}}, rules);
  CHECK(taken(cold) == pairs{{"2", 0}, {"4", 0}});
  CHECK(cold.look_again == now + 1s);
  auto both = queue.plan({{"cold", "cold-id", {}, 8, 8}, {"warm", "warm-id", {}, 8, 3}}, rules);
  CHECK(taken(both) == pairs{{"1", 1}, {"2", 0}, {"3", 1}, {"4", 1}});
  CHECK_FALSE(both.look_again);
}

TEST_CASE("however long the queue is, a claim reads no more than it has room for, and a page") {
  memory queue;
  for (int i = 0; i < 5000; ++i)
    queue.tasks.push_back({std::to_string(100'000 + i),
                           0,
                           i,
                           "",
                           "owner " + std::to_string(i % 7),
                           "alpine",
                           {i % 2 ? "gpu" : "arm"},
                           {},
                           now});
  CHECK(queue.plan({{"e", "id", {"gpu", "arm"}, 3, 3}}).taken.size() == 3);
  CHECK(queue.rows_read <= 32); // a page of each lane
  queue.reads = queue.rows_read = 0;
  CHECK(queue.plan({{"e", "id", {"gpu"}, 64, 64}}).taken.size() == 64);
  CHECK(queue.rows_read <= 128);
}

TEST_CASE("a claim takes what one would take who looked at every task of the queue") {
  auto text = std::getenv("DAVIT_QUEUE_SEED");
  auto seed = text ? static_cast<unsigned>(std::atoi(text)) : std::random_device{}();
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto below = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
  std::size_t claimed = 0, waited = 0;
  for (int round = 0; round < 400; ++round) {
    CAPTURE(round);
    memory queue;
    auto few = below(3) == 0;
    for (int i = below(few ? 20 : 400); i > 0; --i) {
      waiting one;
      one.id = std::to_string(10'000 + below(5000));
      if (std::any_of(queue.tasks.begin(), queue.tasks.end(), [&](const auto& each) { return each.id == one.id; }))
        continue;
      one.priority = below(4) == 0 ? below(3) - 1 : 0;
      one.turn = below(60);
      one.pinned = below(6) == 0 ? "me" : "";
      one.owner = "owner " + std::to_string(below(4));
      one.image = "image " + std::to_string(below(4));
      for (auto label : {"gpu", "arm", "ssd"})
        if (below(4) == 0)
          one.wanted.push_back(label);
      if (below(3) == 0)
        one.labels["team"] = below(2) ? "red" : "blue";
      if (below(5) == 0)
        one.labels["deploy"] = std::to_string(below(3));
      one.since = now - std::chrono::milliseconds{below(6000)};
      queue.tasks.push_back(one);
    }
    std::vector<engine_offer> offers;
    for (int i = below(4); i >= 0; --i) {
      engine_offer one{"e" + std::to_string(i), "id " + std::to_string(i), {}, 40, 0};
      one.free = static_cast<std::uint32_t>(below(below(2) ? 40 : 4));
      for (auto label : {"gpu", "arm", "ssd"})
        if (below(2) == 0)
          one.labels.push_back(label);
      offers.push_back(one);
    }
    for (int image = 0; image < 3; ++image)
      for (int engine = 0; engine < 5; ++engine)
        if (below(3) == 0)
          queue.images["image " + std::to_string(image)].push_back("id " + std::to_string(engine));
    placement_rules rules;
    rules.strategy = below(2) ? placement_strategy::spread : placement_strategy::pack;
    rules.image_patience = below(2) ? 3s : 0s;
    if (rules.image_patience.count() == 0)
      queue.images.clear(); // as the store does
    rules.most_per_owner = below(2) ? 0 : static_cast<std::uint32_t>(1 + below(8));
    if (below(2))
      rules.label_limits.push_back({"team", "red", static_cast<std::uint32_t>(1 + below(4))});
    if (below(2))
      rules.label_limits.push_back({"deploy", "", static_cast<std::uint32_t>(1 + below(2))});
    running_counts running;
    for (int i = below(6); i > 0; --i) {
      auto owner = "owner " + std::to_string(below(4));
      ++running.owners[owner];
      if (below(2))
        ++running.labels[{"team", "red", owner}];
      if (below(3) == 0)
        ++running.labels[{"deploy", below(2) ? "prod" : "test", owner}];
    }
    std::optional<timestamp> look_again;
    auto expected = by_hand(queue, offers, rules, running, look_again);
    auto plan = queue.plan(offers, rules, running);
    REQUIRE(taken(plan) == expected);
    if (plan.look_again)
      CHECK(plan.look_again == look_again);
    claimed += expected.size();
    waited += plan.look_again.has_value();
  }
  CHECK(claimed > 1000);
  CHECK(waited > 10);
}
