// The store keeper and the log keeper, each alone in a system of its own.
#include "actors/unsent_logs.hpp"
#include "keeper_fixture.hpp"
#include "store/log_journal.hpp"

#include <caf/event_based_actor.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <functional>
#include <set>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

task_spec spec_of(std::string name) {
  task_spec spec;
  spec.image = "a";
  spec.name = std::move(name);
  return spec;
}

} // namespace

TEST_CASE_METHOD(keeper_fixture, "what comes together is committed together, and each is answered after the commit") {
  auto keeper = spawn_store_keeper(system, context);
  constexpr int count = 2000;
  int answered = 0;
  std::set<task_id> ids;
  for (int i = 0; i < count; ++i)
    self->send(keeper, accept_atom_v, spec_of(std::to_string(i)), std::string{"me"});
  self->receive_while([&] { return answered < count; })(
    [&](const task_receipt& receipt) {
      ++answered;
      ids.insert(receipt.id);
    },
    caf::after(60s) >> [&] { FAIL("only " << answered << " were answered"); });
  CHECK(ids.size() == count);
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  self->wait_for(keeper);
  // Another session sees all: they were durable before they were answered.
  auto second = spawn_store_keeper(system, context);
  CHECK(ask<task_counts>(second, count_atom_v).queued == count);
  caf::anon_send_exit(second, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture, "a store keeper that can't open its store ends with the reason") {
  std::filesystem::create_directory(folder / "davit.db");
  auto keeper = spawn_store_keeper(system, context);
  caf::error why;
  self->monitor(keeper);
  self->receive([&](const caf::down_msg& down) { why = down.reason; }, caf::after(10s) >> [] { FAIL("it lives"); });
  CHECK(text_of(why).find("davit.db") != std::string::npos);
}

TEST_CASE_METHOD(keeper_fixture, "a log has one writer: a newer lease fences the older one off") {
  auto keeper = spawn_log_keeper(system, context);
  attempt_key key{uuid::make_v7(), 1};
  auto first = ask<log_lease>(keeper, open_atom_v, key);
  CHECK_FALSE(failure(keeper, batch_of(key, first, "one\n")));
  auto second = ask<log_lease>(keeper, open_atom_v, key);
  CHECK(second.cursor.out.ordinal == 1); // goes on behind what the first has written
  CHECK(failure(keeper, batch_of(key, first, "again\n")) == log_errc::stale);
  CHECK_FALSE(failure(keeper, batch_of(key, second, "two\n")));
  CHECK(ask<log_summary>(keeper, close_atom_v, key, false).out.bytes == 8);
  auto page = ask<log_page>(keeper, read_atom_v, log_query{key, 0, 4096, 0s});
  REQUIRE(page.records.size() == 2);
  CHECK(page.records[0].bytes == "one\n");
  CHECK(page.records[1].bytes == "two\n");
  CHECK(page.finished);
  // Each record's end is where a reader can go on.
  auto rest = ask<log_page>(keeper, read_atom_v, log_query{key, page.ends[0], 4096, 0s});
  REQUIRE(rest.records.size() == 1);
  CHECK(rest.records[0] == page.records[1]);
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture,
                 "a small log is in memory until the store has it with the attempt's outcome, or for too long") {
  auto store = spawn_store_keeper(system, context);
  log_handles addresses;
  addresses.store = store;
  log_actor keeper;
  auto logs = context->settings.log_folder();
  auto has_file = [&](const attempt_key& key) { return store::log_exists(store::log_path(logs, key)); };
  auto page_of = [&](const attempt_key& key, std::uint64_t offset = 0) {
    return ask<log_page>(keeper, read_atom_v, log_query{key, offset, 4096, 0s});
  };
  auto begin = [&](duration in_memory) {
    context = with([&](auto& settings) { settings.in_memory = in_memory; });
    keeper = spawn_log_keeper(system, context);
    self->send(keeper, wire_atom_v, addresses);
    attempt_key key{uuid::make_v7(), 1};
    auto lease = ask<log_lease>(keeper, open_atom_v, key);
    CHECK_FALSE(failure(keeper, batch_of(key, lease, "one\n")));
    return key;
  };
  auto kill = [&] {
    caf::anon_send_exit(keeper, caf::exit_reason::kill);
    self->wait_for(keeper);
  };

  auto key = begin(1h);
  CHECK(page_of(key).records.size() == 1);
  CHECK_FALSE(page_of(key).finished);
  auto packed = ask<log_summary>(keeper, close_atom_v, key, false).packed;
  CHECK(ask<log_summary>(keeper, close_atom_v, key, false).packed
        == packed); // whoever did not hear the answer asks again
  CHECK(page_of(key).finished);
  CHECK_FALSE(has_file(key));
  // Its outcome is stored: it is read from there, from any place on.
  CHECK_FALSE(failure(store, log_atom_v, key, std::uint32_t{0}, std::uint32_t{1}, packed));
  self->send(keeper, finish_atom_v, key);
  auto page = page_of(key);
  REQUIRE(page.records.size() == 1);
  CHECK(page.records[0].bytes == "one\n");
  CHECK(page.finished);
  CHECK(page_of(key, page.ends[0]).finished);
  CHECK_FALSE(has_file(key));
  // A reader may wait for a log that is nowhere yet.
  attempt_key coming{uuid::make_v7(), 1};
  auto wait = self->request(keeper, 30s, read_atom_v, log_query{coming, 0, 4096, 20s});
  auto lease = ask<log_lease>(keeper, open_atom_v, coming);
  CHECK_FALSE(failure(keeper, batch_of(coming, lease, "now\n")));
  std::move(wait).receive([&](const log_page& first) { CHECK(first.records.size() == 1); },
                          [](const caf::error& e) { FAIL(text_of(e)); });
  // A keeper that ends leaves nothing in memory alone.
  CHECK_FALSE(has_file(coming));
  kill();
  CHECK(has_file(coming));
  CHECK_FALSE(has_file(key));

  // What the store does not take for long gets a file.
  key = begin(1ms);
  packed = ask<log_summary>(keeper, close_atom_v, key, false).packed;
  for (int i = 0; i < 400 && !has_file(key); ++i)
    std::this_thread::sleep_for(50ms);
  CHECK(has_file(key));
  CHECK(page_of(key).finished);
  // When it does, that is the one that is durable.
  CHECK_FALSE(failure(store, log_atom_v, key, std::uint32_t{0}, std::uint32_t{1}, packed));
  self->send(keeper, finish_atom_v, key);
  CHECK(page_of(key).finished);
  CHECK_FALSE(has_file(key));
  // A task that is forgotten is so here.
  attempt_key last{uuid::make_v7(), 1};
  ask<log_summary>(keeper, close_atom_v, last, false);
  CHECK(page_of(last).finished);
  CHECK_FALSE(failure(keeper, remove_atom_v, last.task));
  CHECK_FALSE(page_of(last).finished);
  kill();
  caf::anon_send_exit(store, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(
  keeper_fixture,
  "logs that have ended would outlast a power cut, small and large, and also where the keeper was killed between") {
  auto keeper = spawn_log_keeper(system, context);
  auto kill = [&] {
    caf::anon_send_exit(keeper, caf::exit_reason::kill);
    self->wait_for(keeper);
  };
  std::vector<attempt_key> keys;
  std::vector<std::size_t> sizes{0, 10, 900};
  for (auto size : sizes) {
    keys.push_back({uuid::make_v7(), 1});
    auto lease = ask<log_lease>(keeper, open_atom_v, keys.back());
    if (size > 0)
      CHECK_FALSE(failure(keeper, batch_of(keys.back(), lease, std::string(size, 'x'))));
  }
  attempt_key other{uuid::make_v7(), 1};
  ask<log_lease>(keeper, open_atom_v, other);
  kill(); // each has a file, then
  keeper = spawn_log_keeper(system, context);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CHECK(ask<log_summary>(keeper, close_atom_v, keys[i], false).out.bytes == sizes[i]);
    CHECK(ask<log_summary>(keeper, close_atom_v, keys[i], false).out.bytes
          == sizes[i]); // whoever did not hear the answer asks again
  }
  kill();
  auto logs = context->settings.log_folder();
  for (const auto& key : keys)
    std::filesystem::remove_all(store::log_path(logs, key).parent_path());
  REQUIRE(store::log_journal::open(logs, "another boot").has_value());
  keeper = spawn_log_keeper(system, context);
  for (const auto& key : keys) {
    auto page = ask<log_page>(keeper, read_atom_v, log_query{key, 0, 4096, 0s});
    CHECK(page.finished);
    CHECK(page.records.size() == (key == keys.front() ? 0 : 1));
  }
  // A task that is forgotten stays so.
  CHECK_FALSE(failure(keeper, remove_atom_v, keys.back().task));
  ask<log_summary>(keeper, close_atom_v, other, false);
  kill();
  REQUIRE(store::log_journal::open(logs, "a third boot").has_value());
  CHECK_FALSE(store::log_exists(store::log_path(logs, keys.back())));
}

TEST_CASE_METHOD(keeper_fixture,
                 "a small log has no file for a sink's sake: the sink reads it from memory, or else from the store") {
  auto store = spawn_store_keeper(system, context);
  context = with([](auto& settings) {
    settings.in_memory = 1h;
    settings.sinks.resize(2);
    settings.sinks[0].name = "one";
    settings.sinks[1].name = "two";
  });
  auto keeper = spawn_log_keeper(system, context);
  log_handles addresses;
  addresses.store = store;
  addresses.sinks["one"] = caf::actor_cast<sink_actor>(caf::actor{self});
  self->send(keeper, wire_atom_v, addresses);
  auto told = [&](const attempt_key& key) {
    std::optional<std::uint64_t> size;
    self->receive(
      [&](open_atom, const attempt_key& which, std::uint64_t there) { size = which == key ? there : 999'999; },
      caf::after(10s) >> [] {});
    return size;
  };
  attempt_key key{uuid::make_v7(), 1};
  auto lease = ask<log_lease>(keeper, open_atom_v, key);
  CHECK(told(key) == 0);
  CHECK_FALSE(failure(keeper, batch_of(key, lease, "one\n")));
  ask<log_lease>(keeper, open_atom_v, key);
  CHECK(told(key) == 20); // what is read beyond would be lost
  auto packed = ask<log_summary>(keeper, close_atom_v, key, false).packed;
  CHECK_FALSE(store::log_exists(store::log_path(context->settings.log_folder(), key)));
  self->send(keeper, finish_atom_v, key);
  // The store has nothing yet, so this comes from memory.
  auto read = [&](const std::string& sink, std::uint64_t offset = 0) {
    return ask<log_page>(keeper, ship_atom_v, sink, log_query{key, offset, 4096, 0s});
  };
  CHECK(read("one").finished);
  CHECK(read("two").records.size() == 1);
  // All have read it: it is gone, and known to be missing.
  auto again = [&] { return refusal<log_page>(keeper, ship_atom_v, std::string{"two"}, log_query{key, 0, 4096, 5s}); };
  CHECK(again() == log_errc::missing);
  CHECK_FALSE(failure(store, log_atom_v, key, std::uint32_t{0}, std::uint32_t{1}, packed));
  CHECK(read("two", 20).finished);
  CHECK(ask<std::vector<log_extent>>(keeper, size_atom_v, std::vector<attempt_key>{key}).empty());
  CHECK_FALSE(std::filesystem::exists(store::log_path(context->settings.log_folder(), key).parent_path()));
  // A store that does not answer is not a log that is missing.
  attempt_key unknown{uuid::make_v7(), 1};
  caf::anon_send_exit(store, caf::exit_reason::kill);
  self->wait_for(store);
  auto why = refusal<log_page>(keeper, ship_atom_v, std::string{"one"}, log_query{unknown, 0, 4096, 0s});
  CHECK(why);
  CHECK(why != log_errc::missing);
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture, "the logs since a time are found in memory, on disk, and in the store") {
  std::vector<attempt_key> stored{{uuid::make_v7(), 1}, {uuid::make_v7(), 2}, {uuid::make_v7(), 3}};
  auto store = system.spawn([&](caf::event_based_actor*) -> caf::behavior { // tells of one at a time
    return {[&](since_atom, const std::string& agent, timestamp since, std::int64_t after) {
      ended_attempts some;
      if (agent == "a" && since < std::chrono::system_clock::now()) {
        some.keys.push_back(stored.at(static_cast<std::size_t>(after)));
        some.next = after < 2 ? after + 1 : 0;
      }
      return some;
    }};
  });
  auto keeper = spawn_log_keeper(system, context);
  log_handles addresses;
  addresses.store = caf::actor_cast<store_actor>(store);
  self->send(keeper, wire_atom_v, addresses);
  auto begun = std::chrono::system_clock::now();
  attempt_key in_memory{uuid::make_v7(), 1};
  ask<log_lease>(keeper, open_atom_v, in_memory);
  std::vector<attempt_key> expected{in_memory};
  for (int i = 0; i < 20; ++i) {
    attempt_key key{uuid::make_v7(), 1 + i};
    auto writer = *store::log_writer::open(store::log_path(context->settings.log_folder(), key), 0);
    expected.push_back(key);
  }
  expected.insert(expected.end(), stored.begin(), stored.end());
  std::sort(expected.begin(), expected.end());
  auto found = ask<std::vector<attempt_key>>(keeper, since_atom_v, begun - 1s);
  std::sort(found.begin(), found.end());
  CHECK(found == expected);
  CHECK(ask<std::vector<attempt_key>>(keeper, since_atom_v, begun + 1h) == std::vector<attempt_key>{in_memory});
  caf::anon_send_exit(store, caf::exit_reason::kill);
  self->wait_for(store);
  CHECK(refusal<std::vector<attempt_key>>(keeper, since_atom_v, begun)); // not all would be found
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE("logs that sinks have not read are kept within a bound, the newest longest") {
  scratch_folder folder;
  unsent_logs kept{10 * 1024};
  std::vector<attempt_key> keys;
  auto add = [&](std::set<std::string> sinks) {
    keys.push_back({uuid::make_v7(), 1});
    auto log = *store::log_writer::open(folder / "none", 0, store::log_place::memory);
    REQUIRE(log->append({{log_stream::out, {}, std::string(1000, 'x')}}).has_value());
    kept.add(keys.back(), std::move(log), std::move(sinks));
  };
  add({});
  CHECK_FALSE(kept.find(keys[0]));
  add({"a", "b"});
  kept.read(keys[1], "a");
  CHECK(kept.find(keys[1]));
  kept.read(keys[1], "b");
  CHECK_FALSE(kept.find(keys[1]));
  CHECK(kept.bytes() == 0);
  for (int i = 0; i < 20; ++i)
    add({"a"});
  CHECK(kept.bytes() <= 10 * 1024);
  CHECK_FALSE(kept.find(keys[2]));
  CHECK(kept.find(keys.back()));
  kept.remove(keys.back().task);
  CHECK_FALSE(kept.find(keys.back()));
}

TEST_CASE_METHOD(keeper_fixture,
                 "a reader that waits is served by the next record, by the end, or let go when its time is over") {
  auto keeper = spawn_log_keeper(system, context);
  attempt_key key{uuid::make_v7(), 1};
  auto lease = ask<log_lease>(keeper, open_atom_v, key);
  CHECK(ask<log_page>(keeper, read_atom_v, log_query{key, 0, 4096, 10ms}).records.empty());
  std::uint64_t next = 0;
  auto wait = self->request(keeper, 30s, read_atom_v, log_query{key, 0, 4096, 20s});
  self->send(keeper, batch_of(key, lease, "now\n"));
  std::move(wait).receive(
    [&](const log_page& page) {
      REQUIRE(page.records.size() == 1);
      next = page.next;
    },
    [](const caf::error& e) { FAIL(text_of(e)); });
  self->receive([] {}, caf::after(1s) >> [] {}); // the answer to the batch
  auto last = self->request(keeper, 30s, read_atom_v, log_query{key, next, 4096, 20s});
  self->send(keeper, close_atom_v, key, false);
  std::move(last).receive(
    [&](const log_page& page) {
      CHECK(page.records.empty());
      CHECK(page.finished);
    },
    [](const caf::error& e) { FAIL(text_of(e)); });
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture,
                 "a log keeper that is started anew goes on with the log; over the limit it says so once") {
  attempt_key key{uuid::make_v7(), 1};
  auto keeper = spawn_log_keeper(system, context);
  auto lease = ask<log_lease>(keeper, open_atom_v, key);
  CHECK_FALSE(failure(keeper, batch_of(key, lease, std::string(900, 'x') + "\n")));
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  self->wait_for(keeper);
  keeper = spawn_log_keeper(system, context);
  lease = ask<log_lease>(keeper, open_atom_v, key);
  CHECK(lease.cursor.out.ordinal == 1);
  for (int i = 0; i < 3; ++i)
    CHECK_FALSE(failure(keeper, batch_of(key, lease, std::string(500, 'y') + "\n")));
  auto totals = ask<log_summary>(keeper, close_atom_v, key, false);
  CHECK(totals.dropped > 0);
  auto page = ask<log_page>(keeper, read_atom_v, log_query{key, 0, 65536, 0s});
  CHECK(std::count_if(page.records.begin(), page.records.end(),
                      [](const log_record& one) { return one.stream == log_stream::note; })
        == 1);
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture, "a log that had ended goes on with the attempt whose end was not stored") {
  auto context = with([](log_settings& logs) { logs.max_bytes = byte_size{1 << 20}; });
  auto keeper = spawn_log_keeper(system, context);
  attempt_key key{uuid::make_v7(), 1};
  std::string all;
  auto restart = GENERATE(false, true);
  for (std::size_t length : {1, 20'000, 200'000, 5}) { // in memory, in a file, in one that may be compressed by now
    std::string bytes(length, 'x');
    auto lease = ask<log_lease>(keeper, open_atom_v, key);
    CHECK_FALSE(failure(keeper, batch_of(key, lease, bytes + "\n")));
    all += bytes + "\n";
    CHECK(ask<log_summary>(keeper, close_atom_v, key, false).out.bytes == all.size());
    CHECK(failure(keeper, batch_of(key, lease, "late\n")) == log_errc::stale);
    if (restart) {
      caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
      self->wait_for(keeper);
      keeper = spawn_log_keeper(system, context);
    }
  }
  auto page = ask<log_page>(keeper, read_atom_v, log_query{key, 0, 10u << 20, 0s});
  std::string read;
  for (const auto& one : page.records)
    read += one.bytes;
  CHECK((read == all));
  CHECK(page.finished);
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}
