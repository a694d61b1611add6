// What is SQLite's own: files that were damaged or cut off, and readers that hold the write-ahead log.
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"
#include "store/dialect.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>
#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

using namespace davit;
using namespace davit::store;
using davit::test::scratch_folder;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<task_store> open_store(const std::string& file, sqlite_limits limits = {}) {
  auto opened = task_store::open("sqlite://" + file, limits);
  if (!opened)
    FAIL(opened.error().message);
  return std::move(*opened);
}

result<task_receipt> accept(task_store& store, const std::string& name) {
  new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, ""};
  made.spec.image = "alpine";
  made.spec.name = name;
  made.spec.env["FILL"] = std::string(500, 'f');
  return store.accept(made);
}

std::vector<std::string> names_in(task_store& store) {
  std::vector<std::string> names;
  task_query query;
  query.limit = 500;
  auto page = store.list(query);
  if (!page)
    return {"unreadable: " + page.error().message};
  for (const auto& one : page->tasks)
    names.push_back(one.spec.name + one.spec.env.at("FILL"));
  std::sort(names.begin(), names.end());
  return names;
}

/// The files as they are at this moment: what an agent leaves that is killed.
void copy_files(const std::string& from, const std::string& to, bool with_wal = true) {
  for (std::string end : {"", "-wal", "-mark"})
    if (fs::exists(from + end) && (with_wal || end != "-wal"))
      fs::copy_file(from + end, to + end, fs::copy_options::overwrite_existing);
}

unsigned new_seed() {
  auto text = std::getenv("DAVIT_STORE_SEED");
  return text ? static_cast<unsigned>(std::atoi(text)) : std::random_device{}();
}

int rounds(int standard) {
  auto text = std::getenv("DAVIT_STORE_CASES");
  return text ? std::atoi(text) : standard;
}

} // namespace

TEST_CASE("a write-ahead log that was cut off anywhere: all commits are there, or the store is refused and says what "
          "is missing") {
  auto seed = new_seed();
  CAPTURE(seed);
  std::minstd_rand random{seed};
  scratch_folder folder;
  auto file = folder / "davit.db";
  auto store = open_store(file);
  for (int i = 0; i < 40; ++i)
    REQUIRE(accept(*store, "task " + std::to_string(i)).has_value());
  auto whole = names_in(*store);
  REQUIRE(whole.size() == 40);
  auto size = fs::file_size(file + "-wal");
  int refused = 0;
  for (int round = 0; round < rounds(60); ++round) {
    scratch_folder copies;
    auto copy = copies / "davit.db";
    copy_files(file, copy, round != 0);
    std::uintmax_t left = 0;
    if (round != 0) {
      left = round == 1 ? size : random() % (size + 1);
      fs::resize_file(copy + "-wal", left);
    }
    CAPTURE(left, size);
    auto opened = task_store::open("sqlite://" + copy);
    if (opened) {
      CHECK(names_in(**opened) == whole);
      continue;
    }
    ++refused;
    CHECK(left < size);
    CHECK(opened.error().message.find("last commits are lost") != std::string::npos);
    CHECK(opened.error().message.find("-mark") != std::string::npos);
    fs::remove(copy + "-mark"); // as it says
    CHECK(task_store::open("sqlite://" + copy).has_value());
  }
  CHECK(refused > 0);
}

TEST_CASE("pages that were damaged anywhere: the store is refused, or nothing was in them") {
  auto seed = new_seed();
  CAPTURE(seed);
  std::minstd_rand random{seed};
  scratch_folder folder;
  auto file = folder / "davit.db";
  {
    auto store = open_store(file);
    for (int i = 0; i < 300; ++i)
      REQUIRE(accept(*store, "task " + std::to_string(i)).has_value());
  }
  std::vector<std::string> whole;
  {
    auto store = open_store(file);
    whole = names_in(*store);
  }
  REQUIRE(whole.size() == 300);
  auto pages = fs::file_size(file) / 4096;
  REQUIRE(pages > 50);
  int refused = 0;
  for (int round = 0; round < rounds(60); ++round) {
    scratch_folder copies;
    auto copy = copies / "davit.db";
    copy_files(file, copy);
    auto page = random() % pages;
    {
      std::fstream damage{copy, std::ios::in | std::ios::out | std::ios::binary};
      damage.seekp(static_cast<std::streamoff>(page * 4096));
      damage << std::string(4096, round % 2 ? 'x' : '\0');
    }
    CAPTURE(page, round);
    auto opened = task_store::open("sqlite://" + copy);
    if (opened) {
      CHECK(names_in(**opened) == whole);
    } else {
      ++refused;
      CHECK(opened.error().message.find("is damaged") != std::string::npos);
      CHECK(opened.error().message.find("restore a backup") != std::string::npos);
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("a store that another process has locked says so, and what to do") {
  scratch_folder folder;
  auto file = folder / "davit.db";
  open_store(file);
  soci::session holder{soci::sqlite3, "dbname=" + file}, other{soci::sqlite3, "dbname=" + file + " timeout=0"};
  holder << "BEGIN IMMEDIATE";
  std::string words;
  try {
    other << "BEGIN IMMEDIATE";
  } catch (const soci::soci_error& e) {
    words = make_sqlite(file)->describe(e).message;
  }
  CHECK(words.starts_with("the store " + file + " is locked by another process"));
  CHECK(words.find("BEGIN") == std::string::npos);
}

TEST_CASE("a reader that holds a snapshot is told of, and the write-ahead log does not grow without end") {
  scratch_folder folder;
  auto file = folder / "davit.db";
  sqlite_limits limits{200 << 10, 600 << 10};
  auto store = open_store(file, limits);
  REQUIRE(accept(*store, "first").has_value());
  CHECK(store->warning().empty());
  test::process reader{
    {"/bin/sh", "-c",
     "(echo 'BEGIN;'; echo 'SELECT COUNT(*) FROM task;'; echo '.shell echo reading'; sleep 1000) | exec sqlite3 "
       + file}};
  REQUIRE(reader.await_out("reading"));
  std::string refusal;
  int accepted = 0;
  for (int i = 0; i < 500 && refusal.empty(); ++i) {
    auto answer = accept(*store, "task " + std::to_string(i));
    if (!answer)
      refusal = answer.error().message;
    else
      ++accepted;
    test::shell("sleep 0.02");
  }
  CHECK(refusal.find("a reader (process ") != std::string::npos);
  CHECK(refusal.find("sqlite3") != std::string::npos);
  CHECK(refusal.find("no task is accepted") != std::string::npos);
  CHECK(fs::file_size(file + "-wal") < 8 * limits.most_wal);
  CHECK(store->warning() == refusal.substr(0, store->warning().size()));
  test::shell("pkill -x -f 'sqlite3 " + file + "'");
  auto after = accept(*store, "after");
  for (int i = 0; i < 100 && !after; ++i) {
    test::shell("sleep 0.1"); // until it has died
    after = accept(*store, "after");
  }
  CHECK(after.has_value());
  for (int i = 0; i < 3; ++i) {
    test::shell("sleep 1.1");
    CHECK(accept(*store, "later " + std::to_string(i)).has_value());
  }
  CHECK(store->warning().empty());
  CHECK(fs::file_size(file + "-wal") <= limits.warn_wal + 100'000);
}
