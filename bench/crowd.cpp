// What a client with a token notices of a hostile crowd: how long its requests take without one and with one.
// davit_bench_crowd PORT CONNECTIONS SECONDS: the agent at this port of loopback takes the token of DAVIT_TOKEN. Says
// what it found as a line of a Markdown table, and ends with 1 if a request was not answered as it should be.
#include "cli/client.hpp"
#include "fixture/hostile_crowd.hpp"
#include "transport/endpoint.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace davit;
using steady = std::chrono::steady_clock;

namespace {

std::size_t failures = 0;

/// Milliseconds, sorted.
using latencies = std::vector<double>;

/// Over one connection, or over a new one each, as each davit command needs it.
enum class connecting { once, anew };

latencies requests_until(std::uint16_t port, connecting how, steady::time_point until) {
  auto connect = [&] {
    auto made = std::make_unique<api_client>(*transport::parse_endpoint("http://127.0.0.1:" + std::to_string(port)));
    made->token = std::getenv("DAVIT_TOKEN");
    return made;
  };
  auto client = connect();
  latencies all;
  for (int i = 0; steady::now() < until; ++i) {
    if (how == connecting::anew)
      client = connect();
    auto begun = steady::now();
    try {
      if (i % 2 == 0)
        client->call("POST", "/v1/tasks", R"({"image":"b","command":["true"]})");
      else
        client->call("GET", "/v1/tasks?limit=3");
    } catch (const command_failure& failure) {
      if (++failures < 100)
        std::fprintf(stderr, "%s\n", failure.message.c_str());
    }
    all.push_back(std::chrono::duration<double, std::milli>(steady::now() - begun).count());
  }
  std::sort(all.begin(), all.end());
  return all;
}

double at(const latencies& all, double share) {
  return all.empty() ? 0 : all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
}

} // namespace

int main(int count, char** words) {
  if (count != 4 || !std::getenv("DAVIT_TOKEN")) {
    std::fprintf(stderr, "write davit_bench_crowd PORT CONNECTIONS SECONDS, with DAVIT_TOKEN\n");
    return 2;
  }
  test::crowd_plan plan;
  plan.port = static_cast<std::uint16_t>(std::atoi(words[1]));
  plan.connections = static_cast<std::size_t>(std::atoi(words[2]));
  plan.addresses = 8;
  auto span = std::chrono::seconds{std::atoi(words[3])};
  for (std::string target : {"/", "/v1/tasks", "/healthz", "/v1/events"})
    for (std::string headers : {"", "Authorization: Bearer davit_a_b\r\n", "Content-Length: 4000000\r\n"})
      plan.requests.push_back((headers.starts_with("Content") ? "POST " : "GET ") + target
                              + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n"
                              + (headers.starts_with("Content") ? std::string(20'000, ' ') : ""));
  for (auto how : {connecting::once, connecting::anew}) {
    auto alone = requests_until(plan.port, how, steady::now() + span);
    auto until = steady::now() + span;
    test::crowd_report report;
    std::thread crowd{[&] {
      ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10); // it is meant to be on other machines
      report = test::besiege(plan, until);
    }};
    std::this_thread::sleep_for(span / 4); // until they have come
    auto among = requests_until(plan.port, how, until);
    crowd.join();
    std::printf("| %s | %zu | %zu | %.2f | %.2f | %.2f | %.2f | %.1f |\n", how == connecting::once ? "one" : "new",
                plan.connections, report.connected, at(alone, 0.5), at(among, 0.5), at(alone, 0.99), at(among, 0.99),
                at(among, 0.99) / at(alone, 0.99));
  }
  return failures == 0 ? 0 : 1;
}
