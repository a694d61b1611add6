// What the shared store gives: tasks claimed, started and finished per second by so many agents at once, each with a
// session of its own, as its store_keeper has. davit_bench_scale URL AGENTS TASKS [QUEUED [LABEL]]: QUEUED more tasks
// wait in the queue, for an engine with LABEL (without: one that nobody has; "": any engine).
#include "store/task_store.hpp"

#include <atomic>
#include <cstdio>
#include <iostream>
#include <thread>

using namespace davit;
using namespace std::chrono_literals;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench: " << what << '\n';
  std::exit(1);
}

std::unique_ptr<store::task_store> open(const std::string& url) {
  auto opened = store::task_store::open(url);
  if (!opened)
    fail(opened.error().message);
  return std::move(*opened);
}

void fill(const std::string& url, int count, const std::string& label) {
  auto session = open(url);
  for (int done = 0; done < count; done += 500) {
    auto good = session->batch([&] {
      for (int i = 0; i < 500 && done + i < count; ++i) {
        store::new_task task{
          uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, "owner-" + std::to_string(i % 10)};
        task.spec.image = "alpine:3.20";
        task.spec.command = {"sh", "-c", "echo hello"};
        if (!label.empty())
          task.spec.engine.labels = {label};
        if (!session->accept(task))
          fail("not accepted");
      }
    });
    if (!good)
      fail(good.error().message);
  }
}

/// One agent: claims what fits into its slots, and ends all of it.
void agent(const std::string& url, int number, std::atomic<int>& left, std::atomic<int>& done) {
  auto session = open(url);
  auto name = "agent-" + std::to_string(number);
  auto incarnation = uuid::make_v4();
  while (left > 0) {
    std::vector<claimed_attempt> work;
    auto claimed = session->batch([&] {
      auto answer
        = session->claim({name, incarnation, {{"e", "engine-" + std::to_string(number), {}, 32, 32}}, {}, {}}, false);
      work.clear();
      if (!answer)
        return; // the batch fails, or is begun again
      work = std::move(answer->attempts);
    });
    if (!claimed)
      fail(claimed.error().message);
    if (work.empty())
      return;
    left -= static_cast<int>(work.size());
    auto now = std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now());
    auto started = session->batch([&] {
      for (const auto& one : work)
        if (!session->record({one.token, task_state::running, "0123456789abcdef", "sha256:1", now}))
          fail("not recorded");
    });
    auto ended = session->batch([&] {
      for (const auto& one : work) {
        attempt_result result;
        result.token = one.token;
        result.outcome = outcome::succeeded;
        result.exit_code = 0;
        result.finished_at = now;
        result.phases = {{"queue", 0.1}, {"create", 0.01}, {"start", 0.5}, {"run", 0.1}};
        result.evidence.inspect = R"({"Status":"exited","ExitCode":0,"OOMKilled":false})";
        if (!session->finish(result))
          fail("not finished");
      }
    });
    if (!started || !ended)
      fail("a batch failed");
    done += static_cast<int>(work.size());
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 4)
    fail("davit_bench_scale URL AGENTS TASKS [QUEUED [LABEL]]");
  std::string url = argv[1];
  auto agents = std::atoi(argv[2]), tasks = std::atoi(argv[3]);
  if (argc > 4)
    fill(url, std::atoi(argv[4]), argc > 5 ? argv[5] : "nobody-has-this");
  fill(url, tasks, "");
  std::atomic<int> left{tasks}, done{0};
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(agents));
  auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < agents; ++i)
    threads.emplace_back([&, i] { agent(url, i, left, done); });
  for (auto& one : threads)
    one.join();
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::printf("%.0f\n", done / seconds);
  return left <= 0 && done >= tasks ? 0 : 1;
}
