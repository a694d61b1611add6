// Files that are the agent's alone, whatever the umask is; and what is open to others is found and closed.
#include "fixture/test_agent.hpp"
#include "store/private_files.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <random>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace davit::store;

namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat info {};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

class umask_of {
public:
  explicit umask_of(mode_t mask) : before_(::umask(mask)) {}
  ~umask_of() { ::umask(before_); }

private:
  mode_t before_;
};

} // namespace

TEST_CASE("what is made is private whatever the umask is", "[private]") {
  for (mode_t mask : {0u, 022u, 077u}) {
    umask_of set{mask};
    scratch_folder scratch;
    auto folder = scratch.path() / "a/b";
    REQUIRE(!make_private_folder(folder));
    REQUIRE(!make_private_folder(folder));
    make_private_file(folder / "empty");
    REQUIRE(!replace_private_file(folder / "c/text", "one"));
    REQUIRE(!replace_private_file(folder / "c/text", "two"));
    for (auto name : {"a", "a/b", "a/b/c"})
      CHECK(mode_of(scratch.path() / name) == 0700);
    for (auto name : {"a/b/empty", "a/b/c/text"})
      CHECK(mode_of(scratch.path() / name) == 0600);
    std::string text;
    std::ifstream{folder / "c/text"} >> text;
    CHECK(text == "two");
    std::ofstream{scratch.path() / "file"} << "x";
    CHECK(make_private_folder(scratch.path() / "file/b"));
    CHECK(make_private_folder(scratch.path() / "file"));
  }
}

TEST_CASE("names lead into a folder or not", "[private]") {
  CHECK(lies_in("/a/b/c", "/a/b"));
  CHECK(lies_in("/a/b/c", "/a/b/"));
  CHECK(lies_in("/a/./b/../b/c", "/a/b"));
  CHECK_FALSE(lies_in("/a/bc", "/a/b"));
  CHECK_FALSE(lies_in("/a/b/../c", "/a/b"));
  CHECK_FALSE(lies_in("/a", "/a/b"));
}

TEST_CASE("in random folders, all that others can reach is found and closed, and nothing else is changed",
          "[private]") {
  std::minstd_rand random{3};
  const mode_t modes[] = {0600, 0700, 0640, 0644, 0755, 0750, 0777, 01777, 02770, 0400, 0601};
  for (int round = 0; round < 60; ++round) {
    scratch_folder scratch;
    auto outside = scratch.path() / "outside", top = scratch.path() / "data";
    std::ofstream{outside} << "x";
    ::chmod(outside.c_str(), 0644);
    std::filesystem::create_directory(top);
    std::vector<std::filesystem::path> folders{top}, all{top};
    std::set<std::filesystem::path> links;
    for (int i = 0; i < 25; ++i) {
      auto path = folders[random() % folders.size()] / std::to_string(i);
      if (auto kind = random() % 5; kind == 0) {
        std::filesystem::create_directory(path);
        folders.push_back(path);
      } else if (kind == 1) {
        std::filesystem::create_symlink(outside, path);
        links.insert(path);
        continue;
      } else {
        std::ofstream{path} << "x";
      }
      all.push_back(path);
    }
    std::map<std::filesystem::path, mode_t> before;
    for (const auto& path : all) {
      before[path] = modes[random() % std::size(modes)];
      ::chmod(path.c_str(), before[path]);
    }
    // Others reach what is open, if they can enter each folder above it but the first, which is closed in any case.
    auto reached = [&](const std::filesystem::path& path) {
      for (auto above = path.parent_path(); path != top && above != top; above = above.parent_path())
        if ((before[above] & 077) == 0)
          return false;
      return (before[path] & 077) != 0;
    };
    std::set<std::filesystem::path> expected, found;
    for (const auto& path : all)
      if (reached(path))
        expected.insert(path);
    auto open = find_open_paths(top, ::geteuid());
    for (const auto& one : open.open) {
      found.insert(one.path);
      CHECK(one.mode == before[one.path]);
    }
    CHECK(found == expected);
    CHECK(open.foreign.empty());
    std::vector<std::string> remarks;
    CHECK(close_to_others(top, remarks).empty());
    CHECK(remarks.empty());
    CHECK(find_open_paths(top, ::geteuid()).open.empty());
    for (const auto& path : all)
      CHECK(mode_of(path) == (expected.contains(path) ? before[path] & ~077u : before[path]));
    CHECK(mode_of(outside) == 0644);
  }
}

TEST_CASE("a file of another user's in the data directory is refused, with what to do", "[private]") {
  if (::geteuid() != 0)
    SKIP("only root can give files away");
  scratch_folder scratch;
  auto file = scratch.path() / "davit.db";
  std::ofstream{file} << "x";
  ::chmod(file.c_str(), 0600);
  REQUIRE(::chown(file.c_str(), 4242, 4242) == 0);
  std::vector<std::string> remarks;
  auto wrong = close_to_others(scratch.path(), remarks);
  CHECK(wrong.find(file.string() + " belongs to uid 4242, but the agent runs as root (uid 0)") == 0);
  CHECK(wrong.find("chown -R") != std::string::npos);
  CHECK(find_open_paths(scratch.path(), 4242).foreign.empty()); // the folder is root's
}

TEST_CASE("a live agent's data directory is closed to others, whatever the umask is and was", "[private]") {
  umask_of everything{0};
  test_agent agent{{}};
  CHECK(agent.http("POST", "/v1/tasks", {}, R"({"image":"a","name":"n"})").status == 202);
  auto open = find_open_paths(agent.data(), ::geteuid());
  for (const auto& one : open.open)
    FAIL_CHECK(one.path << " has mode " << mode_text(one.mode));
  std::size_t files = 0;
  auto check = [&] {
    for (const auto& one : std::filesystem::recursive_directory_iterator{agent.data()})
      if (one.is_regular_file() || one.is_directory()) {
        INFO(one.path());
        CHECK((mode_of(one.path()) & 077) == 0);
        ++files;
      }
    CHECK((mode_of(agent.data()) & 077) == 0);
  };
  check();
  CHECK(files >= 6); // the database and its companions, the lock, the id, the key, the audit log
  ::chmod(agent.data().c_str(), 0755);
  ::chmod((agent.data() + "/logs").c_str(), 0777);
  ::chmod((agent.data() + "/davit.db").c_str(), 0644);
  agent.restart();
  check();
}
