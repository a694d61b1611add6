// What a power cut leaves of small logs: the journal, and nothing else that was written lately.
#include "fixture/test_engine.hpp"
#include "store/log_journal.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

using namespace davit;
using namespace davit::store;
using namespace std::chrono_literals;

namespace {

struct fixture {
  test::scratch_folder folder;
  std::unique_ptr<log_journal> journal;

  fixture() { journal = reopen("boot 1"); }

  std::unique_ptr<log_journal> reopen(const std::string& boot) {
    journal.reset();
    auto opened = log_journal::open(folder.path(), boot);
    REQUIRE(opened.has_value());
    return std::move(*opened);
  }

  std::filesystem::path file(const attempt_key& key) const { return log_path(folder.path(), key).string() + ".log"; }

  /// A finished log, in its file and in the journal.
  attempt_key add(const std::string& text) {
    attempt_key key{uuid::make_v7(), 1};
    auto writer = *log_writer::open(log_path(folder.path(), key), 0);
    REQUIRE(writer->append({{log_stream::out, std::chrono::system_clock::now(), text}}).has_value());
    REQUIRE(writer->end().has_value());
    journal->add(key, *writer->whole(log_journal::longest));
    return key;
  }

  std::string text_of(const attempt_key& key) const {
    auto page = read_log(log_path(folder.path(), key), 0, 1 << 20);
    if (!page || !page->finished || page->records.size() != 1)
      return "(not whole)";
    return page->records.front().bytes;
  }
};

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary} << bytes;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

TEST_CASE_METHOD(fixture, "logs that a power cut took from the disk come back from the journal") {
  auto gone = add("gone\n"), empty = add("empty\n"), half = add("half\n"), other = add("other\n"),
       whole = add("whole\n"), removed = add("removed\n");
  REQUIRE(journal->sync().has_value());
  journal->remove(removed.task);
  REQUIRE(journal->sync().has_value());
  std::filesystem::remove_all(file(gone).parent_path());
  std::filesystem::resize_file(file(empty), 0);
  std::filesystem::resize_file(file(half), 10);
  write(file(other), std::string(std::filesystem::file_size(file(other)), '\0'));
  std::filesystem::remove_all(file(removed).parent_path());
  auto before = std::filesystem::last_write_time(file(whole));

  SECTION("in the next boot") {
    journal = reopen("boot 2");
    CHECK(text_of(gone) == "gone\n");
    CHECK(text_of(empty) == "empty\n");
    CHECK(text_of(half) == "half\n");
    CHECK(text_of(other) == "other\n");
    CHECK(text_of(whole) == "whole\n");
    CHECK(std::filesystem::last_write_time(file(whole)) == before);
    CHECK_FALSE(std::filesystem::exists(file(removed)));
    // Done once: what is removed now stays so.
    std::filesystem::remove_all(file(gone).parent_path());
    journal = reopen("boot 3");
    CHECK_FALSE(std::filesystem::exists(file(gone)));
  }
  SECTION("and where the kernel does not tell the boot") {
    journal = reopen("");
    CHECK(text_of(gone) == "gone\n");
  }
  SECTION("but not in the same boot: whatever is gone was taken by somebody") {
    journal = reopen("boot 1");
    CHECK_FALSE(std::filesystem::exists(file(gone)));
  }
}

TEST_CASE_METHOD(fixture, "a journal that was cut anywhere gives back what is whole, and is gone on with") {
  auto first = add("first\n"), second = add("second\n");
  REQUIRE(journal->sync().has_value());
  journal.reset();
  auto bytes = read(folder / "journal");
  auto one = std::filesystem::file_size(file(second)) + 40;
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    write(folder / "journal", bytes.substr(0, length));
    std::filesystem::remove_all(file(first).parent_path());
    std::filesystem::remove_all(file(second).parent_path());
    journal = reopen("boot 2");
    REQUIRE((text_of(first) == "first\n") == (length >= bytes.size() - one));
    REQUIRE((text_of(second) == "second\n") == (length == bytes.size()));
    journal.reset();
  }
  // Killed while it wrote: half an entry is no obstacle for the next.
  write(folder / "journal", bytes.substr(0, bytes.size() - 3));
  journal = reopen("boot 1");
  auto third = add("third\n");
  REQUIRE(journal->sync().has_value());
  std::filesystem::remove_all(file(third).parent_path());
  journal = reopen("boot 2");
  CHECK(text_of(third) == "third\n");
}

TEST_CASE_METHOD(fixture, "an entry whose bytes were changed is not brought back") {
  auto first = add("first\n");
  REQUIRE(journal->sync().has_value());
  journal.reset();
  auto bytes = read(folder / "journal");
  for (auto at = bytes.size() - 60; at < bytes.size(); ++at) {
    auto changed = bytes;
    changed[at] ^= 1;
    write(folder / "journal", changed);
    std::filesystem::remove_all(file(first).parent_path());
    journal = reopen("boot 2");
    REQUIRE_FALSE(std::filesystem::exists(file(first)));
    journal.reset();
  }
}

TEST_CASE_METHOD(fixture, "a full journal is given up when its logs are on the disk") {
  attempt_key key{uuid::make_v7(), 1};
  std::string bytes(log_journal::longest, 'x');
  for (int i = 0; i < 2100; ++i) {
    journal->add(key, bytes);
    if (i % 100 == 99)
      REQUIRE(journal->sync().has_value());
  }
  CHECK(std::filesystem::file_size(folder / "journal") < 2'000'000);
  journal = reopen("boot 1"); // waits for the thread that syncs
  CHECK_FALSE(std::filesystem::exists(folder / "journal.old"));
}
