// `davit run` that is interrupted while nobody reads its output, on a real engine: with an agent and without.
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// A pipe that somebody has open and does not read.
struct unread_pipe {
  explicit unread_pipe(std::string path) : name(std::move(path)) {
    REQUIRE(::mkfifo(name.c_str(), 0600) == 0);
    fd = ::open(name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  ~unread_pipe() { ::close(fd); }

  bool is_full() const {
    pollfd look{fd, POLLOUT, 0};
    return ::poll(&look, 1, 0) == 0;
  }
  void empty() const {
    char part[4096];
    while (::read(fd, part, sizeof part) > 0) {
    }
  }

  std::string name;
  int fd = -1;
};

void check_interrupts(const test_engine& engine, std::vector<std::string> environment) {
  scratch_folder home;
  environment.push_back("XDG_STATE_HOME=" + home.path().string());
  environment.push_back("DOCKER_HOST=unix://" + engine.socket());
  unread_pipe out{home / "unread"};
  auto start = [&](const std::string& limit, const std::string& script) {
    std::vector<std::string> words{"/bin/sh",   "-c",           "exec \"$@\" > " + out.name,
                                   "sh",        DAVIT_BINARY,   "run",
                                   "--network", "none",         "--stop-timeout",
                                   limit,       "busybox:test", "--",
                                   "sh",        "-c",           script};
    auto one = std::make_unique<process>(words, "", environment);
    REQUIRE(eventually([&] { return out.is_full(); }));
    return one;
  };
  for (auto signal : {SIGINT, SIGTERM}) {
    CAPTURE(signal);
    auto stuck = start("1s", "yes");
    stuck->signal(signal);
    auto result = stuck->wait();
    CHECK(result.exit_code == 130);
    CHECK(result.err.find("nobody reads it") != std::string::npos);
    CHECK(eventually([&] { return engine.docker("ps -q --filter name=davit-0").empty(); }));
    out.empty();
  }
  auto stubborn = start("60s", "trap '' TERM; yes & while true; do sleep 1; done");
  stubborn->signal(SIGINT);
  shell("sleep 0.3"); // a person's second thought
  stubborn->signal(SIGINT);
  CHECK(stubborn->wait(20s).exit_code == 130);
  engine.docker("ps -aq | xargs -r docker -H unix://" + engine.socket() + " rm -f");
}

} // namespace

TEST_CASE("an interrupt ends davit run, and its task, though nobody reads the output", "[command]") {
  test_engine engine{"a"};
  SECTION("without an agent") {
    check_interrupts(engine, {});
  }
  SECTION("through an agent") {
    test_agent agent{{engine.settings(4)}};
    check_interrupts(engine, {"DAVIT_HOST=unix://" + agent.socket()});
  }
}
