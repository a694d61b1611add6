// An engine may be broken, or somebody else's: whatever it answers, davit says so, keeps its memory, and serves the
// others.
#include "cli/print.hpp"
#include "encoding/base64.hpp"
#include "fixture/captured_log.hpp"
#include "fixture/file_client.hpp"
#include "fixture/scripted_engine.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <sys/resource.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

constexpr std::uint64_t gigabyte = 1ull << 30;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr long allowed_kilobytes = 1024 * 1024; // what was freed is kept for a while
#else
constexpr long allowed_kilobytes = 100 * 1024; // a whole answer may have 16 MiB, and its JSON takes a few times as much
#endif

struct attack {
  std::string name;
  std::string path; ///< Requests that have it are answered so.
  std::function<void(scripted_connection&)> answer;
  std::string complaint; ///< What the engine's message, or the task's, says.
};

scripted_engine::script play(const attack& one) {
  return [one](const std::string& request, scripted_connection& connection) {
    if (request.find(one.path) == std::string::npos)
      return false;
    one.answer(connection);
    return true;
  };
}

constexpr auto head = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n";
constexpr auto chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string message_of(test_agent& agent, const std::string& engine) {
  json::parser parser;
  auto text = agent.call("GET", "/v1/engines");
  for (auto one : list_at(parse(parser, text), "engines"))
    if (text_at(one, "name") == engine)
      return text_at(one, "message");
  return {};
}

} // namespace

