// Archives that come from a task, unpacked: exact if they are good, without a trace if they are not.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "blobs/tar_header.hpp"
#include "blobs/tar_writer.hpp"
#include "cli/unpack.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <filesystem>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
namespace fs = std::filesystem;
using blobs::errc;

namespace {

std::string
entry(const std::string& path, char type = '0', const std::string& content = "", const std::string& target = "") {
  blobs::tar_header header;
  header.path = path;
  header.type = type;
  header.mode = type == '5' ? 0755 : 0644;
  header.size = content.size();
  header.target = target;
  return blobs::tar_blocks(header) + content + std::string(blobs::tar_padding(content.size()), '\0');
}

const std::string end_mark(1024, '\0');

blobs::result<unpacked>
unpack(const std::string& tar, const std::string& folder, const blobs::tree_limits& limits = {}) {
  memory_reader from{tar, 5000};
  return unpack_tar(from, folder, limits);
}

blobs::tree tree_of(const std::string& folder) {
  return blobs::scan_folder(folder).value().entries;
}

std::string tar_of(const std::string& folder) {
  auto tree = tree_of(folder);
  auto source = blobs::folder_source::open_folder(folder).value();
  blobs::tar_writer tar{tree, source};
  return drain(tar);
}

/// A folder to unpack into, in one that must stay as it is.
struct place {
  scratch outer;
  std::string inner = outer / "in";
  std::string before;

  place() {
    fs::create_directories(inner);
    write_all(outer / "outside", "untouched");
    before = outside();
  }
  std::string outside() const {
    return shell("cd '" + outer.path() + "' && ls -la --full-time outside && cat outside && ls | grep -v '^in$'");
  }
};

std::string refusal(const std::string& tar, const blobs::tree_limits& limits = {}) {
  place one;
  auto done = unpack(tar + end_mark, one.inner, limits);
  CHECK(one.outside() == one.before);
  if (done)
    return "taken";
  CHECK(fs::is_empty(one.inner));
  CHECK((done.error().code == errc::refused || done.error().code == errc::damaged));
  return done.error().message;
}

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

/// A stream that breaks after so many bytes.
struct breaking_reader final : blobs::byte_reader {
  memory_reader from;
  std::size_t left;
  breaking_reader(std::string all, std::size_t after) : from(std::move(all), 3000), left(after) {}
  blobs::result<std::size_t> read(std::span<char> into) override {
    if (left == 0)
      return blobs::error{errc::failed, "the connection is lost"};
    auto got = from.read(into.first(std::min(into.size(), left)));
    left -= got.value();
    return got;
  }
};

} // namespace

TEST_CASE("what is unpacked is what was packed, to the nanosecond, also over itself", "[files][unpack]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    scratch folder;
    make_random_folder(folder / "from", seed, 50);
    fs::create_directory(folder / "to");
    auto tar = tar_of(folder / "from");
    for (int again = 0; again < 2; ++again) {
      auto descriptors = open_descriptors();
      auto done = unpack(tar, folder / "to");
      REQUIRE(done);
      CHECK(open_descriptors() == descriptors);
      auto from = tree_of(folder / "from"), to = tree_of(folder / "to");
      CHECK(blobs::describe(to) == blobs::describe(from));
      REQUIRE(to == from);
      CHECK(facts_of(folder / "to") == facts_of(folder / "from"));
      CHECK(done->files + done->links + (again == 0 ? done->folders : 0) <= from.entries.size());
    }
  }
}

TEST_CASE("two files with the same bytes, of which one is sparse, stay two", "[files][unpack]") {
  scratch folder;
  fs::create_directories(folder / "from");
  fs::create_directories(folder / "to");
  write_all(folder / "from/dense", std::string(1 << 20, '\0'));
  shell("cd '" + folder / "from" + "' && truncate -s 1M sparse && truncate -s 1M another && cp dense z");
  REQUIRE(unpack(tar_of(folder / "from"), folder / "to"));
  CHECK(tree_of(folder / "to") == tree_of(folder / "from"));
}

