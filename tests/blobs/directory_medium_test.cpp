// Objects in a folder: whole or not there, whatever happens to the process or the disk.
#include "blobs/blob_fixture.hpp"
#include "blobs/directory_medium.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <filesystem>
#include <map>
#include <poll.h>
#include <sched.h>
#include <set>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace davit::blobs;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

std::size_t files_below(const std::string& folder) {
  std::size_t count = 0;
  for (const auto& one : fs::recursive_directory_iterator{folder})
    count += one.is_regular_file() && one.path().filename() != "lock";
  return count;
}

} // namespace

TEST_CASE("a folder keeps what a medium promises", "[blobs]") {
  scratch home;
  auto medium = directory_medium::open_folder(home / "objects").value();
  SECTION("an object is there when it is committed, as a whole, and only then") {
    check_whole_or_absent(*medium);
  }
  SECTION("pages of a list have each object once, whatever their size") {
    check_pages(*medium, 150);
  }
  SECTION("random calls do what they should") {
    check_random_calls(*medium, Catch::getSeed(), 4000, 100'000);
  }
}

TEST_CASE("a key in a folder is never written twice, modes do not depend on the umask, and nothing is left",
          "[blobs]") {
  scratch home;
  ::umask(0);
  auto medium = directory_medium::open_folder(home / "objects").value();
  randomness random{2};
  auto key = random_key(random);
  put(*medium, key, "first second");
  medium->create(random_key(random)).value()->write("abandoned").value();
  CHECK(files_below(home.path()) == 1);
  auto again = medium->create(key).value(); // a key that is there stays as it is
  again->write("other").value();
  CHECK(again->commit().error().code == errc::exists);
  CHECK(content_of(*medium, key) == "first second");
  for (const auto& one : fs::recursive_directory_iterator{home.path()}) {
    struct stat status {};
    REQUIRE(::stat(one.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == (one.is_directory() ? 0700 : 0600));
  }
  ::umask(022);
  auto reader = medium->open(key).value();
  medium->remove(key).value();
  char part[4];
  CHECK(reader->read(0, part).value() == 4); // whoever reads it goes on
}

TEST_CASE("an object in whose place is another thing is damaged, and can be removed from the list of what there is",
          "[blobs]") {
  scratch home;
  auto medium = directory_medium::open_folder(home / "objects").value();
  randomness random{3};
  for (std::string thing : {"folder", "link", "link to itself", "pipe", "socket"}) {
    INFO(thing);
    auto key = random_key(random);
    put(*medium, key, "content");
    auto path = home / ("objects/" + key.substr(34, 1) + '/' + key.substr(35, 1) + '/' + key);
    REQUIRE(fs::remove(path));
    if (thing == "folder")
      fs::create_directory(path);
    else if (thing == "pipe")
      REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    else if (thing == "socket")
      REQUIRE(::mknod(path.c_str(), S_IFSOCK | 0600, 0) == 0);
    else
      fs::create_symlink(thing == "link" ? "/etc/passwd" : path, path);
    auto opened = medium->open(key);
    REQUIRE(!opened);
    CHECK(opened.error().code == errc::damaged);
    CHECK(opened.error().message.find(home.path()) == std::string::npos);
    CHECK(medium->remove(key).has_value());
    CHECK(fs::exists("/etc/passwd"));
  }
}

TEST_CASE("a folder of objects has one process; threads share it; no descriptor is left open", "[blobs]") {
  scratch home;
  auto before = open_descriptors();
  {
    auto medium = directory_medium::open_folder(home / "objects").value();
    CHECK(directory_medium::open_folder(home / "objects").error().message.find("another process") != std::string::npos);
    CHECK(files_below(home.path()) == check_threads(*medium, 30));
  }
  CHECK(open_descriptors() == before);
  CHECK(directory_medium::open_folder(home / "objects").has_value());
  CHECK(directory_medium::open_folder(home / "no/such/parent").error().code == errc::missing);
  {
    using enum directory_medium::sharing;
    randomness random{9};
    write_all(home / "objects/incoming/left", "x");
    auto first = directory_medium::open_folder(home / "objects", shared);
    REQUIRE(first);
    CHECK_FALSE(fs::exists(home / "objects/incoming/left"));
    auto writing = (*first)->create(random_key(random));
    REQUIRE(writing);
    auto second = directory_medium::open_folder(home / "objects", shared);
    REQUIRE(second);
    CHECK_FALSE(directory_medium::open_folder(home / "objects"));
    CHECK((*writing)->commit()); // the second has left it alone
  }
  CHECK(directory_medium::open_folder(home / "objects").has_value());
}

TEST_CASE("a process that is killed while it writes and removes leaves each object whole or not there",
          "[blobs][crash]") {
  scratch home;
  randomness random{4};
  std::map<std::string, std::uint64_t> expected; // key: seed of its bytes
  auto bytes_of_seed = [](std::uint64_t seed) {
    randomness own{seed};
    return random_bytes(own, below(own, 300'000));
  };
  for (int round = 0; round < 25; ++round) {
    int pipe[2];
    REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    auto seed = random();
    auto pid = ::fork();
    if (pid == 0) {
      randomness own{seed};
      auto medium = directory_medium::open_folder(home / "objects").value();
      auto say = [&](char what, const std::string& key, std::uint64_t number) {
        auto line = std::string{what} + key + ' ' + std::to_string(number) + '\n';
        if (::write(pipe[1], line.data(), line.size()) < 0)
          ::_exit(9);
      };
      std::vector<std::string> mine;
      while (true) {
        auto key = random_key(own);
        auto number = own();
        auto bytes = bytes_of_seed(number);
        say('b', key, number);
        auto writer = medium->create(key).value();
        for (std::string_view rest = bytes; !rest.empty();) {
          auto piece = rest.substr(0, 1 + below(own, 60'000));
          writer->write(piece).value();
          rest.remove_prefix(piece.size());
        }
        writer->commit().value();
        say('c', key, number);
        mine.push_back(key);
        if (below(own, 2) == 0) {
          auto& gone = mine[below(own, mine.size())];
          say('r', gone, 0);
          medium->remove(gone).value();
          say('g', gone, 0);
        }
      }
    }
    ::close(pipe[1]);
    ::usleep(static_cast<useconds_t>(1000 + below(random, 60'000)));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    std::string said;
    char piece[4096];
    for (ssize_t count = 0; (count = ::read(pipe[0], piece, sizeof piece)) > 0;)
      said.append(piece, static_cast<std::size_t>(count));
    ::close(pipe[0]);
    std::map<std::string, std::uint64_t> open; // may be there or not
    for (std::size_t at = 0; at < said.size();) {
      auto end = said.find('\n', at);
      auto line = said.substr(at, end - at);
      auto key = line.substr(1, 36);
      if (line[0] == 'b')
        open[key] = std::stoull(line.substr(38));
      else if (line[0] == 'c')
        expected.insert(open.extract(key));
      else if (line[0] == 'r')
        open.insert(expected.extract(key));
      else
        open.erase(key);
      at = end + 1;
    }
    auto medium = directory_medium::open_folder(home / "objects").value();
    auto there = all_in(*medium, 10);
    for (const auto& [key, number] : expected)
      CHECK(there.contains(key));
    for (const auto& [key, size] : there) {
      REQUIRE((expected.contains(key) || open.contains(key)));
      CHECK(content_of(*medium, key) == bytes_of_seed(expected.contains(key) ? expected[key] : open[key]));
      if (open.contains(key))
        expected.insert(open.extract(key));
    }
    CHECK(files_below(home.path()) == there.size()); // no leftovers
  }
}

TEST_CASE("a full disk and a file that is too large are clear errors, and leave nothing", "[blobs]") {
  scratch home;
  auto fill = [&](std::size_t most) {
    auto medium = directory_medium::open_folder(home / "disk/objects").value();
    randomness random{5};
    put(*medium, random_key(random), "small");
    auto writer = medium->create(random_key(random)).value();
    std::string piece(64 << 10, 'x');
    for (std::size_t sum = 0; sum < most; sum += piece.size())
      if (auto written = writer->write(piece); !written) {
        if (written.error().code != errc::full || writer->commit().has_value())
          return 2;
        if (written.error().message.find(home / "disk") != std::string::npos) // owners of files read it
          return 6;
        writer.reset();
        put(*medium, random_key(random), "there is room again");
        return all_in(*medium, 10).size() == 2 && files_below(home / "disk") == 2 ? 0 : 3;
      }
    return 4;
  };
  fs::create_directories(home / "disk");
  SECTION("a small disk") {
    auto code = in_child([&] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0
          || ::mount("tmpfs", (home / "disk").c_str(), "tmpfs", 0, "size=1m") != 0)
        return 77;
      return fill(8 << 20);
    });
    if (code == 77)
      SKIP("no mount namespace can be made here");
    CHECK(code == 0);
  }
  SECTION("a limit for files") {
    CHECK(in_child([&] {
            ::signal(SIGXFSZ, SIG_IGN);
            struct rlimit limit {
              1 << 20, 1 << 20
            };
            return ::setrlimit(RLIMIT_FSIZE, &limit) == 0 ? fill(8 << 20) : 5;
          })
          == 0);
  }
}