TEST_CASE("an engine that answers anything at all when it is asked who it is: it is down, with the reason, and costs "
          "no memory") {
  const std::vector<attack> attacks{
    {"headers without end", "/_ping",
     [](auto& c) {
       c.send(head);
       c.flood("X-More: of the same\r\n", gigabyte);
     },
     "header"},
    {"one header without end", "/_ping",
     [](auto& c) {
       c.send(std::string{head} + "X-Long: ");
       c.flood("a", gigabyte);
     },
     "header"},
    {"not valid HTTP", "/_ping", [](auto& c) { c.send("SSH-2.0-OpenSSH_9.2\r\n"); }, "HTTP"},
    {"nothing", "/_ping", [](auto&) {}, "ended"},
    {"a body without end", "/info",
     [](auto& c) {
       c.send(std::string{head} + "\r\n");
       c.flood("{\"a\":\"b\"},", gigabyte);
     },
     "longer than"},
    {"a length that is a lie", "/info",
     [](auto& c) { c.send(std::string{head} + "Content-Length: 99999999999999\r\n\r\n{"); }, ""},
    {"a length that is none", "/info", [](auto& c) { c.send(std::string{head} + "Content-Length: -1\r\n\r\n{}"); }, ""},
    {"two lengths", "/info",
     [](auto& c) { c.send(std::string{head} + "Content-Length: 2\r\nContent-Length: 200\r\n\r\n{}"); }, ""},
    {"a chunk that is a lie", "/info", [](auto& c) { c.send(chunked + std::string{"FFFFFFFFFFFFFFFF\r\n{}"}); }, ""},
    {"chunks that are none", "/info", [](auto& c) { c.send(chunked + std::string{"zz\r\n{}\r\n"}); }, ""},
    {"chunk extensions without end", "/info",
     [](auto& c) {
       c.send(chunked + std::string{"1;"});
       c.flood("a=b;", gigabyte);
     },
     ""},
    {"deep JSON", "/info", [](auto& c) { c.answer(200, std::string(1'000'000, '[')); }, "JSON"},
    {"JSON of other types", "/info", [](auto& c) { c.answer(200, R"({"ID":7,"Plugins":[],"SystemTime":{}})"); }, ""},
    {"JSON that is none", "/info", [](auto& c) { c.answer(200, "\xff\xfe{\"ID\""); }, "JSON"},
    {"a number that no number holds", "/info",
     [](auto& c) { c.answer(200, R"({"ID":"x","MemTotal":1e999,"NCPU":99999999999999999999})"); }, ""},
    {"a version that is none", "/version",
     [](auto& c) { c.answer(200, R"({"ApiVersion":"99999999999999999999.1","MinAPIVersion":"x"})"); }, "version"},
    {"a version that is a request", "/_ping",
     [](auto& c) { c.send("HTTP/1.1 200 OK\r\nApi-Version: 1.41/images/prune?a=\r\nContent-Length: 2\r\n\r\nOK"); },
     ""},
    {"a redirect", "/info",
     [](auto& c) {
       c.send("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
     },
     ""},
  };
  scripted_engine good{"good", {}};
  for (const auto& one : attacks) {
    INFO(one.name);
    scripted_engine hostile{"hostile", play(one)};
    test_agent agent{{good.settings(), hostile.settings()}};
    auto before = peak_kilobytes();
    REQUIRE(eventually([&] {
      auto message = message_of(agent, "hostile");
      return !message.empty() && message.find(one.complaint) != std::string::npos;
    }));
    auto spec = busybox("true");
    spec.engine.labels = {"good"};
    CHECK(agent.run(spec).outcome == outcome::succeeded);
    CHECK(peak_kilobytes() - before < allowed_kilobytes);
    hostile.become({}); // once it behaves, it is given work
    agent.await_engine("hostile", engine_state::ready);
  }
}

TEST_CASE("an engine that lies about a task: the task ends with a reason or is waited for, the others' go on, and "
          "nothing grows") {
  const std::vector<attack> attacks{
    {"an event line without end", "/events",
     [](auto& c) {
       c.send(chunked);
       while (c.send("10000\r\n" + std::string(65536, 'x') + "\r\n")) {
       }
     },
     ""},
    {"events that are none", "/events",
     [](auto& c) { c.send(std::string{head} + "\r\nfalse\n[1]\n{\"Action\":7}\n{}\n"); }, ""},
    {"a log frame that claims 4 GB", "/logs",
     [](auto& c) {
       c.send(std::string{head} + "\r\n" + std::string{"\1\0\0\0\xff\xff\xff\xff", 8});
       c.flood("x", gigabyte);
     },
     ""},
    {"log frames of a stream that is none", "/logs",
     [](auto& c) {
       c.send(std::string{head} + "\r\n" + std::string{"\x09\0\0\0\0\0\0\1x", 9});
     },
     ""},
    {"a log frame with rubbish where zeros belong", "/logs",
     [](auto& c) {
       c.send(std::string{head} + "\r\n" + std::string{"\1\7\7\7\0\0\0\1x", 9});
     },
     ""},
    {"log lines without stamps", "/logs",
     [](auto& c) {
       c.send(std::string{head} + "\r\n"
              + std::string{"\1\0\0\0\0\0\0\x04"
                            "abc\n",
                            12});
     },
     ""},
    {"an id that leads elsewhere", "/containers/create",
     [](auto& c) { c.answer(201, R"({"Id":"../../images/prune?x="})"); }, ""},
    {"no id", "/containers/create", [](auto& c) { c.answer(201, R"({"Warnings":[]})"); }, ""},
    {"an error page without end", "/containers/create",
     [](auto& c) {
       c.send("HTTP/1.1 500 x\r\n\r\n");
       c.flood("<html>", gigabyte);
     },
     ""},
    {"an error with terminal escapes", "/containers/create",
     [](auto& c) { c.answer(400, "{\"message\":\"\\u001b[2J\\u001b]0;owned\\u0007\"}"); }, "[2J"},
    {"an inspect without a state", "/json", [](auto& c) { c.answer(200, R"({"Id":"x"})"); }, ""},
    {"an inspect of another container", "/json",
     [](auto& c) { c.answer(200, R"({"Id":"x","Name":"/y","State":{"Status":"exited","ExitCode":99999999999999}})"); },
     ""},
    {"a wait with a body without end", "/wait",
     [](auto& c) {
       c.send(std::string{head} + "\r\n");
       c.flood("{", gigabyte);
     },
     ""},
    {"a list without end", "/containers/json",
     [](auto& c) {
       c.send(std::string{head} + "\r\n[");
       c.flood("{\"Id\":\"x\"},", gigabyte);
     },
     ""},
  };
  scripted_engine good{"good", {}};
  for (const auto& one : attacks) {
    INFO(one.name);
    scripted_engine hostile{"hostile", play(one)};
    auto settings = hostile.settings();
    settings.grace = 2s;
    test_agent agent{{good.settings(), settings}};
    auto before = peak_kilobytes();
    auto there = busybox("true"), here = busybox("true");
    there.engine.labels = {"hostile"};
    there.retry.attempts = 1;
    there.timeout = 5s;
    here.engine.labels = {"good"};
    auto id = agent.submit(there);
    for (int i = 0; i < 3; ++i)
      CHECK(agent.run(here).outcome == outcome::succeeded);
    auto ended = agent.wait(id);
    INFO(to_string(*ended.outcome) << ": " << ended.message);
    CHECK(ended.state == task_state::finished);
    CHECK(ended.message.find(one.complaint) != std::string::npos);
    agent.reap();
    CHECK(peak_kilobytes() - before < allowed_kilobytes);
    CHECK(agent.run(here).outcome == outcome::succeeded);
  }
}

TEST_CASE("an engine that takes no standard input does not run what is to have it", "[input]") {
  auto status = GENERATE(500, 404, 409, 0);
  std::atomic<bool> started{false};
  scripted_engine engine{"a", [&](const std::string& request, scripted_connection& connection) {
                           if (request.find("/start") != std::string::npos)
                             started = true;
                           if (request.find("/attach?") == std::string::npos)
                             return false;
                           if (status != 0)
                             connection.answer(status, R"({"message":"not now"})");
                           return true;
                         }};
  test_agent agent{{engine.settings()}};
  auto spec = busybox("cat");
  spec.stdin_text = "some words";
  spec.retry.attempts = 1;
  auto ended = agent.run(spec);
  CHECK(ended.outcome == outcome::engine_lost);
  CHECK(ended.message.find("its standard input can't be attached to: ") != std::string::npos);
  CHECK_FALSE(started);
}

TEST_CASE("what an engine or a registry repeats of a task's secrets is masked wherever davit says it", "[secrets]") {
  using encoding::base64_encode;
  const std::string password = "hunter2secret", given = "joe:" + password, coded = base64_encode("ann:other-word"),
                    identity = "identity-token-1", registry = "registry-token-2";
  const auto config = R"({"auths":{"one.test":{"username":"joe","password":")" + password + R"("},"two.test":{"auth":")"
                    + coded + R"("},"three.test":{"identitytoken":")" + identity
                    + R"("},"four.test":{"registrytoken":")" + registry + R"("}}})";
  // What a registry is sent goes through base64, once or twice.
  const std::string words = "you sent Basic " + base64_encode(given) + " = " + given + ", ann:other-word, " + coded
                          + ", " + encoding::base64url_encode(R"({"username":"joe","password":")" + password + R"("})")
                          + ", " + identity + ", " + registry + ", TOKEN=swordfish-1";
  auto path = std::string{"/images/create"};
  auto answer = R"({"message":")" + words + R"("})";
  auto status = 500;
  SECTION("at the pull") {}
  SECTION("when the container is made") {
    path = "/containers/create";
    status = 400;
  }
  SECTION("when it is started") {
    path = "/start";
    status = 400;
  }
  scripted_engine engine{"a", [=](const std::string& request, scripted_connection& connection) {
                           if (request.find(path) != std::string::npos)
                             return connection.answer(status, answer);
                           if (request.find("/images/") != std::string::npos && path != "/images/create")
                             return connection.answer(200, R"({"Id":"sha256:0","Config":{"Cmd":["true"]}})");
                           return false;
                         }};
  test_agent agent{{engine.settings()}};
  captured_log said;
  auto spec = busybox("true");
  spec.image = "one.test/x/y:1";
  spec.pull = path == "/images/create" ? pull_policy::always : pull_policy::missing;
  spec.secrets["DOCKER_AUTH_CONFIG"] = {config, false};
  spec.secrets["TOKEN"] = {"swordfish-1", false};
  spec.retry.attempts = 1;
  auto ended = agent.run(spec);
  CHECK(ended.outcome != outcome::succeeded);
  CHECK(ended.message.find("you sent Basic ***") != std::string::npos);
  CHECK(eventually([&] { return said.has("you sent Basic ***"); }, 10s));
  auto task = "/v1/tasks/" + to_string(ended.id);
  auto everything = agent.call("GET", task) + agent.call("GET", task + "/events") + agent.call("GET", "/v1/tasks");
  for (const auto& hidden : {password, base64_encode(given).substr(0, 16), std::string{"other-word"},
                             coded.substr(0, 12), identity, registry, std::string{"swordfish"}}) {
    INFO(hidden);
    CHECK(everything.find(hidden) == std::string::npos);
    CHECK_FALSE(said.has(hidden));
    CHECK(shell("grep -rlFa -e '" + hidden + "' " + agent.data() + " || true").empty());
  }
}

