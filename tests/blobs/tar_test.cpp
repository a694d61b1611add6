// Trees as tar streams, both ways, against the system's tar.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "blobs/tar_reader.hpp"
#include "blobs/tar_writer.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <sys/stat.h>

using namespace davit::blobs;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

tree scan(const std::string& folder) {
  return scan_folder(folder).value().entries;
}

std::string
tar_of(const std::string& folder, const tree& from, const tar_options& options = {}, std::size_t piece = 100'000) {
  auto source = folder_source::open_folder(folder).value();
  tar_writer writer{from, source, options};
  return drain(writer, piece);
}

untarred
read(std::string tar, memory_blobs& into, const untar_options& options = {}, std::size_t piece = ~std::size_t{0}) {
  memory_reader from{std::move(tar), piece};
  return read_tar(from, into, options).value();
}

/// Other archivers write no fractions of seconds in some formats, and round their own way.
tree without_times(tree value) {
  for (auto& one : value.entries)
    one.modified = {};
  return value;
}

} // namespace

TEST_CASE("odd folders go through our tar and the system's, and are the same in every bit", "[blobs][tar]") {
  for (std::uint64_t seed = 20; seed < 32; ++seed) {
    INFO("seed " << seed);
    scratch folder;
    make_random_folder(folder / "in", seed, 120);
    auto tree = scan(folder / "in");
    auto tar = tar_of(folder / "in", tree, {::geteuid(), ::getegid(), ""}, 1 + seed % 3 * 40'000 + 511);
    CHECK(tar.size() % 512 == 0);
    write_all(folder / "tar", tar);
    fs::create_directories(folder / "out");
    shell("cd '" + folder / "out" + "' && tar --numeric-owner --warning=no-timestamp -xpf ../tar 2>../errors");
    CHECK(read_all(folder / "errors") == "");
    CHECK(facts_of(folder / "out") == facts_of(folder / "in"));
    CHECK(describe(scan(folder / "out")) == describe(tree));
    CHECK(scan(folder / "out") == tree); // holes and hard links too

    memory_blobs blobs;
    CHECK(read(tar, blobs).entries == tree);
    for (const auto& one : tree.entries)
      if (one.kind == entry_kind::file)
        CHECK(blobs.blobs.at(one.content).size() == one.size);
    tar_writer again{tree, blobs, {::geteuid(), ::getegid(), ""}};
    CHECK(drain(again, 33'333) == tar);
  }
}

TEST_CASE("what the system's tar writes is the same tree, in each of its formats", "[blobs][tar]") {
  for (std::uint64_t seed = 40; seed < 52; ++seed) {
    INFO("seed " << seed);
    scratch folder;
    make_random_folder(folder / "in", seed, 120);
    auto tree = scan(folder / "in");
    for (std::string format : {"pax", "pax --sparse", "gnu", "gnu --sparse", "pax --sparse --sparse-version=0.1",
                               "pax --sparse --sparse-version=0.0"}) {
      INFO(format);
      shell("cd '" + folder / "in" + "' && tar --format=" + format + " -cf ../tar . 2>../errors");
      memory_blobs blobs;
      auto got = read(read_all(folder / "tar"), blobs, {}, 10'007).entries;
      auto expected = tree;
      if (format.find("sparse") == std::string::npos)
        for (auto& one : expected.entries)
          one.holes.clear();
      if (format.starts_with("gnu")) {
        got = without_times(got);
        expected = without_times(expected);
      }
      CHECK(describe(got) == describe(expected));
      CHECK(got == expected);
    }
  }
}

TEST_CASE("a hard link's header says what its file's says: whoever unpacks it may believe it", "[blobs][tar]") {
  scratch folder;
  shell("mkdir '" + folder / "in" + "' && cd '" + folder / "in"
        + "' && echo x > a && chmod 750 a && touch -d '2001-02-03 04:05:06 UTC' a && ln a b");
  write_all(folder / "tar", tar_of(folder / "in", scan(folder / "in"), {}, 4096));
  auto listed = shell("TZ=UTC tar -tvf '" + folder / "tar" + "'");
  INFO(listed);
  CHECK(listed.find("-rwxr-x--- 0/0               2 2001-02-03 04:05 a\n") != std::string::npos);
  CHECK(listed.find("hrwxr-x--- 0/0               0 2001-02-03 04:05 b link to a\n") != std::string::npos);
}

TEST_CASE("owners and a prefix are the caller's, large numbers too", "[blobs][tar]") {
  scratch folder;
  fs::create_directories(folder / "in/sub");
  write_all(folder / "in/a", "x");
  fs::create_hard_link(folder / "in/a", folder / "in/sub/b");
  auto tree = scan(folder / "in");
  write_all(folder / "tar", tar_of(folder / "in", tree, {4'000'000'000, 12345, "work/" + std::string(120, 'd')}));
  auto list = shell("tar --numeric-owner -tvf '" + folder / "tar" + "'");
  CHECK(list.find("4000000000/12345") != std::string::npos);
  CHECK(std::count(list.begin(), list.end(), '\n') == 3);
  CHECK(list.find("link to work/" + std::string(120, 'd') + "/a") != std::string::npos);
  memory_blobs blobs;
  untar_options options;
  options.strip = 2;
  CHECK(read(read_all(folder / "tar"), blobs, options).entries == tree);
  options.strip = 3;
  memory_reader from{read_all(folder / "tar")};
  CHECK(read_tar(from, blobs, options).error().message.find("no name of its own") != std::string::npos);
}

TEST_CASE("a blob that is not what the tree says ends the stream with an error", "[blobs][tar]") {
  tree value;
  auto& file = value.entries.emplace_back();
  file.path = "file";
  std::string bytes(10'000, 'x');
  bytes.replace(0, 5000, std::string(5000, '\0'));
  file.size = bytes.size();
  file.content = digest_of(bytes);
  auto outcome = [&](const std::string& given) {
    memory_blobs blobs;
    blobs.blobs[file.content] = given;
    tar_writer writer{value, blobs};
    std::vector<char> buffer(1000);
    while (true) {
      auto got = writer.read(buffer);
      if (!got)
        return got.error().message;
      if (*got == 0)
        return std::string{"good"};
    }
  };
  CHECK(outcome(bytes) == "good");
  CHECK(outcome(bytes.substr(1)).ends_with("are cut off"));
  CHECK(outcome(bytes + "x").ends_with("are more than the tree says"));
  file.holes = {{0, 5000}};
  CHECK(outcome(bytes) == "good");
  file.holes = {{0, 5001}};
  CHECK(outcome(bytes).find("not zero") != std::string::npos);
  memory_blobs none;
  tar_writer writer{value, none};
  std::vector<char> buffer(1000);
  CHECK(writer.read(buffer).error().code == errc::missing);
}

TEST_CASE("sizes and times at the edges of what headers hold", "[blobs][tar]") {
  // Of a file that is nearly all hole: its zeros are in no memory.
  scratch folder;
  fs::create_directories(folder / "in");
  write_all(folder / "in/huge", "begin");
  fs::resize_file(folder / "in/huge", (9ull << 30) + 5);
  tree value;
  auto& file = value.entries.emplace_back();
  file.path = "huge";
  file.size = (9ull << 30) + 5;
  file.mode = 0644;
  for (auto [seconds, nanoseconds] :
       std::initializer_list<std::pair<std::int64_t, std::uint32_t>>{{0, 0},
                                                                     {-1, 0},
                                                                     {-2, 999'999'999},
                                                                     {-2, 500'000'000},
                                                                     {1, 1},
                                                                     {8'589'934'591, 0},
                                                                     {8'589'934'592, 100},
                                                                     {-6'000'000'000, 7}}) {
    tree times;
    auto& one = times.entries.emplace_back();
    one.path = "one";
    one.kind = entry_kind::folder;
    one.mode = 01777;
    one.modified = {seconds, nanoseconds};
    memory_blobs blobs;
    tar_writer writer{times, blobs};
    CHECK(read(drain(writer), blobs).entries == times);
  }
  // The header alone: the blob's first byte is asked for behind it.
  file.content = digest_of("not asked for");
  memory_blobs blobs;
  blobs.blobs[file.content] = "b";
  tar_writer writer{value, blobs};
  std::vector<char> header(3 * 512);
  REQUIRE(writer.read(header).value() == header.size());
  CHECK(std::string(header.begin(), header.end()).find("size=9663676421\n") != std::string::npos);
}
