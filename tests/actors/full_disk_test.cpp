// What the log keeper does while its disk has no room.
#include "fixture/captured_log.hpp"
#include "keeper_fixture.hpp"
#include "store/attempt_log.hpp"

#include <algorithm>
#include <csignal>
#include <random>
#include <sys/resource.h>

using namespace davit;
using namespace davit::test;

namespace {

/// How large a file of this process may become: a disk that is full for a while.
struct file_limit {
  file_limit() {
    ::getrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  ~file_limit() { ::setrlimit(RLIMIT_FSIZE, &before); }
  void set(std::uint64_t bytes) const {
    auto now = before;
    now.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  void lift() const { ::setrlimit(RLIMIT_FSIZE, &before); }
  rlimit before{};
};

} // namespace

TEST_CASE_METHOD(keeper_fixture,
                 "behind a batch that could not be written nothing of its reader's is, however the disk fills up") {
  context = with([](auto& logs) { logs.max_bytes = {}; });
  auto keeper = spawn_log_keeper(system, context);
  auto seed = static_cast<std::uint_fast32_t>(std::random_device{}());
  INFO(seed);
  std::minstd_rand random{seed};
  attempt_key key{uuid::make_v7(), 1};
  auto file = store::log_path(context->settings.log_folder(), key).string() + ".log";
  auto line
    = [](std::uint64_t number) { return std::to_string(number) + ' ' + std::string(number * 7919 % 60, 'x') + '\n'; };
  std::uint64_t written = 0, refused = 0; // lines that count, and batches that did not
  file_limit limit;
  for (int round = 0; round < 60; ++round) {
    auto lease = ask<log_lease>(keeper, open_atom_v, key);
    std::vector<caf::error> answers;
    std::vector<std::uint64_t> ends;
    std::error_code none;
    auto size = std::filesystem::file_size(file, none);
    if (round > 2 && !none && random() % 2 == 0)
      limit.set(size + random() % 200);
    auto next = written;
    for (auto batches = 1 + random() % 5; batches > 0; --batches) { // a reader has several under way
      log_batch batch{key, lease.source, 1, {}};
      for (auto lines = 1 + random() % 4; lines > 0; --lines)
        batch.records.push_back({log_stream::out, std::chrono::system_clock::now(), line(next++)});
      answers.push_back(failure(keeper, std::move(batch)));
      ends.push_back(next);
      if (random() % 3 == 0)
        limit.lift(); // there is room again, while batches are under way
    }
    limit.lift();
    auto first = std::find_if(answers.begin(), answers.end(), [](const auto& one) { return static_cast<bool>(one); });
    if (first != answers.begin())
      written = ends[static_cast<std::size_t>(first - answers.begin()) - 1];
    for (auto one = first; one != answers.end(); ++one, ++refused)
      CHECK(*one);
  }
  CHECK(refused > 0);
  std::string expected;
  for (std::uint64_t i = 0; i < written; ++i)
    expected += line(i);
  ask<log_summary>(keeper, close_atom_v, key, false);
  std::string text;
  for (std::uint64_t at = 0;;) {
    auto page = ask<log_page>(keeper, read_atom_v, log_query{key, at, 65536, 0s});
    for (const auto& record : page.records)
      text += record.bytes;
    if (page.records.empty())
      break;
    at = page.next;
  }
  CHECK((text == expected));
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(keeper_fixture, "of one log that can't be written it is told once, whatever others do") {
  context = with([](auto& logs) { logs.max_bytes = {}; });
  auto keeper = spawn_log_keeper(system, context);
  attempt_key blocked{uuid::make_v7(), 1}, other{uuid::make_v7(), 1};
  auto write = [&](const attempt_key& key) {
    auto lease = ask<log_lease>(keeper, open_atom_v, key);
    log_batch batch{key, lease.source, 1, {}};
    batch.records.push_back({log_stream::out, std::chrono::system_clock::now(), std::string(20'000, 'x') + '\n'});
    return !failure(keeper, std::move(batch));
  };
  REQUIRE(write(blocked));
  REQUIRE(write(other));
  auto file = store::log_path(context->settings.log_folder(), blocked).string() + ".log";
  std::filesystem::remove(file);
  std::filesystem::create_directories(file + "/in the way");
  captured_log log;
  for (int i = 0; i < 5; ++i) {
    CHECK_FALSE(write(blocked));
    CHECK(write(other));
  }
  CHECK(log.count("logs can't be written") == 1);
  CHECK(log.count("logs can be written again") == 0);
  std::filesystem::remove_all(file);
  CHECK(write(blocked));
  CHECK(log.count("logs can be written again") == 1);
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
}
