// The audit log: every line, in order, and a disk that blocks holds up nobody else.
#include "api/audit_log.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/stat.h>
#include <thread>

using namespace davit;
using namespace davit::test;

namespace {

std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> lines;
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

/// A file that takes a page, and no more until it is read.
struct stuck_file {
  scratch_folder folder;
  std::string path = folder / "audit";
  int fd = -1;

  stuck_file() {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(::fcntl(fd, F_SETPIPE_SZ, 4096) >= 4096);
  }
  ~stuck_file() { let_go(); }

  /// Nobody reads any more: writing fails instead of blocking.
  void let_go() { ::close(std::exchange(fd, -1)); }

  /// What comes until there are so many lines.
  std::string read_lines(std::size_t count) {
    std::string all;
    char buffer[4096];
    pollfd look{fd, POLLIN, 0};
    while (static_cast<std::size_t>(std::count(all.begin(), all.end(), '\n')) < count && ::poll(&look, 1, 20'000) > 0)
      if (auto size = ::read(fd, buffer, sizeof buffer); size > 0)
        all.append(buffer, static_cast<std::size_t>(size));
      else
        break;
    return all;
  }
};

} // namespace

TEST_CASE("every line that was given is there in its order at the end, and is there when its giver is told",
          "[audit]") {
  scratch_folder folder;
  auto file = folder / "audit.log";
  constexpr int count = 5000;
  std::vector<int> told;
  std::atomic<bool> there = true;
  {
    api::audit_log log{file};
    for (int i = 0; i < count; ++i)
      log.write("line " + std::to_string(i), [&, i] {
        if (i % 500 == 0 && lines_of(file).size() <= static_cast<std::size_t>(i))
          there = false;
        told.push_back(i);
      });
  }
  CHECK(there);
  auto lines = lines_of(file);
  REQUIRE(lines.size() == count);
  REQUIRE(told.size() == count);
  for (int i = 0; i < count; ++i) {
    REQUIRE(lines[static_cast<std::size_t>(i)] == "line " + std::to_string(i));
    REQUIRE(told[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("where there can't be an audit log, those who write to it are answered all the same", "[audit]") {
  bool told = false;
  {
    api::audit_log log{"/proc/no/such/folder/audit.log"};
    log.write("line", [&] { told = true; });
  }
  CHECK(told);
}

TEST_CASE("an audit log whose disk blocks holds up who changes something, nobody else, and loses no line", "[audit]") {
  stuck_file file;
  test_agent agent{{}, [&](agent_settings& settings) { settings.access.audit_log = file.path; }};
  std::shared_ptr<void> before_the_agent_ends{nullptr, [&](void*) { file.let_go(); }};
  constexpr std::size_t count = 60;
  std::vector<raw_client> clients;
  auto cancel = "/v1/tasks/" + to_string(agent.submit(busybox("true"))) + "/cancel";
  for (std::size_t i = 0; i < count; ++i)
    clients.emplace_back(agent.socket())
      .send("POST " + cancel + "?within=" + std::to_string(i + 1)
            + "s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  for (auto target : {"/healthz", "/v1/tasks", "/v1/engines"}) {
    raw_client reader{agent.socket()};
    reader.send("GET " + std::string{target} + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    REQUIRE(reader.read().starts_with("HTTP/1.1 200"));
  }
  auto waits = [](raw_client& client) {
    pollfd look{client.fd, POLLIN, 0};
    return ::poll(&look, 1, 0) == 0;
  };
  CHECK(std::any_of(clients.begin(), clients.end(), waits)); // whose lines are not written yet
  auto lines = file.read_lines(1 + count);                   // with that of the submission
  for (auto& client : clients)
    CHECK(client.read().starts_with("HTTP/1.1 200"));
  std::size_t told = 0;
  for (auto at = lines.find(cancel); at != std::string::npos; at = lines.find(cancel, at + 1))
    ++told;
  CHECK(told == count);
}

TEST_CASE("nobody who may do little pushes what others did out of the audit log", "[audit]") {
  token_file tokens;
  auto doer = tokens.make("doer", "submit,read,cancel"), reader = tokens.make("reader", "read");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 0;
                   }};
  agent.use_token(reader);
  auto target = "/v1/tasks/" + std::string(3000, 'y') + "/cancel";
  for (int i = 0; i < 200; ++i)
    REQUIRE(agent.http("POST", target).status == 403);
  agent.use_token(doer);
  auto id = to_string(agent.submit(busybox("true")));
  for (int i = 0; i < 100; ++i)
    REQUIRE(agent.http("POST", "/v1/tasks/" + id + "/cancel").status == 200);
  auto lines = lines_of(agent.data() + "/audit.log");
  auto of = [&](const std::string& caller) {
    return std::count_if(lines.begin(), lines.end(),
                         [&](const auto& line) { return line.find("token " + caller) != std::string::npos; });
  };
  CHECK(of("doer") == 101); // what changed something is there, all of it
  CHECK(of("reader") >= 20);
  CHECK(of("reader") < 100);
  for (const auto& line : lines)
    CHECK(line.size() < 600);
  // How many are missing, the next line says.
  std::this_thread::sleep_for(std::chrono::milliseconds{200});
  agent.use_token(reader);
  agent.http("POST", target);
  CHECK(lines_of(agent.data() + "/audit.log").back().find("\"left_out\":") != std::string::npos);
}

TEST_CASE("nobody without a token pushes what others did out of the audit log", "[audit]") {
  token_file tokens;
  auto token = tokens.make("ci", "submit");
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  agent.use_token(token);
  agent.submit(busybox("true"));
  agent.use_token("");
  for (int i = 0; i < 300; ++i)
    CHECK(agent.http("GET", "/v1/" + std::string(4000, 'x')).status == 401);
  std::ifstream in{agent.data() + "/audit.log"};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  CHECK(text.find("token ci from") != std::string::npos);
  CHECK(text.size() < 300 * 1000);
  CHECK(std::count(text.begin(), text.end(), '\n') < 200);
  CHECK(eventually([&] {
    agent.http("GET", "/v1/tasks");
    std::ifstream again{agent.data() + "/audit.log"};
    return std::string{std::istreambuf_iterator<char>{again}, {}}.find("\"left_out\":") != std::string::npos;
  }));
}
