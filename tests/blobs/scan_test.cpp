// Folders as trees: exact, quick the second time, and never with a wrong digest.
#include "blobs/blob_fixture.hpp"
#include "blobs/file_reader.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <set>
#include <sys/stat.h>
#include <sys/time.h>

using namespace davit::blobs;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

scanned scan(const std::string& folder, digest_cache* cache = nullptr) {
  scan_options options;
  options.cache = cache;
  return scan_folder(folder, options).value();
}

/// As if the files had been there for long: the tick of the clock in which they changed is over.
void age() {
  ::usleep(25'000);
}

} // namespace

TEST_CASE("a scan says what is in a folder, and its source has the bytes", "[blobs][scan]") {
  scratch folder;
  make_random_folder(folder / "in", 11, 150);
  auto before = open_descriptors();
  auto tree = scan(folder / "in").entries;
  CHECK(open_descriptors() == before);
  REQUIRE(check_tree(tree));
  auto names = shell("cd '" + folder / "in" + "' && find . -mindepth 1 -print0");
  CHECK(tree.entries.size() == static_cast<std::size_t>(std::count(names.begin(), names.end(), '\0')));
  auto source = folder_source::open_folder(folder / "in").value();
  for (const auto& one : tree.entries) {
    struct stat status {};
    REQUIRE(::lstat((folder / "in/" + one.path).c_str(), &status) == 0);
    if (one.kind == entry_kind::hard_link)
      continue;
    CHECK(one.modified == time_of(status.st_mtim));
    if (one.kind != entry_kind::symlink)
      CHECK(one.mode == (status.st_mode & 01777));
    if (one.kind == entry_kind::file)
      CHECK(drain(*source.open(one).value()) == read_all(folder / "in/" + one.path));
  }
  CHECK(scan(folder / "in").entries == tree);
}

TEST_CASE("set-id bits go or stay, special files are refused or left out, limits hold", "[blobs][scan]") {
  scratch folder;
  fs::create_directories(folder / "in/a/b/c");
  write_all(folder / "in/program", "12345678");
  ::chmod((folder / "in/program").c_str(), 06755);
  CHECK(scan(folder / "in").entries.entries.back().mode == 0755);
  scan_options options;
  options.limits.set_id = true;
  CHECK(scan_folder(folder / "in", options).value().entries.entries.back().mode == 06755);
  REQUIRE(::mkfifo((folder / "in/fifo").c_str(), 0600) == 0);
  CHECK(scan_folder(folder / "in").error().message.ends_with("in/fifo is a device, a fifo or a socket"));
  options.skip_special = true;
  auto done = scan_folder(folder / "in", options).value();
  CHECK(done.skipped_count == 1);
  CHECK(done.skipped.front().find("in/fifo was left out") != std::string::npos);
  CHECK(done.entries.entries.size() == 4);
  auto refused = [&](auto change) {
    auto limited = options;
    change(limited.limits);
    auto result = scan_folder(folder / "in", limited);
    return !result && result.error().code == errc::refused;
  };
  CHECK(refused([](auto& l) { l.entries = 3; }));
  CHECK(refused([](auto& l) { l.depth = 2; }));
  CHECK(refused([](auto& l) { l.bytes = 7; }));
  CHECK(refused([](auto& l) { l.file_bytes = 7; }));
  CHECK_FALSE(refused([](auto& l) { l.file_bytes = 8; }));
  CHECK(scan_folder(folder / "nothing").error().code == errc::missing);
}