TEST_CASE("hostile archives are refused, and leave nothing anywhere", "[files][unpack]") {
  has(refusal(entry("/outside", '0', "x")), "absolute path");
  has(refusal(entry("../outside", '0', "x")), "\"..\"");
  has(refusal(entry("good", '0', "x") + entry("a/../../outside", '0', "x")), "\"..\"");
  has(refusal(entry("up", '2', "", "..") + entry("up/outside", '0', "x")), "does not lie in a folder");
  has(refusal(entry("up/outside", '0', "x") + entry("up", '2', "", "..")), "does not lie in a folder");
  has(refusal(entry("h", '1', "", "../outside")), "\"..\"");
  has(refusal(entry("l", '2', "", "../outside") + entry("h", '1', "", "l") + entry("h", '0', "x")), "there twice");
  has(refusal(entry("device", '3')), "device");
  has(refusal(entry("device", '4')), "device");
  has(refusal(entry("fifo", '6')), "fifo");
  has(refusal(entry("a", '0', "1") + entry("a", '0', "2")), "there twice");
  has(refusal(entry("\x1b[2Jx/..", '0')), "\\x1b[2Jx");
  has(refusal(std::string(4096, 'x')), "damaged after 0 entries");
  std::string bomb;
  for (int i = 0; i < 101; ++i)
    bomb += entry(std::to_string(i));
  blobs::tree_limits limits;
  limits.entries = 100;
  has(refusal(bomb, limits), "more than 100");
  limits.file_bytes = 1000;
  has(refusal(entry("large", '0', std::string(1001, 'x')), limits), "more than 1000 bytes");
}

TEST_CASE("links lead where they say, and nothing is written through them", "[files][unpack]") {
  place one;
  auto tar = entry("out", '2', "", "../outside") + entry("abs", '2', "", "/etc/passwd") + entry("d", '5')
           + entry("d/file", '0', "new");
  REQUIRE(unpack(tar + end_mark, one.inner));
  CHECK(fs::read_symlink(one.inner + "/out") == "../outside");
  CHECK(fs::read_symlink(one.inner + "/abs") == "/etc/passwd");
  // A file by the name of the link takes its place.
  REQUIRE(unpack(entry("out", '0', "mine") + end_mark, one.inner));
  CHECK_FALSE(fs::is_symlink(one.inner + "/out"));
  CHECK(read_all(one.inner + "/out") == "mine");
  CHECK(one.outside() == one.before);
}

TEST_CASE("links that were at the destination before are not followed", "[files][unpack]") {
  place one;
  fs::create_directory(one.outer / "elsewhere");
  fs::create_directory_symlink("../elsewhere", one.inner + "/d");
  fs::create_symlink("../outside", one.inner + "/file");
  auto through = unpack(entry("d/", '5') + entry("d/x", '0', "x") + end_mark, one.inner);
  REQUIRE_FALSE(through);
  has(through.error().message, "/d is there, and is not a folder: a symbolic link is not followed");
  CHECK_FALSE(unpack(entry("d/x", '0', "x") + end_mark, one.inner));
  CHECK(fs::is_empty(one.outer / "elsewhere"));
  REQUIRE(unpack(entry("file", '0', "x") + end_mark, one.inner));
  CHECK(read_all(one.outer / "outside") == "untouched");
  CHECK(read_all(one.inner + "/file") == "x");
  // What is a folder here is not replaced by a file, and the other way round.
  fs::create_directories(one.inner + "/folder/full");
  has(unpack(entry("folder", '0', "x") + end_mark, one.inner).error().message,
      "folder can't be replaced: it is a folder");
  has(unpack(entry("folder", '2', "", "x") + end_mark, one.inner).error().message, "it is a folder");
  has(unpack(entry("file", '5') + end_mark, one.inner).error().message, "is not a folder");
  // Nothing comes to its place before all places are free.
  has(unpack(entry("a", '0', "x") + entry("b/c", '0', "x") + entry("folder", '0', "x") + end_mark, one.inner)
        .error()
        .message,
      "folder can't be replaced: it is a folder");
  CHECK(shell("ls -A '" + one.inner + "'") == "d\nfile\nfolder\n");
}

