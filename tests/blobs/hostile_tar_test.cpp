// Archives that nobody's tar would write.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "blobs/tar_header.hpp"
#include "blobs/tar_reader.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace davit::blobs;
using namespace davit::test;

namespace {

std::string
entry(const std::string& path, char type = '0', const std::string& content = "", const std::string& target = "") {
  tar_header header;
  header.path = path;
  header.type = type;
  header.mode = 0644;
  header.size = content.size();
  header.target = target;
  return tar_blocks(header) + content + std::string(tar_padding(content.size()), '\0');
}

std::string sparse(const std::string& path, const std::vector<hole>& data, std::uint64_t size) {
  tar_header header;
  header.path = path;
  header.sparse = true;
  header.apparent_size = size;
  auto map = sparse_map(data, size);
  header.size = map.size();
  std::string bytes;
  for (const auto& one : data)
    bytes.append(std::min<std::uint64_t>(one.length, 1 << 20), 'd');
  header.size += bytes.size();
  return tar_blocks(header) + map + bytes + std::string(tar_padding(bytes.size()), '\0');
}

const std::string end(1024, '\0');

result<untarred> take(const std::string& tar, const untar_options& options = {}) {
  memory_blobs blobs;
  memory_reader from{tar, 4096};
  return read_tar(from, blobs, options);
}

std::string refusal(const std::string& tar, const untar_options& options = {}) {
  auto done = take(tar + end, options);
  if (done)
    return "taken";
  CHECK((done.error().code == errc::refused || done.error().code == errc::damaged));
  return done.error().message;
}

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

} // namespace

TEST_CASE("what an archive may not say is refused by its name", "[blobs][tar]") {
  has(refusal(entry("/etc/passwd")), "\"/etc/passwd\" has an absolute path");
  has(refusal(entry("a/../../b")), "has \"..\"");
  has(refusal(entry("..", '5')), "has \"..\"");
  has(refusal(entry("a") + entry("a")), "\"a\" is there twice");
  has(refusal(entry("a") + entry("./a//", '5')), "is there twice");
  has(refusal(entry("a") + entry("a/b")), "\"a/b\" does not lie in a folder");
  has(refusal(entry("a", '2', "", "/etc") + entry("a/b")), "\"a/b\" does not lie in a folder"); // through a link
  has(refusal(entry("b", '1', "", "nowhere")), "not there before");
  has(refusal(entry("d", '5') + entry("b", '1', "", "d")), "hard link to a folder");
  has(refusal(entry("a") + entry("b", '1', "", "/a")), "absolute path");
  has(refusal(entry("a") + entry("b", '1', "", "../a")), "has \"..\"");
  has(refusal(entry("a", '2', "", "")), "link without a target");
  has(refusal(entry("c", '3')), "is a device");
  has(refusal(entry("c", '4')), "is a device");
  has(refusal(entry("c", '6')), "is a device");
  has(refusal(entry(".", '0', "x")), "no name of its own");
  has(refusal(entry("\x1b[31mevil", '3')), "\"\\x1b[31mevil\"");
  untar_options inside;
  inside.limits.links_out = false;
  has(refusal(entry("a", '2', "", "../x"), inside), "leads out of the tree");
  CHECK(refusal(entry("a", '2', "", "../x")) == "taken");
  CHECK(refusal(entry("d", '5') + entry("./d", '5')) == "taken");
}

TEST_CASE("names and targets in UTF-8 stay the bytes that they are, in pax headers too", "[blobs][tar]") {
  std::string long_name, composed;
  for (int i = 0; i < 40; ++i) {
    long_name += "e\u0301"; // decomposed
    composed += "\u00e9";
  }
  auto tar = entry(composed) + entry(long_name, '2', "", long_name + "/" + composed)
           + entry("short", '2', "", "e\u0301") + entry(long_name + "2", '0', "x")
           + entry("name", '1', "", long_name + "2") + entry("bytes", '0', "y") + entry("other", '2', "", "\xff\xfe");
  auto done = take(tar + end).value().entries;
  std::vector<std::string> seen;
  for (const auto& one : done.entries)
    seen.push_back(one.path + '>' + one.target);
  CHECK(seen
        == std::vector<std::string>{"bytes>", long_name + '>' + long_name + '/' + composed, long_name + "2>",
                                    "name>" + long_name + "2", "other>\xff\xfe", "short>e\u0301", composed + '>'});
}