TEST_CASE("what the cache knows is not read again; whatever changed is", "[blobs][scan]") {
  scratch folder;
  make_random_folder(folder / "in", 12, 80);
  age();
  digest_cache first;
  auto tree = scan(folder / "in", &first).entries;
  auto cache = digest_cache::read(first.write());
  auto again = scan(folder / "in", &cache);
  CHECK(again.entries == tree);
  CHECK(again.read_files == 0);
  CHECK(cache.size() == first.size());
  REQUIRE(cache.save(folder / "cache"));
  struct stat status {};
  REQUIRE(::stat((folder / "cache").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);

  // The same size and the same time of modification: only the inode's time of change tells.
  auto one = std::find_if(tree.entries.begin(), tree.entries.end(),
                          [](const tree_entry& e) { return e.size > 500 && e.holes.empty(); });
  auto path = folder / "in/" + one->path;
  write_all(path, std::string(one->size, 'Z'));
  struct timespec times[2] = {{0, UTIME_OMIT}, {one->modified.seconds, static_cast<long>(one->modified.nanoseconds)}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  auto loaded = digest_cache::load(folder / "cache");
  auto third = scan(folder / "in", &loaded);
  CHECK(third.read_files == 1);
  CHECK(third.entries == scan(folder / "in").entries);
  CHECK(third.entries != tree);

  auto bytes = first.write();
  for (std::size_t at = 0; at < bytes.size(); at += 37) {
    auto spoilt = bytes;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 1);
    auto bad = digest_cache::read(spoilt);
    CHECK_FALSE(bad.find({}));
    CHECK(scan(folder / "in", &bad).read_files > 0);
    if (at > 37 * 3)
      break;
  }
  CHECK(digest_cache::load(folder / "no such file").size() == 0);
}

TEST_CASE("a file that changed just before it was read is not remembered", "[blobs][scan]") {
  digest_cache cache;
  file_stamp fine{1, 2, 3, {100, 5}, {100, 123'456'789}}, coarse{1, 3, 3, {100, 0}, {100, 0}};
  auto after = [](timestamp time, std::int64_t more) {
    auto sum = time.nanoseconds + more;
    return timestamp{time.seconds + sum / 1'000'000'000, static_cast<std::uint32_t>(sum % 1'000'000'000)};
  };
  cache.add(fine, digest_of("a"), after(fine.changed, 19'999'999));
  cache.add(coarse, digest_of("a"), after(coarse.changed, 1'999'999'999));
  cache.add(fine, digest_of("a"), {99, 0}); // from a clock that is ahead
  CHECK(cache.size() == 0);
  cache.add(fine, digest_of("a"), after(fine.changed, 20'000'000));
  cache.add(coarse, digest_of("a"), after(coarse.changed, 2'000'000'000));
  CHECK(cache.find(fine) == digest_of("a"));
  CHECK(cache.find(coarse) == digest_of("a"));
  for (auto change : {+[](file_stamp& s) { ++s.size; }, +[](file_stamp& s) { ++s.modified.nanoseconds; },
                      +[](file_stamp& s) { ++s.changed.nanoseconds; }, +[](file_stamp& s) { ++s.inode; },
                      +[](file_stamp& s) { ++s.device; }}) {
    auto other = fine;
    change(other);
    CHECK_FALSE(cache.find(other));
  }
  constexpr auto least = std::numeric_limits<std::int64_t>::min(), most = std::numeric_limits<std::int64_t>::max();
  CHECK(nanoseconds_between({least, 0}, {most, 0}) > 0);
  CHECK(nanoseconds_between({most, 0}, {least, 999'999'999}) < 0);
}

TEST_CASE("a file that is written while it is read never gets a digest of something that it never was",
          "[blobs][scan]") {
  scratch folder;
  constexpr std::size_t size = 4 << 20;
  // A signal's handler writes the same letter to both ends of the file. To the thread that reads it, this is one step:
  // whatever it sees between two steps, both ends have the same letter.
  static int file = -1;
  static char letter = 'a';
  const auto path = folder / "file";
  write_all(path, std::string(1, 'a') + std::string(size - 2, '-') + 'a');
  descriptor opened{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  file = opened.get();
  auto write_both = +[](int) {
    letter = letter == 'e' ? 'a' : static_cast<char>(letter + 1);
    if (::pwrite(file, &letter, 1, 0) != 1 || ::pwrite(file, &letter, 1, size - 1) != 1)
      std::abort();
  };
  std::set<digest> states;
  for (char one = 'a'; one <= 'e'; ++one)
    states.insert(digest_of(std::string(1, one) + std::string(size - 2, '-') + one));
  auto* before = std::signal(SIGALRM, write_both);
  randomness random{13};
  std::vector<char> buffer(4096);
  for (int i = 0; i < 60; ++i) {
    write_both(0);
    // Within the tick of that change, or when the reader takes it to be over. (Since Linux 6.13 a change that follows a
    // look at the times has a time of its own: there the reader need not wait, and this can't show that it does.)
    struct itimerval timer {};
    timer.it_value.tv_usec = static_cast<suseconds_t>(1 + below(random, 4000) + (i % 2 == 0 ? 0 : 20'000));
    ::setitimer(ITIMER_REAL, &timer, nullptr);
    auto read = hash_file(file, path, buffer, 10);
    if (read)
      CHECK(states.contains(read->content));
    else
      CHECK(read.error().code == errc::changed);
  }
  struct itimerval off {};
  ::setitimer(ITIMER_REAL, &off, nullptr);
  std::signal(SIGALRM, before);
  CHECK(states.contains(hash_file(file, path, buffer, 10).value().content));
}

TEST_CASE("the source of a folder follows no link, and refuses what is not as it was", "[blobs][scan]") {
  scratch folder;
  fs::create_directories(folder / "in/sub");
  write_all(folder / "in/sub/file", "contents");
  auto tree = scan(folder / "in").entries;
  auto source = folder_source::open_folder(folder / "in").value();
  auto file = tree.entries[1];
  CHECK(drain(*source.open(file).value(), 3) == "contents");
  std::vector<char> buffer(100);
  for (auto bytes : {"content", "contents and more", "CONTENTS", ""}) {
    write_all(folder / "in/sub/file", bytes);
    auto reader = source.open(file).value();
    auto got = reader->read(buffer);
    while (got && *got != 0)
      got = reader->read(buffer);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::changed);
  }
  fs::rename(folder / "in/sub", folder / "elsewhere");
  CHECK(source.open(file).error().code == errc::missing);
  fs::create_directory_symlink(folder / "elsewhere", folder / "in/sub");
  CHECK_FALSE(source.open(file));
  fs::remove(folder / "in/sub");
  fs::create_directories(folder / "in/sub/file");
  CHECK(source.open(file).error().code == errc::changed);
}