TEST_CASE("set-id bits and owners stay behind; folders that are there keep what else is in them", "[files][unpack]") {
  place one;
  fs::create_directory(one.inner + "/d");
  write_all(one.inner + "/d/other", "kept");
  blobs::tar_header header;
  header.path = "d/program";
  header.mode = 06755;
  header.user = 1234;
  header.group = 1234;
  REQUIRE(unpack(entry("d/", '5') + blobs::tar_blocks(header) + end_mark, one.inner));
  struct stat status {};
  REQUIRE(::stat((one.inner + "/d/program").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0755);
  CHECK(status.st_uid == ::geteuid());
  CHECK(read_all(one.inner + "/d/other") == "kept");
}

TEST_CASE("a folder that its owner may not write to is filled all the same, and stays so", "[files][unpack]") {
  place one;
  blobs::tar_header folder;
  folder.path = "d/";
  folder.type = '5';
  folder.mode = 0500;
  auto tar = blobs::tar_blocks(folder) + entry("d/file", '0', "x") + end_mark;
  ::chmod(one.outer.path().c_str(), 0755);
  ::chmod(one.inner.c_str(), 0777);
  auto code = in_child([&] { // to root everything is allowed
    if (::geteuid() == 0 && ::setresuid(65'534, 65'534, 65'534) != 0)
      return 1;
    for (int again = 0; again < 2; ++again)
      if (!unpack(tar, one.inner))
        return 2;
    struct stat status {};
    return ::stat((one.inner + "/d").c_str(), &status) == 0 && (status.st_mode & 07777) == 0500 ? 7 : 3;
  });
  CHECK(code == 7);
  CHECK(read_all(one.inner + "/d/file") == "x");
}

TEST_CASE("an archive that ends too early, wherever, leaves nothing", "[files][unpack]") {
  scratch folder;
  make_random_folder(folder / "from", 77, 40);
  auto tar = tar_of(folder / "from");
  randomness random{99};
  for (int i = 0; i < 60; ++i) {
    fs::create_directories(folder / "to");
    auto cut = below(random, tar.size() - 1024);
    CAPTURE(i, cut);
    blobs::result<unpacked> done = unpacked{};
    if (below(random, 2) == 0) {
      done = unpack(tar.substr(0, cut), folder / "to");
    } else {
      breaking_reader from{tar, cut};
      done = unpack_tar(from, folder / "to");
      REQUIRE_FALSE(done);
      CHECK(done.error().message == "the connection is lost");
    }
    CHECK_FALSE(done);
    CHECK(fs::is_empty(folder / "to"));
  }
}

TEST_CASE("a disk that is full is an error that says so, and what was there stays whole", "[files][unpack]") {
  place one;
  write_all(one.inner + "/b", "old");
  auto code = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto done = unpack(entry("a", '0', "small") + entry("b", '0', std::string(200'000, 'x')) + end_mark, one.inner);
    return !done && done.error().code == errc::full ? 7 : 1;
  });
  CHECK(code == 7);
  CHECK(shell("ls -A '" + one.inner + "'") == "b\n");
  CHECK(read_all(one.inner + "/b") == "old");
}

TEST_CASE("one file comes whole, as the entry says, or not at all", "[files][unpack]") {
  place one;
  blobs::tree_entry file;
  file.size = 5;
  file.mode = 04751;
  file.modified = {1'600'000'000, 123'456'789};
  file.content = blobs::digest_of("bytes");
  auto put = [&](const std::string& bytes, const std::string& name) {
    memory_reader from{bytes, 2};
    return place_file(from, file, name);
  };
  REQUIRE(put("bytes", one.inner + "/f"));
  CHECK(read_all(one.inner + "/f") == "bytes");
  struct stat status {};
  REQUIRE(::stat((one.inner + "/f").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0751);
  CHECK(status.st_mtim.tv_nsec == 123'456'789);
  write_all(one.inner + "/f", "other");
  CHECK(put("byte", one.inner + "/f").error().code == errc::damaged);
  CHECK(put("bytez", one.inner + "/f").error().code == errc::damaged);
  CHECK(read_all(one.inner + "/f") == "other");
  fs::create_symlink("../outside", one.inner + "/l");
  REQUIRE(put("bytes", one.inner + "/l"));
  CHECK_FALSE(fs::is_symlink(one.inner + "/l"));
  CHECK_FALSE(put("bytes", one.inner));
  CHECK_FALSE(put("bytes", one.inner + "/none/f"));
  CHECK(shell("ls -A '" + one.inner + "'") == "f\nl\n");
  CHECK(one.outside() == one.before);
}
