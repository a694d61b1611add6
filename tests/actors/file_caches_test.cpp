#include "actors/file_caches.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>

using namespace davit;

namespace {

blobs::tree tree_of(const std::map<std::string, std::string>& files) {
  blobs::tree all;
  std::set<std::string> folders;
  for (const auto& [path, text] : files)
    for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      folders.insert(path.substr(0, slash));
  for (const auto& one : folders) {
    all.entries.emplace_back();
    all.entries.back().path = one;
    all.entries.back().kind = blobs::entry_kind::folder;
  }
  for (const auto& [path, text] : files) {
    all.entries.emplace_back();
    all.entries.back().path = path;
    all.entries.back().content = blobs::digest_of(text);
    all.entries.back().size = text.size();
  }
  std::sort(all.entries.begin(), all.entries.end(),
            [](const auto& a, const auto& b) { return blobs::path_less(a.path, b.path); });
  return all;
}

} // namespace

TEST_CASE("a hash changes with the files that it names, and with nothing else", "[caches]") {
  std::minstd_rand random{std::random_device{}()};
  auto pick = [&](std::size_t below) { return std::uniform_int_distribution<std::size_t>{0, below - 1}(random); };
  const std::vector<std::string> names{"a.lock", "b.lock", "c", "d/a.lock", "d/e/b.lock", "d/c", "de/c"};
  const std::vector<std::string> texts{"", "1", "2"};
  // What is named, and how to say whether a path (below /src) is one of them.
  struct named {
    std::string pattern;
    std::function<bool(const std::string&)> fits;
  };
  const std::vector<named> patterns{
    {"c", [](const auto& path) { return path == "c"; }},
    {"/src/d", [](const auto& path) { return path.starts_with("d/"); }},
    {"d/", [](const auto& path) { return path.starts_with("d/"); }},
    {"*.lock", [](const auto& path) { return path.ends_with(".lock") && path.find('/') == std::string::npos; }},
    {"**/*.lock", [](const auto& path) { return path.ends_with(".lock"); }},
    {"d/../c", [](const auto& path) { return path == "c"; }},
    {"d?/c", [](const auto& path) { return path == "de/c"; }},
  };
  for (const auto& one : patterns) {
    CAPTURE(one.pattern);
    std::map<std::map<std::string, std::string>, std::string> known; // by the files that are named
    std::set<std::string> keys;
    for (int round = 0; round < 300; ++round) {
      std::map<std::string, std::string> files, hashed;
      for (const auto& name : names)
        if (pick(2) == 0)
          files[name] = texts[pick(texts.size())];
      std::copy_if(files.begin(), files.end(), std::inserter(hashed, hashed.end()),
                   [&](const auto& file) { return one.fits(file.first); });
      // Now and then as two inputs, one in the other.
      std::vector<task_input> inputs{{"sha256:", "/src"}};
      std::vector<blobs::tree> trees{tree_of(files)};
      if (pick(3) == 0) {
        std::map<std::string, std::string> inner, outer;
        for (const auto& [path, text] : files)
          if (path.starts_with("d/"))
            inner[path.substr(2)] = text;
          else
            outer[path] = text;
        inputs.push_back({"sha256:", "/src/d/"});
        trees = {tree_of(outer), tree_of(inner)};
      }
      auto key = expand_cache_key("k-{hash:" + one.pattern + "}-x", "/src", inputs, trees);
      CAPTURE(files.size(), hashed.size());
      REQUIRE(static_cast<bool>(key) == !hashed.empty());
      if (!key) {
        CHECK(key.error().code == blobs::errc::refused);
        continue;
      }
      CHECK(key->size() == 2 + 64 + 2);
      auto [there, is_new] = known.emplace(hashed, *key);
      CHECK(there->second == *key);
      CHECK(keys.insert(*key).second == is_new);
    }
  }
}

TEST_CASE("what a link leads to is hashed, and other names of a file as the file", "[caches]") {
  auto tree = tree_of({{"f", "text"}});
  auto key = [&] { return expand_cache_key("{hash:*}", "/src", {{"sha256:", "/src"}}, {tree}).value(); };
  auto plain = key();
  tree.entries.push_back({});
  tree.entries.back().path = "g";
  tree.entries.back().kind = blobs::entry_kind::hard_link;
  tree.entries.back().target = "f";
  auto linked = key();
  auto both = tree_of({{"f", "text"}, {"g", "text"}});
  CHECK(linked == expand_cache_key("{hash:*}", "/src", {{"sha256:", "/src"}}, {both}).value());
  tree.entries.back().kind = blobs::entry_kind::symlink;
  auto symbolic = key();
  tree.entries.back().target = "h";
  CHECK(std::set{plain, linked, symbolic, key()}.size() == 4);
  CHECK(expand_cache_key("{hash:f}", "", {{"", "/a"}, {"", "/b"}}, {tree, tree}).error().code == blobs::errc::refused);
}
