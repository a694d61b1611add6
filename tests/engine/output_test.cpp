// Promise 4: no log byte is lost, doubled or reordered within a stream.
#include "engine/suites.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace davit::test {

void check_output(const any_engine& engine) {
  test_agent agent{{engine.settings(16)}};
  agent.default_start = engine.how_to_start();
  auto output_of = [&](const std::string& script) {
    auto ended = agent.run(busybox(script));
    CHECK(ended.outcome == outcome::succeeded);
    auto result = agent.logs(ended.id);
    CHECK(result.notes == "");
    return result;
  };
  SECTION("a last line without a newline") {
    CHECK(output_of("printf x").out == "x");
    CHECK(output_of("printf 'a\\nb'").out == "a\nb");
    CHECK(output_of("true").out == "");
  }
  SECTION("stdout and stderr, apart and interleaved") {
    auto both = output_of("for i in $(seq 200); do echo out $i; echo err $i >&2; done");
    std::string out, err;
    for (int i = 1; i <= 200; ++i) {
      out += "out " + std::to_string(i) + "\n";
      err += "err " + std::to_string(i) + "\n";
    }
    CHECK(both.out == out);
    CHECK(both.err == err);
  }
  SECTION("the last and only record of a stream is kept once, whether the log was followed or read at the end") {
    std::vector<task_id> tasks;
    auto add = [&](const std::string& script) { tasks.push_back(agent.submit(busybox(script))); };
    for (int i = 0; i < 8; ++i)
      add("echo out; echo end >&2; exit 1");
    for (auto end : {"exit 3", "kill -9 $$"}) {
      add(std::string{"for i in $(seq 60); do echo k$i; usleep 5000; done; echo end >&2; "} + end);
      add(std::string{"for i in $(seq 300); do echo k$i; usleep 1000; done; echo end >&2; "} + end);
    }
    for (auto id : tasks) {
      agent.wait(id);
      auto kept = agent.logs(id);
      CHECK(kept.err == "end\n");
      CHECK(kept.notes == "");
    }
  }
  SECTION("single bytes") {
    std::string expected;
    for (int i = 1; i <= 300; ++i)
      expected += std::to_string(i % 10);
    CHECK(output_of("for i in $(seq 300); do printf $((i % 10)); done").out == expected);
  }
  SECTION("a line of ten megabytes") {
    auto out = output_of("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end").out;
    REQUIRE(out.ends_with("x\nend\n"));
    out.resize(out.size() - 5);
    CHECK(out.size() == 10'000'000);
    CHECK(out.find_first_not_of('x') == std::string::npos);
  }
  SECTION("a cut line at the very end: what the init says stands behind it") {
    auto ended = agent.run(busybox("head -c 40000 /dev/zero | tr '\\0' x"));
    auto result = agent.logs(ended.id);
    CHECK(result.out == std::string(40'000, 'x'));
    CHECK(result.notes == "");
    CHECK(output_of("head -c 40000 /dev/zero | tr '\\0' x; echo").out == std::string(40'000, 'x') + "\n");
  }
  SECTION("a cut line at the very end, without an init: the engine does not tell of its newline, and the log says so") {
    auto spec = busybox("head -c 40000 /dev/zero | tr '\\0' x");
    spec.init = false;
    spec.start = start_mode::cold;
    auto result = agent.logs(agent.run(spec).id);
    CHECK(result.out == std::string(40'000, 'x'));
    CHECK(result.notes.find("does not tell whether the last line of stdout") != std::string::npos);
  }
  SECTION("NUL, every other byte, and what is no UTF-8") {
    std::string script = "printf '", expected;
    for (int byte = 0; byte < 256; ++byte) {
      char text[8];
      std::snprintf(text, sizeof text, "\\%03o", byte);
      script += text;
      expected += static_cast<char>(byte);
    }
    CHECK(output_of(script + "'").out == expected);
  }
  SECTION("a terminal's output") {
    auto spec = busybox("echo one; printf two; test -t 1 && printf ' tty'");
    spec.tty = true;
    auto ended = agent.run(spec);
    CHECK(agent.logs(ended.id).out == "one\r\ntwo tty");
    spec.command = {"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' y; echo; echo end"};
    ended = agent.run(spec);
    CHECK(agent.logs(ended.id).out == std::string(100'000, 'y') + "\r\nend\r\n");
  }
  SECTION("a long output, its compressed log, and its tail") {
    auto ended = agent.run(busybox("seq 200000"));
    std::string expected;
    for (int i = 1; i <= 200'000; ++i)
      expected += std::to_string(i) + "\n";
    CHECK(agent.logs(ended.id).out == expected);
    shell("sleep 0.3"); // lets the compressor get to it; either form must read the same
    CHECK(agent.logs(ended.id).out == expected);
    CHECK(agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/logs?tail=2") == "199999\n200000\n");
  }
}

} // namespace davit::test

TEST_CASE("every byte that a container prints is kept, in order, with its stream", "[output]") {
  static const test_engine engine{"a"};
  check_output(engine);
}

TEST_CASE("300 containers that print and exit at once lose nothing", "[output][many]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(16)}};
  std::vector<task_id> tasks;
  for (int i = 0; i < 300; ++i)
    tasks.push_back(
      agent.submit(busybox("echo out " + std::to_string(i) + "; echo err " + std::to_string(i) + " >&2; printf end")));
  for (int i = 0; i < 300; ++i) {
    auto ended = agent.wait(tasks[static_cast<std::size_t>(i)], 10min);
    REQUIRE(ended.outcome == outcome::succeeded);
    auto output = agent.logs(ended.id);
    REQUIRE(output.out == "out " + std::to_string(i) + "\nend");
    REQUIRE(output.err == "err " + std::to_string(i) + "\n");
    REQUIRE(output.notes == "");
  }
}