TEST_CASE("the first link of an archive keeps a target that stands in a pax header", "[blobs][tar]") {
  for (std::string target : {"\u00fc", "\xff"}) {
    auto record = std::to_string(13 + target.size()) + " linkpath=" + target + '\n'; // as Go's archive/tar writes it
    auto done = take(entry("PaxHeader", 'x', record) + entry("link", '2') + end).value().entries;
    CHECK(done.entries.at(0).target == target);
  }
}

TEST_CASE("special files can be left out, with a word about each", "[blobs][tar]") {
  untar_options options;
  options.skip_special = true;
  std::string tar = entry("./", '5') + entry("d/e/file", '0', "x");
  for (int i = 0; i < 150; ++i)
    tar += entry("fifo" + std::to_string(i), '6');
  auto done = take(tar + end, options).value();
  CHECK(done.skipped_count == 150);
  CHECK(done.skipped.size() == 100);
  CHECK(describe(done.entries)
        == "drwxr-xr-x 0 d\ndrwxr-xr-x 0 d/e\n-rw-r--r-- 1 d/e/file\n"); // the folders were never named
  options.limits.entries = 100;
  has(refusal(tar, options), "more than 100");
}

TEST_CASE("limits hold before the bytes are read, and holes count", "[blobs][tar]") {
  untar_options options;
  options.limits.bytes = 10'000;
  options.limits.file_bytes = 8000;
  CHECK(refusal(entry("a", '0', std::string(8000, 'x')), options) == "taken");
  has(refusal(entry("a", '0', std::string(8001, 'x')), options), "more than 8000");
  has(refusal(entry("a", '0', std::string(6000, 'x')) + entry("b", '0', std::string(4001, 'x')), options),
      "over 10000");
  has(refusal(sparse("bomb", {{0, 1}}, 1ull << 60), options), "more than 8000");
  has(refusal(sparse("bomb", {{0, 1}}, 8001), options), "more than 8000");
  CHECK(refusal(sparse("small", {{0, 1}, {100, 1}}, 8000), options) == "taken");
  auto empty_parts = take(sparse("s", {{0, 1}, {100, 0}, {200, 1}, {250, 0}}, 300) + end).value().entries;
  CHECK(empty_parts.entries[0].holes == std::vector<hole>{{1, 199}, {201, 99}});
  options.limits.holes = 1;
  has(refusal(sparse("small", {{0, 1}, {100, 1}}, 8000), options), "over 1 holes");
  std::string deep = "a";
  for (int i = 0; i < 200; ++i)
    deep += "/a";
  has(refusal(entry(deep)), "levels deep");
  has(refusal(entry(std::string(300, 'n'))), "name of more than 255");
  std::string wide;
  for (int i = 0; i < 40; ++i)
    wide += std::string(200, 'n') + '/';
  has(refusal(entry(wide + "x")), "path of more than 4096");
  has(refusal(entry("l", '2', "", std::string(5000, 't'))), "too long");
  untar_options names;
  names.limits.manifest_bytes = 1000;
  std::string many;
  for (int i = 0; i < 20; ++i)
    many += entry(std::to_string(i) + std::string(90, 'n'));
  has(refusal(many, names), "names together");
}

