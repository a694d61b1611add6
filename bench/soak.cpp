// Thousands of tasks through an agent whose engine is a stub: how memory, file descriptors, threads and the database
// grow. davit_bench_soak DAVIT TASKS; the agent is a process of its own, with a retention of a few seconds.
#include "bench/stub_engine.hpp"
#include "cli/client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace davit;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench: " << what << '\n';
  std::exit(1);
}

struct sample {
  int tasks = 0;
  double resident_mb = 0, database_mb = 0;
  int descriptors = 0, threads = 0;
};

sample take(int tasks, int pid, const std::string& data) {
  sample one;
  one.tasks = tasks;
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:"))
      one.resident_mb = std::atof(line.c_str() + 6) / 1024;
    else if (line.starts_with("Threads:"))
      one.threads = std::atoi(line.c_str() + 8);
  }
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/fd"})
    ++one.descriptors;
  for (auto name : {"davit.db", "davit.db-wal"}) {
    std::error_code ec;
    auto size = std::filesystem::file_size(data + "/" + name, ec);
    one.database_mb += ec ? 0 : static_cast<double>(size) / 1e6;
  }
  return one;
}

/// What a line through the samples rises by, in units per thousand tasks.
template <class Get>
double slope(const std::vector<sample>& samples, Get get) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& one : samples) {
    double tasks = one.tasks / 1000.0, value = get(one);
    n += 1, x += tasks, y += value, xx += tasks * tasks, xy += tasks * value;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

transport::awaitable<void> worker(api_client& client, int& left, int& failed) {
  while (left-- > 0) {
    auto accepted = co_await client.http()->request(
      client.request("POST", "/v1/tasks", R"({"image":"stub","command":["true"],"network":"none"})"), {});
    if (!accepted || accepted->status != 202) {
      ++failed;
      continue;
    }
    auto id = accepted->body.substr(accepted->body.find("\"id\":\"") + 6, 36);
    auto ended = co_await client.http()->request(client.request("GET", "/v1/tasks/" + id + "/wait"), {});
    if (!ended || ended->body.find("\"outcome\":\"succeeded\"") == std::string::npos)
      ++failed;
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3)
    fail("davit_bench_soak DAVIT TASKS");
  auto total = std::atoi(argv[2]);
  std::string folder = "/tmp/davit-bench-XXXXXX";
  if (!::mkdtemp(folder.data()))
    fail("no folder");
  transport::io_runtime io{1};
  bench::stub_engine engine{io, folder + "/stub.sock"};
  std::ofstream{folder + "/davit.conf"}
    << "davit {\n  agent {\n    name = \"soak\"\n    data-dir = \"" << folder
    << "/data\"\n  }\n  api {\n    listen = \"unix://" << folder
    << "/api.sock\"\n  }\n  store {\n    retention = 5s\n  }\n  engines {\n    stub {\n      endpoint = \"unix://"
    << folder << "/stub.sock\"\n      slots = 64\n      sandboxes = 0\n    }\n  }\n}\n";
  auto pid = ::fork();
  if (pid == 0) {
    auto config = "--config-file=" + folder + "/davit.conf";
    if (!std::freopen((folder + "/log").c_str(), "w", stderr))
      ::_exit(1);
    ::execl(argv[1], argv[1], "agent", config.c_str(), nullptr);
    ::_exit(127);
  }
  api_client client{transport::endpoint{folder + "/api.sock", {}, 0, {}}};
  for (int i = 0;; ++i) {
    try {
      if (client.call("GET", "/v1/engines").find("\"state\":\"ready\"") != std::string::npos)
        break;
    } catch (const command_failure&) {
      // Not up yet.
    }
    if (i == 200)
      fail("the agent does not come up");
    std::this_thread::sleep_for(50ms);
  }
  std::vector<sample> samples;
  int failed = 0;
  auto begun = std::chrono::steady_clock::now();
  std::printf("| tasks | resident MB | descriptors | threads | database MB |\n|---|---|---|---|---|\n");
  for (int done = 0; done < total;) {
    auto part = std::min(total / 20, total - done), left = part;
    for (int i = 0; i < 64; ++i)
      asio::co_spawn(client.context(), worker(client, left, failed), asio::detached);
    client.context().restart();
    client.context().run();
    done += part;
    samples.push_back(take(done, pid, folder + "/data"));
    const auto& now = samples.back();
    std::printf("| %d | %.1f | %d | %d | %.1f |\n", now.tasks, now.resident_mb, now.descriptors, now.threads,
                now.database_mb);
    std::fflush(stdout);
  }
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  // The second half: the first fills caches and pools.
  std::vector<sample> half{samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end()};
  std::printf("\n%.0f tasks/s; slopes over the second half, per 1000 tasks: resident %+.3f MB, descriptors %+.2f, "
              "database %+.3f MB; %d failed; %zu containers left\n",
              total / seconds, slope(half, [](const sample& s) { return s.resident_mb; }),
              slope(half, [](const sample& s) { return static_cast<double>(s.descriptors); }),
              slope(half, [](const sample& s) { return s.database_mb; }), failed, engine.left());
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  io.stop();
  std::filesystem::remove_all(folder);
  return failed == 0 ? 0 : 1;
}
