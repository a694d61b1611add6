#include "api/file_download.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace davit;
using namespace davit::api;

namespace {

std::pair<std::uint64_t, std::uint64_t> ends(const std::optional<byte_range>& range) {
  return {range.value().first, range.value().end};
}

blobs::tree_entry entry(std::string path, blobs::entry_kind kind, std::string target = {}) {
  blobs::tree_entry one;
  one.path = std::move(path);
  one.kind = kind;
  one.target = std::move(target);
  if (kind == blobs::entry_kind::file)
    one.content = blobs::digest_of(one.path);
  return one;
}

} // namespace

TEST_CASE("a range names a part of so many bytes", "[files]") {
  using pair = std::pair<std::uint64_t, std::uint64_t>;
  CHECK(ends(range_of("bytes=0-", 10)) == pair{0, 10});
  CHECK(ends(range_of("bytes=3-5", 10)) == pair{3, 6});
  CHECK(ends(range_of("bytes=3-500", 10)) == pair{3, 10});
  CHECK(ends(range_of("bytes=-4", 10)) == pair{6, 10});
  CHECK(ends(range_of("bytes=-40", 10)) == pair{0, 10});
  CHECK(ends(range_of("bytes=9-9", 10)) == pair{9, 10});
  CHECK(ends(range_of("bytes=10-", 10)) == pair{0, 0}); // not there
  for (auto* none : {"", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1",
                     "bytes=99999999999999999999-", "bytes=0--1"})
    CHECK_FALSE(range_of(none, 10));
}

TEST_CASE("a part of a tree is a tree", "[files]") {
  using kind = blobs::entry_kind;
  blobs::tree all;
  all.entries = {entry("a", kind::folder),
                 entry("a/b", kind::folder),
                 entry("a/b/file", kind::file),
                 entry("a/b/same", kind::hard_link, "a/b/file"),
                 entry("a/c", kind::folder),
                 entry("a/c/first", kind::hard_link, "a/b/file"),
                 entry("a/c/second", kind::hard_link, "a/b/file"),
                 entry("ab", kind::symlink, "a")};
  auto b = subtree(all, "a/b");
  REQUIRE(b);
  REQUIRE(b->entries.size() == 2);
  CHECK(b->entries[1].path == "same");
  CHECK(b->entries[1].target == "file");
  auto c = subtree(all, "a/c"); // the file itself lies outside: its first name becomes it
  REQUIRE(c);
  REQUIRE(c->entries.size() == 2);
  CHECK(c->entries[0].kind == kind::file);
  CHECK(c->entries[0].path == "first");
  CHECK(c->entries[0].content == blobs::digest_of("a/b/file"));
  CHECK(c->entries[1].target == "first");
  auto file = subtree(all, "a/c/second");
  REQUIRE(file);
  CHECK(file->entries.at(0).kind == kind::file);
  CHECK(file->entries.at(0).path == "second");
  CHECK(subtree(all, "ab")->entries.at(0).kind == kind::symlink);
  CHECK_FALSE(subtree(all, "nothing"));
  CHECK_FALSE(subtree(all, "a/b/file/x"));
  blobs::tree empty;
  empty.entries = {entry("e", kind::folder)};
  CHECK(subtree(empty, "e")->entries.empty());
}
