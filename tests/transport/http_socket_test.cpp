// The unix socket of the HTTP server: who may open it, and what making it does to others.
#include "fixture/test_engine.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <fcntl.h>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

using namespace davit;
using namespace davit::transport;
using namespace davit::test;

namespace {

mode_t mode_of(const std::string& path) {
  struct stat there {};
  REQUIRE(::lstat(path.c_str(), &there) == 0);
  return there.st_mode & 07777;
}

struct listening {
  io_runtime io{1};
  std::shared_ptr<http_server> server;
  ~listening() {
    end();
    io.stop();
  }
  std::string listen(const std::string& path) {
    auto made = http_server::listen(io, endpoint{path, {}, 0, {}}, {}, [](exchange_ptr one) { one->respond({}); });
    if (!made)
      return made.error().message;
    server = *made;
    return {};
  }
  void end() {
    if (server)
      server->stop();
    server.reset();
  }
};

} // namespace

TEST_CASE("a unix socket is for its user and group whatever the umask is", "[http]") {
  scratch_folder folder;
  for (mode_t mask : {0u, 022u, 077u, 0777u}) {
    listening one;
    auto before = ::umask(mask);
    auto why = one.listen(folder / ("socket-" + std::to_string(mask)));
    ::umask(before);
    CHECK(why.empty());
    CHECK(mode_of(folder / ("socket-" + std::to_string(mask))) == 0660);
  }
}

TEST_CASE("a server that begins to listen changes the mode of no file that another thread makes meanwhile", "[http]") {
  scratch_folder folder;
  std::atomic<bool> over = false;
  std::atomic<int> made = 0;
  std::atomic<mode_t> all = 0666, any = 0;
  auto before = ::umask(0);
  std::thread other{[&] {
    for (int i = 0; !over; ++i) {
      auto path = folder / std::to_string(i);
      auto fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
      struct stat there {};
      if (fd >= 0 && ::fstat(fd, &there) == 0) {
        all = all & there.st_mode;
        any = any | there.st_mode;
        ++made;
      }
      ::close(fd);
      ::unlink(path.c_str());
    }
  }};
  for (int i = 0; i < 1500; ++i) {
    listening one;
    CHECK(one.listen(folder / ("socket-" + std::to_string(i))).empty());
  }
  over = true;
  other.join();
  ::umask(before);
  CHECK(made > 0);
  CHECK((all & 0777) == 0666);
  CHECK((any & 0777) == 0666);
}

TEST_CASE("a path is taken from the dead, not from the living, and not from a file", "[http]") {
  scratch_folder folder;
  auto path = folder / "socket";
  listening first, second;
  REQUIRE(first.listen(path).empty());
  CHECK(second.listen(path).find("another process listens there") != std::string::npos);
  // As a process that was killed leaves it: bound, and nobody there.
  auto left = folder / "left";
  auto fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  left.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  CHECK(second.listen(left).empty());
  std::ofstream{folder / "file"} << "x";
  listening third;
  CHECK(third.listen(folder / "file").find("is not a socket") != std::string::npos);
  CHECK(third.listen(folder / std::string(120, 'x')).find("107 bytes") != std::string::npos);
  CHECK(third.listen(folder / "none/socket").find("cannot listen on") != std::string::npos);
}

TEST_CASE("the next server takes the path over while the last one still ends", "[http]") {
  scratch_folder folder;
  auto path = folder / "socket";
  for (int i = 0; i < 300; ++i) {
    listening one, next;
    REQUIRE(one.listen(path).empty());
    one.end();
    std::string why;
    do
      why = next.listen(path);
    while (why.find("another process listens there") != std::string::npos);
    REQUIRE(why.empty());
    one.io.stop();
    REQUIRE(mode_of(path) == 0660);
  }
}
