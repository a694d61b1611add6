// Logs on standard output whose reader stops, goes on, or never reads.
#include "actors/console_outlet.hpp"
#include "fixture/agent_client.hpp"
#include "fixture/scripted_engine.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <deque>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;
using shipping::delivery;

namespace {

/// A pipe, or a pair of sockets, as the standard output of a process.
struct output {
  int read = -1, write = -1;
  explicit output(bool sockets) {
    int ends[2];
    REQUIRE((sockets ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : ::pipe2(ends, O_CLOEXEC)) == 0);
    read = ends[0];
    write = ends[1];
    if (!sockets)
      ::fcntl(write, F_SETPIPE_SZ, 4096);
    ::fcntl(read, F_SETFL, O_NONBLOCK);
  }
  ~output() {
    ::close(read);
    ::close(write);
  }
  std::string take(std::size_t most) const {
    std::string bytes(most, '\0');
    auto count = ::read(read, bytes.data(), bytes.size());
    bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return bytes;
  }
};

sink_outlet::records_ptr some_records(std::minstd_rand& random, int batch) {
  auto records = std::make_shared<std::vector<log_record>>();
  for (int i = 0, count = 1 + static_cast<int>(random() % 60); i < count; ++i) {
    auto length = random() % 8 == 0 ? random() % 20'000 : random() % 200;
    records->push_back(
      {log_stream::out, {}, std::to_string(batch) + '.' + std::to_string(i) + ' ' + std::string(length, 'x') + '\n'});
  }
  return records;
}

} // namespace

TEST_CASE("a reader of stdout that stops and goes on gets each line once, whole, whatever fails meanwhile") {
  auto sockets = GENERATE(false, true);
  auto seed = GENERATE(1u, 2u, 3u);
  CAPTURE(sockets, seed);
  std::minstd_rand random{seed};
  output out{sockets};
  auto flags = ::fcntl(out.write, F_GETFL);
  auto outlet = make_console_outlet(out.write, 20ms);
  auto names = std::make_shared<shipping::log_names>();
  std::multiset<std::string> expected, found;
  std::deque<sink_outlet::records_ptr> waiting;
  for (int i = 0; i < 12; ++i) {
    waiting.push_back(some_records(random, i));
    for (const auto& one : *waiting.back())
      expected.insert(shipping::json_line(*names, one));
  }
  std::string bytes;
  std::size_t failures = 0;
  for (int tries = 0; !waiting.empty(); ++tries) {
    REQUIRE(tries < 2000);
    std::swap(waiting.front(), waiting[random() % waiting.size()]); // a sink sends others first
    auto records = waiting.front();
    auto done = std::make_shared<std::promise<delivery>>();
    outlet->send(names, records, [done](const delivery& now) { done->set_value(now); });
    auto outcome = done->get_future();
    auto reads = failures > 0 && random() % 3 != 0;
    while (outcome.wait_for(100us) != std::future_status::ready)
      if (reads)
        bytes += out.take(1 + random() % 10'000);
    auto how = outcome.get();
    if (how.how == delivery::verdict::taken) {
      waiting.pop_front();
    } else {
      ++failures;
      CHECK(how.message == "nobody reads stdout");
      bytes += out.take(1 + random() % 10'000);
    }
  }
  outlet.reset();
  for (std::string more; !(more = out.take(1 << 20)).empty();)
    bytes += more;
  CHECK(failures > 0);
  CHECK(::fcntl(out.write, F_GETFL) == flags);
  for (std::size_t at = 0; at < bytes.size();) {
    auto end = std::min(bytes.size() - 1, bytes.find('\n', at));
    found.insert(bytes.substr(at, end + 1 - at));
    at = end + 1;
  }
  CHECK(found == expected);
}

TEST_CASE("lines of a pipe's size are never cut where nobody reads any more, and nobody waits for the reader") {
  output out{false};
  auto records = std::make_shared<std::vector<log_record>>();
  for (int i = 0; i < 500; ++i)
    records->push_back({log_stream::out, {}, std::string(static_cast<std::size_t>(i), 'x') + '\n'});
  std::atomic<int> answers{0};
  auto outlet = make_console_outlet(out.write, 1h);
  for (int i = 0; i < 8; ++i)
    outlet->send(std::make_shared<shipping::log_names>(), records, [&](const delivery&) { ++answers; });
  outlet.reset();
  auto bytes = out.take(1 << 20);
  CHECK((bytes.empty() || bytes.ends_with("}\n")));
}

TEST_CASE("an agent whose stdout nobody reads says so, counts it, and ends with 0") {
  scratch_folder folder;
  auto pipe = folder / "out", script = folder / "davit";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  auto held = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  REQUIRE(held >= 0);
  ::fcntl(held, F_SETPIPE_SZ, 4096);
  std::string filled(4096, '\n');
  REQUIRE(::write(held, filled.data(), filled.size()) == 4096);
  std::ofstream{script} << "#!/bin/sh\nexec " << DAVIT_BINARY << " \"$@\" > " << pipe << '\n';
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  scripted_engine engine{"e", [](const std::string&, scripted_connection&) { return false; }};
  {
    test_daemon daemon{{engine.settings()}, {"--davit.logs.sinks.so.type=stdout"}, script};
    daemon.start();
    daemon.run(busybox("true"));
    CHECK(eventually([&] {
      return daemon.http("GET", "/metrics").body.find("davit_sink_failures_total{sink=\"so\"}") != std::string::npos;
    }));
    CHECK(daemon.http("GET", "/v1/sinks").body.find("nobody reads stdout") != std::string::npos);
    CHECK(eventually([&] { return daemon.said().find("sink so: nobody reads stdout") != std::string::npos; }));
    daemon.signal(SIGTERM);
    CHECK(daemon.wait_end().exit_code == 0);
    CHECK(daemon.said().find("does not come to an end") == std::string::npos);
  }
  std::string bytes(8192, '\0');
  CHECK(::read(held, bytes.data(), bytes.size()) == 4096);
  ::close(held);
}