TEST_CASE("what an engine says of an input while it ends is no fault of the input", "[files]") {
  const auto status = GENERATE(500, 400);
  enum { up, down, back };
  std::atomic<int> now{up};
  scripted_engine engine{"a", [&](const std::string& request, scripted_connection& connection) {
                           if (now == down)
                             return true;
                           if (request.find("/images/") != std::string::npos)
                             return connection.answer(200, R"({"Id":"sha256:0","Config":{"Cmd":["true"]}})");
                           if (!request.starts_with("PUT"))
                             return false;
                           if (now.exchange(now == up ? down : back) == up)
                             connection.answer(status, R"({"message":"lchown /src: no such file or directory"})");
                           else
                             connection.answer(200, "");
                           return true;
                         }};
  auto settings = engine.settings();
  settings.grace = 5min;
  test_agent agent{{settings}};
  scratch_folder scratch;
  shell("echo one >" + (scratch / "file"));
  auto spec = busybox("true");
  spec.inputs.push_back({upload(agent, scratch / ""), "/src"});
  spec.retry.attempts = 1;
  auto id = agent.submit(spec);
  REQUIRE(eventually(
    [&] { return now == down && agent.call("GET", "/v1/engines").find("\"down\"") != std::string::npos; }, 20s));
  CHECK(agent.find(id).state != task_state::finished);
  now = back;
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
}
