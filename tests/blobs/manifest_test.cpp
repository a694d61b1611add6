// Manifests of trees: equal trees have equal bytes, and nothing else is taken for one.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "blobs/tree_builder.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace davit::blobs;
using namespace davit::test;

namespace {

std::string random_part(randomness& random) {
  static const std::string parts[] = {"a", "b", "a-b", "a.b", "\xff", "\x01", "ab", "A", "z\n"};
  return parts[below(random, std::size(parts))];
}

tree_entry random_entry(randomness& random, const std::string& parent) {
  tree_entry one;
  one.path = parent.empty() ? random_part(random) : parent + '/' + random_part(random);
  one.mode = static_cast<std::uint16_t>(below(random, 02000));
  one.modified = {static_cast<std::int64_t>(random() >> 20) - (1ll << 40),
                  static_cast<std::uint32_t>(below(random, 1'000'000'000))};
  switch (below(random, 4)) {
    case 0:
      one.kind = entry_kind::folder;
      break;
    case 1:
      one.kind = entry_kind::symlink;
      one.mode = 0777;
      one.target = below(random, 2) == 0 ? "../x" : "/etc";
      break;
    default:
      one.size = below(random, 3) * 5000;
      one.content = one.size == 0 ? empty_digest() : digest_of(std::to_string(random()));
      if (one.size > 0 && below(random, 3) == 0)
        one.holes = {{0, 1}, {100, one.size - 100}};
  }
  return one;
}

/// A tree by the builder: what it gives is valid.
tree random_tree(randomness& random) {
  tree_builder builder{{}};
  std::vector<std::string> folders{""}, files;
  for (auto count = below(random, 25); count-- > 0;) {
    auto entry = random_entry(random, folders[below(random, folders.size())]);
    auto path = entry.path;
    auto kind = entry.kind;
    if (!files.empty() && below(random, 5) == 0) {
      auto named = builder.add_name(path, files[below(random, files.size())]);
      continue;
    }
    if (!builder.add(std::move(entry)))
      continue;
    if (kind == entry_kind::folder)
      folders.push_back(path);
    if (kind == entry_kind::file)
      files.push_back(path);
  }
  return builder.finish().value();
}

std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts{""};
  for (auto c : path)
    if (c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

/// The rules once more, slowly: by looking at all pairs.
bool is_valid(const tree& value) {
  const auto& all = value.entries;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& one = all[i];
    auto parts = parts_of(one.path);
    for (const auto& part : parts)
      if (part.empty() || part == "." || part == ".." || part.size() > 255 || part.find('\0') != std::string::npos)
        return false;
    if (i > 0) { // names compare as unsigned bytes, part by part
      auto as_bytes = [](const std::vector<std::string>& from) {
        std::vector<std::vector<unsigned char>> to;
        for (const auto& part : from)
          to.emplace_back(part.begin(), part.end());
        return to;
      };
      if (!(as_bytes(parts_of(all[i - 1].path)) < as_bytes(parts)))
        return false;
    }
    auto named = [&](const std::string& path, entry_kind kind) {
      return std::any_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(i),
                         [&](const tree_entry& other) { return other.path == path && other.kind == kind; });
    };
    if (parts.size() > 1 && !named(one.path.substr(0, one.path.rfind('/')), entry_kind::folder))
      return false;
    if ((one.mode & ~01777) != 0 || one.modified.nanoseconds >= 1'000'000'000)
      return false;
    bool file = one.kind == entry_kind::file;
    if (file && (one.size == 0) != (one.content == digest_of("")))
      return false;
    if (!file && (one.size != 0 || one.content != digest{} || !one.holes.empty()))
      return false;
    std::vector<int> covered(file ? one.size + 2 : 2);
    for (const auto& each : one.holes) {
      if (each.length == 0 || each.offset > one.size || each.length > one.size || each.offset + each.length > one.size)
        return false;
      for (auto at = each.offset; at <= each.offset + each.length; ++at)
        if (++covered[at] > 1)
          return false;
    }
    if (!std::is_sorted(one.holes.begin(), one.holes.end()))
      return false;
    if (one.kind == entry_kind::folder && !one.target.empty())
      return false;
    if (file && !one.target.empty())
      return false;
    if (one.kind == entry_kind::symlink && (one.target.empty() || one.mode != 0777))
      return false;
    if (one.kind == entry_kind::hard_link
        && (!named(one.target, entry_kind::file) || one.mode != 0 || one.modified != timestamp{}))
      return false;
  }
  return true;
}

void spoil(tree& value, randomness& random) {
  if (value.entries.empty())
    return;
  auto& one = value.entries[below(random, value.entries.size())];
  auto& other = value.entries[below(random, value.entries.size())];
  static const std::string paths[]
    = {"", "/", "/a", "a/", "..", "a/../b", ".", "a//b", std::string(256, 'n'), "a/./b", "b/a"};
  switch (below(random, 14)) {
    case 0:
      std::swap(one, other);
      break;
    case 1:
      one.path = other.path;
      break;
    case 2:
      one.path = paths[below(random, std::size(paths))];
      break;
    case 3:
      one.kind = static_cast<entry_kind>(1 + below(random, 4));
      break;
    case 4:
      one.mode ^= static_cast<std::uint16_t>(1u << below(random, 16));
      break;
    case 5:
      one.modified.nanoseconds = static_cast<std::uint32_t>(random());
      break;
    case 6:
      one.size ^= 5000;
      break;
    case 7:
      one.target = other.path;
      break;
    case 8:
      value.entries.erase(value.entries.begin() + (&one - value.entries.data()));
      break;
    case 9:
      value.entries.insert(value.entries.begin() + (&one - value.entries.data()), tree_entry{other});
      break;
    case 10:
      one.holes.push_back({below(random, 6000), below(random, 6000)});
      break;
    case 11:
      one.content = below(random, 2) == 0 ? empty_digest() : digest{};
      break;
    case 12:
      one.path += '/' + std::string{static_cast<char>(below(random, 256))};
      break;
    default:
      one.path += static_cast<char>(below(random, 256));
      break;
  }
}

} // namespace

TEST_CASE("trees come back from their manifests, and the rules are those of a slow reading of them", "[blobs]") {
  randomness random{7};
  std::size_t bad = 0;
  for (int i = 0; i < 3000; ++i) {
    auto value = random_tree(random);
    REQUIRE(is_valid(value));
    auto bytes = write_manifest(value);
    REQUIRE(read_manifest(bytes).value() == value);
    REQUIRE(tree_digest(value) == digest_of(bytes));
    REQUIRE(decompress_manifest(compress_manifest(bytes)).value() == bytes);
    for (auto times = 1 + below(random, 3); times-- > 0;)
      spoil(value, random);
    auto valid = is_valid(value);
    bad += !valid;
    INFO(describe(value));
    REQUIRE(check_tree(value).has_value() == valid);
    if (valid || std::all_of(value.entries.begin(), value.entries.end(), [](const tree_entry& one) {
          return one.kind == entry_kind::file && one.target.empty(); // what an entry can't say is not in its bytes
        }))
      REQUIRE(read_manifest(write_manifest(value)).has_value() == valid);
  }
  CHECK(bad > 1500);
  CHECK(bad < 3000);
}

TEST_CASE("changed bytes are another tree, or none: two manifests never mean the same", "[blobs]") {
  randomness random{8};
  for (int i = 0; i < 2000; ++i) {
    auto bytes = write_manifest(random_tree(random));
    auto at = below(random, bytes.size());
    switch (below(random, 4)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.insert(at, 1, static_cast<char>(below(random, 256)));
        break;
      default:
        bytes.erase(at, 1 + below(random, 8));
        break;
    }
    if (auto read = read_manifest(bytes)) {
      REQUIRE(write_manifest(*read) == bytes);
      REQUIRE(is_valid(*read));
    }
    auto compressed = compress_manifest(bytes);
    compressed[below(random, compressed.size())] ^= 0x20;
    if (auto read = decompress_manifest(compressed))
      CHECK(read->size() < 10'000);
    CHECK_FALSE(decompress_manifest(compress_manifest(bytes) + 'x'));
    CHECK_FALSE(decompress_manifest(std::string_view{compressed}.substr(0, compressed.size() / 2)));
  }
}

TEST_CASE("a manifest over a limit is refused with a sentence that names the entry, harmlessly", "[blobs]") {
  tree value;
  auto add = [&](const std::string& path, entry_kind kind) -> tree_entry& {
    auto& one = value.entries.emplace_back();
    one.path = path;
    one.kind = kind;
    one.mode = kind == entry_kind::symlink ? 0777 : 0755;
    return one;
  };
  add("a", entry_kind::folder);
  add("a/\x1b[31m", entry_kind::folder);
  auto& file = add("b", entry_kind::file);
  file.size = 1000;
  file.content = digest_of("x");
  file.holes = {{0, 10}, {20, 10}};
  add("c", entry_kind::symlink).target = "a/../../x";
  REQUIRE(check_tree(value));
  auto bytes = write_manifest(value);
  auto refusal = [&](auto change) {
    tree_limits limits;
    change(limits);
    auto read = read_manifest(bytes, limits);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::refused);
    return read.error().message;
  };
  CHECK(refusal([](auto& l) { l.entries = 3; }).find("more than 3") != std::string::npos);
  CHECK(refusal([](auto& l) { l.bytes = 999; }).find("\"b\" takes the tree over 999") != std::string::npos);
  CHECK(refusal([](auto& l) { l.file_bytes = 999; }).find("more than 999") != std::string::npos);
  CHECK(refusal([](auto& l) { l.holes = 1; }).find("holes") != std::string::npos);
  CHECK(refusal([](auto& l) { l.depth = 1; }).find("\"a/\\x1b[31m\" is more than 1 levels") != std::string::npos);
  CHECK(refusal([](auto& l) { l.path_bytes = 6; }).find("path of more than 6") != std::string::npos);
  CHECK(refusal([](auto& l) { l.name_bytes = 4; }).find("name of more than 4") != std::string::npos);
  CHECK(refusal([](auto& l) { l.target_bytes = 4; }).find("too long") != std::string::npos);
  CHECK(refusal([](auto& l) { l.links_out = false; }).find("leads out of the tree") != std::string::npos);
  CHECK(refusal([](auto& l) { l.manifest_bytes = 50; }).find("50 bytes") != std::string::npos);
  tree_limits small;
  small.manifest_bytes = 100;
  CHECK(decompress_manifest(compress_manifest(std::string(101, 'x')), small).error().code == errc::refused);
  value.entries[0].mode = 04755;
  CHECK_FALSE(check_tree(value));
  tree_limits loose;
  loose.set_id = true;
  CHECK(check_tree(value, loose));
}

TEST_CASE("a link leads inside only if it does so whatever is there", "[blobs]") {
  CHECK(leads_inside("a/b", "c"));
  CHECK(leads_inside("a/b", "../c"));
  CHECK(leads_inside("a/b", "./.././c"));
  CHECK_FALSE(leads_inside("a/b", "../../c"));
  CHECK_FALSE(leads_inside("a", "../c"));
  CHECK_FALSE(leads_inside("a/b", "c/../d"));
  CHECK_FALSE(leads_inside("a/b", "/c"));
  CHECK_FALSE(leads_inside("a/b", ""));
}

TEST_CASE("the first name of a file is the file, whatever the order of names", "[blobs]") {
  tree_builder builder{{}};
  tree_entry file;
  file.path = "z/file";
  file.mode = 0640;
  file.size = 1;
  file.content = digest_of("x");
  tree_entry link;
  link.path = "link";
  link.kind = entry_kind::symlink;
  link.mode = 0777;
  link.target = "nowhere";
  REQUIRE(builder.add(file));
  REQUIRE(builder.add(link));
  REQUIRE(builder.add_name("m", "z/file"));
  REQUIRE(builder.add_name("a/b", "m"));
  REQUIRE(builder.add_name("other", "link"));
  CHECK_FALSE(builder.add_name("x", "nowhere"));
  CHECK_FALSE(builder.add_name("m", "z/file"));
  auto built = builder.finish().value();
  CHECK(describe(built)
        == "drwxr-xr-x 0 a\n-rw-r----- 1 a/b\nlrwxrwxrwx 0 link -> nowhere\nh--------- 0 m -> a/b\nlrwxrwxrwx 0 other "
           "-> nowhere\n"
           "drwxr-xr-x 0 z\nh--------- 0 z/file -> a/b\n");
}
