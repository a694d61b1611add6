#include "messages/regular_file.hpp"

#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace davit;

namespace {

std::string wrong(const std::filesystem::path& file) {
  regular_file opened{file, 1000};
  auto text = opened.read();
  CHECK(text.has_value() == opened.wrong().empty());
  return opened.wrong();
}

} // namespace

TEST_CASE("a regular file is read whole, and under its name it is the very file that was opened") {
  test::scratch_folder folder;
  auto file = folder.path() / "a";
  for (std::size_t size : {0u, 1u, 999u, 1000u}) {
    std::ofstream{file} << std::string(size, 'x');
    regular_file opened{file, 1000};
    CHECK(opened.wrong().empty());
    std::filesystem::remove(file);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    CHECK(std::filesystem::file_size(opened.name()) == size);
    CHECK(opened.read() == std::string(size, 'x'));
    std::filesystem::remove(file);
  }
}

TEST_CASE("whatever else lies there is told at once: nobody waits for it, or reads it for ever") {
  test::scratch_folder folder;
  auto at = [&](const char* name) { return folder.path() / name; };
  CHECK(wrong(at("none")) == "can't be read: No such file or directory");
  CHECK(wrong("") == "can't be read: No such file or directory");
  CHECK(wrong(folder.path()) == "is a directory, not a file");
  REQUIRE(::mkfifo(at("pipe").c_str(), 0600) == 0);
  CHECK(wrong(at("pipe")) == "is not a regular file");
  for (auto device : {"/dev/zero", "/dev/null", "/dev/tty", "/dev/ptmx"})
    if (std::filesystem::exists(device))
      CHECK(wrong(device) != "");
  CHECK(wrong("/proc/self/status") == "is not a regular file, but the kernel's");
  std::filesystem::create_symlink("loop", at("loop"));
  CHECK(wrong(at("loop")).starts_with("can't be read"));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  at("socket").string().copy(name.sun_path, sizeof name.sun_path - 1);
  auto socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  CHECK(wrong(at("socket")).starts_with("can't be read"));
  ::close(socket);
  std::ofstream{at("large")} << std::string(1001, 'x');
  CHECK(wrong(at("large")) == "is larger than 1000");
}

TEST_CASE("a file that grows while it is read has the same limit") {
  test::scratch_folder folder;
  auto file = folder.path() / "a";
  std::ofstream{file} << "x";
  regular_file opened{file, 1000};
  std::ofstream{file} << std::string(1001, 'x');
  CHECK_FALSE(opened.read());
  CHECK(opened.wrong() == "is larger than 1000");
}
