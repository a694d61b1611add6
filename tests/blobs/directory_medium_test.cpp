// Objects in a folder: whole or not there, whatever happens to the process or the disk.
#include "blobs/blob_fixture.hpp"
#include "blobs/directory_medium.hpp"

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

std::string content_of(medium& from, const std::string& key) {
  auto reader = from.open(key).value();
  std::string bytes(reader->size(), '\0');
  if (reader->read(0, bytes).value() != bytes.size())
    throw std::runtime_error("short");
  return bytes;
}

void put(medium& into, const std::string& key, std::string_view bytes) {
  auto writer = into.create(key).value();
  writer->write(bytes).value();
  writer->commit().value();
}

std::map<std::string, std::uint64_t> all_in(medium& from, std::size_t page_size) {
  std::map<std::string, std::uint64_t> all;
  std::string at;
  do {
    auto page = from.list(at, page_size).value();
    CHECK(page.objects.size() <= page_size);
    for (const auto& one : page.objects)
      CHECK(all.emplace(one.key, one.size).second);
    at = page.next;
  } while (!at.empty());
  return all;
}

std::size_t files_below(const std::string& folder) {
  std::size_t count = 0;
  for (const auto& one : fs::recursive_directory_iterator{folder})
    count += one.is_regular_file() && one.path().filename() != "lock";
  return count;
}

} // namespace

TEST_CASE("an object is there when it is committed, as a whole, and only then", "[blobs]") {
  scratch home;
  ::umask(0);
  auto medium = directory_medium::open_folder(home / "objects").value();
  randomness random{2};
  auto key = random_key(random), other = random_key(random);
  auto writer = medium->create(key).value();
  CHECK(writer->write("first ").has_value());
  CHECK(medium->open(key).error().code == errc::missing);
  CHECK(medium->list({}, 10).value().objects.empty());
  CHECK(writer->write("second").has_value());
  CHECK(writer->commit().has_value());
  CHECK(writer->write("more").error().code == errc::invalid);
  CHECK(writer->commit().error().code == errc::invalid);
  CHECK(content_of(*medium, key) == "first second");

  auto reader = medium->open(key).value();
  char part[4];
  CHECK(reader->read(6, part).value() == 4);
  CHECK(std::string_view{part, 4} == "seco");
  CHECK(reader->read(10, part).value() == 2);
  CHECK(reader->read(12, part).value() == 0);
  CHECK(reader->read(~0ull, part).value() == 0);

  medium->create(other).value()->write("abandoned").value();
  CHECK(medium->open(other).error().code == errc::missing);
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
  CHECK(medium->remove(key).has_value());
  CHECK(medium->remove(key).has_value());
  CHECK(reader->read(0, part).value() == 4); // whoever reads it goes on
  for (auto bad : {"", "x", "../../../../../../../../etc/passwd", "01930000-0000-7000-8000-00000000000G",
                   "01930000-0000-7000-8000-0000000000/.", "01930000-0000-7000-8000-00000000000A"}) {
    CHECK(medium->create(bad).error().code == errc::invalid);
    CHECK(medium->open(bad).error().code == errc::invalid);
    CHECK(medium->remove(bad).error().code == errc::invalid);
  }
}

TEST_CASE("pages of a list have each object once, whatever their size", "[blobs]") {
  scratch home;
  auto medium = directory_medium::open_folder(home / "objects").value();
  randomness random{3};
  std::map<std::string, std::uint64_t> expected;
  for (std::size_t i = 0; i < 150; ++i) {
    auto key = random_key(random);
    put(*medium, key, std::string(i, 'x'));
    expected[key] = i;
  }
  for (std::size_t size : {1, 2, 7, 149, 150, 151, 1000})
    CHECK(all_in(*medium, size) == expected);
  CHECK(medium->list("x", 1).error().code == errc::invalid);
  auto before = medium->list({}, 20).value();
  for (const auto& one : before.objects) // also the one where the next page begins
    medium->remove(one.key).value();
  auto rest = medium->list(before.next, 1000).value();
  CHECK(rest.objects.size() == 130);
}

TEST_CASE("a folder of objects has one process; threads share it; no descriptor is left open", "[blobs]") {
  scratch home;
  auto before = open_descriptors();
  {
    auto medium = directory_medium::open_folder(home / "objects").value();
    CHECK(directory_medium::open_folder(home / "objects").error().message.find("another process") != std::string::npos);
    std::vector<std::thread> threads;
    std::atomic<int> wrong = 0;
    for (std::uint64_t seed = 0; seed < 4; ++seed)
      threads.emplace_back([&, seed] {
        randomness random{seed + 100};
        for (int i = 0; i < 30; ++i) {
          auto key = random_key(random);
          auto bytes = random_bytes(random, below(random, 5000));
          put(*medium, key, bytes);
          wrong += content_of(*medium, key) != bytes;
          if (i % 2 != 0)
            medium->remove(key).value();
          if (i % 5 == 0)
            medium->create(random_key(random)).value()->write("abandoned").value();
        }
      });
    for (auto& one : threads)
      one.join();
    CHECK(wrong == 0);
    CHECK(all_in(*medium, 7).size() == 60);
    CHECK(files_below(home.path()) == 60);
  }
  CHECK(open_descriptors() == before);
  CHECK(directory_medium::open_folder(home / "objects").has_value());
  CHECK(directory_medium::open_folder(home / "no/such/parent").error().code == errc::missing);
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