TEST_CASE("headers that never end are cut off, in bounded memory", "[blobs][tar]") {
  // A sparse map of a million parts, 20 MiB of text: libarchive would keep all of it.
  std::vector<hole> data;
  for (std::uint64_t i = 0; i < 1'000'000; ++i)
    data.push_back({i * 1'000'000'000, 0});
  tar_header header;
  header.path = "map";
  header.sparse = true;
  header.apparent_size = 1ull << 60;
  auto map = sparse_map(data, 1ull << 60);
  header.size = map.size();
  has(refusal(tar_blocks(header) + map), "a header has more than 2 MiB");
  tar_header pax;
  pax.type = 'x';
  pax.size = 50 << 20;
  has(refusal(tar_blocks(pax) + std::string(50 << 20, 'x')), "damaged");
  tar_header name;
  name.type = 'L';
  name.size = 50 << 20;
  has(refusal(tar_blocks(name) + std::string(50 << 20, 'x')), "damaged");
  std::string endless; // one pax header behind the other
  for (int i = 0; i < 6000; ++i)
    endless += entry("p", 'x', "11 a=bcdef\n");
  CHECK(refusal(endless + entry("a")) != "taken");
}

TEST_CASE("an archive that is cut off anywhere is damaged; an error of the stream is passed on", "[blobs][tar]") {
  auto tar = entry("dir/", '5') + entry("dir/file", '0', std::string(3000, 'x'))
           + entry(std::string(150, 'n'), '0', "y") + sparse("s", {{1000, 10}}, 5000);
  REQUIRE(take(tar + end));
  for (std::size_t at = 0; at <= tar.size() + 512; at += 256)
    CHECK(take((tar + end).substr(0, at)).error().code == errc::damaged);
  CHECK_FALSE(take(""));
  CHECK_FALSE(take("this is not a tar archive at all"));
  CHECK(take(end).value().entries.entries.empty());

  struct failing final : byte_reader {
    memory_reader bytes;
    explicit failing(std::string all) : bytes(std::move(all), 512) {}
    result<std::size_t> read(std::span<char> into) override {
      if (bytes.at >= 1024)
        return error{errc::failed, "the engine hung up"};
      return bytes.read(into);
    }
  } from{tar};
  memory_blobs blobs;
  CHECK(read_tar(from, blobs).error().message == "the engine hung up");
  memory_reader good{tar + end};
  blobs.fail_after = 2000;
  CHECK(read_tar(good, blobs).error().code == errc::full);
}

TEST_CASE("any bytes in place of others give a valid tree or an error", "[blobs][tar]") {
  randomness random{60};
  auto whole = entry("dir/", '5') + entry("dir/a", '0', std::string(700, 'x')) + entry("dir/b", '1', "", "dir/a")
             + entry("l", '2', "", "../x") + entry(std::string(150, 'n'), '0', "y") + sparse("s", {{1000, 10}}, 5000)
             + end;
  untar_options options;
  options.skip_special = true;
  options.limits.bytes = 1 << 20;
  for (int i = 0; i < 20'000; ++i) {
    auto tar = whole;
    for (auto times = 1 + below(random, 4); times-- > 0;) {
      auto at = below(random, tar.size());
      if (below(random, 3) == 0) // a header whose sum fits again
        at = at / 512 * 512 + below(random, 160);
      static const std::string bytes = "0123456789/.x \0\xff"
                                       "LKSgD";
      tar[at] = bytes[below(random, bytes.size())];
      auto block = at / 512 * 512;
      if (tar.compare(block + 257, 5, "ustar") == 0) {
        std::fill_n(tar.begin() + static_cast<std::ptrdiff_t>(block) + 148, 8, ' ');
        unsigned sum = 0;
        for (std::size_t j = 0; j < 512; ++j)
          sum += static_cast<unsigned char>(tar[block + j]);
        char text[8];
        std::snprintf(text, sizeof text, "%06o", sum);
        tar.replace(block + 148, 7, std::string{text, 7});
      }
    }
    auto done = take(tar, options);
    if (done) {
      REQUIRE(check_tree(done->entries, options.limits));
      REQUIRE(read_manifest(write_manifest(done->entries), options.limits).value() == done->entries);
    }
  }
}
