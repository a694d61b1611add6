// `.dockerignore`: moby's own table, its rules for files of patterns, and what they do to a folder.
#include "blobs/blob_fixture.hpp"
#include "blobs/ignore.hpp"
#include "blobs/ignore_cases.hpp"
#include "blobs/scan.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>

using namespace davit::blobs;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

ignore_patterns patterns_of(std::string_view file) {
  return ignore_patterns::compile(read_ignore_file(file).value()).value();
}

/// What is left of a folder with these files, and the folders they need.
std::vector<std::string> left_of(std::string_view ignore_file, const std::vector<std::string>& files) {
  scratch folder;
  for (const auto& one : files) {
    fs::create_directories(fs::path{folder / one}.parent_path());
    if (one.back() == '/')
      fs::create_directories(folder / one);
    else
      write_all(folder / one, one);
  }
  auto patterns = patterns_of(ignore_file);
  scan_options options;
  options.ignored = &patterns;
  std::vector<std::string> left;
  for (const auto& one : scan_folder(folder.path(), options).value().entries.entries)
    left.push_back(one.path);
  return left;
}

} // namespace

TEST_CASE("patterns match what moby's own tests say", "[blobs][ignore]") {
  for (const auto& one : ignore_cases) {
    INFO(one.patterns.front() << " and " << one.path);
    auto compiled = ignore_patterns::compile(one.patterns);
    CHECK(compiled.has_value() != one.malformed);
    if (!compiled)
      continue;
    CHECK(compiled->match(one.path).ignored == one.ignored);
    // Asked on the way down, as a walk does.
    ignore_patterns::verdict verdict;
    for (auto slash = one.path.find('/'); slash != std::string::npos; slash = one.path.find('/', slash + 1))
      verdict = compiled->match(one.path.substr(0, slash), verdict.of_patterns);
    CHECK(compiled->match(one.path, verdict.of_patterns).ignored == one.ignored);
  }
}

TEST_CASE("a file of patterns is read as moby reads it", "[blobs][ignore]") {
  CHECK(read_ignore_file("test1\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n! /inverted/abs/path\n!\n! ")
          .value()
        == std::vector<std::string>{"test1", "test2", "a/file/here", "lastfile", "!inverted/abs/path", "!", "!"});
  CHECK(read_ignore_file("\xef\xbb\xbf# comment\r\n  a/./b/../c/ \r\n #not one\n/\n!\t/x//y/\n..//z\n").value()
        == std::vector<std::string>{"a/c", "#not one", "/", "!x/y", "../z"});
  CHECK(read_ignore_file("").value().empty());
  CHECK(read_ignore_file(std::string(70'000, 'x')).error().code == errc::refused);
  CHECK(ignore_patterns::compile({"a[", "b"}).error().message == "\"a[\" is not a valid pattern of files");
  for (auto [path, clean] : std::initializer_list<std::pair<const char*, const char*>>{{"", "."},
                                                                                       {"abc", "abc"},
                                                                                       {"abc/def", "abc/def"},
                                                                                       {"/", "/"},
                                                                                       {"abc/", "abc"},
                                                                                       {"abc//def//ghi", "abc/def/ghi"},
                                                                                       {"/../abc", "/abc"},
                                                                                       {"abc/../../ghi", "../ghi"},
                                                                                       {"abc/./../def", "def"},
                                                                                       {"abc/..", "."},
                                                                                       {"../../abc", "../../abc"}})
    CHECK(clean_path(path) == clean);
}

TEST_CASE("an ignored folder stays away, but for the way to exceptions in it", "[blobs][ignore]") {
  const std::vector<std::string> files{"src/main.go",
                                       "src/main_test.go",
                                       "node_modules/a/index.js",
                                       "node_modules/keep/x",
                                       "docs/README.md",
                                       "docs/deep/er/README.md",
                                       "docs/empty/",
                                       "build/out.o",
                                       ".git/HEAD",
                                       "a.log"};
  using names = std::vector<std::string>;
  CHECK(left_of("**/node_modules\n.git\n*.log\nbuild/\n", files)
        == names{"docs", "docs/README.md", "docs/deep", "docs/deep/er", "docs/deep/er/README.md", "docs/empty", "src",
                 "src/main.go", "src/main_test.go"});
  CHECK(left_of("*\n!src\nsrc/*_test.go", files) == names{"src", "src/main.go"});
  CHECK(left_of("*\n!node_modules/keep/x", files) == names{"node_modules", "node_modules/keep", "node_modules/keep/x"});
  CHECK(left_of("**\n!**/README.md", files)
        == names{"docs", "docs/README.md", "docs/deep", "docs/deep/er", "docs/deep/er/README.md"});
  CHECK(left_of("docs\n!docs/deep\ndocs/deep/er", {"docs/a", "docs/deep/b", "docs/deep/er/c"})
        == names{"docs", "docs/deep", "docs/deep/b"});
  CHECK(left_of("*\n!docs/empty", files) == names{"docs", "docs/empty"});
  CHECK(left_of("**", files).empty());
  CHECK(left_of("caf\xc3\xa9*\na?c\n", {"caf\xc3\xa9s",
                                        "a\xff"
                                        "c",
                                        "a\xc3\xa9"
                                        "c",
                                        "abbc"})
        == names{"abbc"});
}
