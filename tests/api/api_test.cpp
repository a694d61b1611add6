// The HTTP API of an agent whose only engine does not exist: everything but running.
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include "json/read.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

#include <algorithm>
#include <cctype>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

engine_settings absent() {
  engine_settings engine;
  engine.name = "absent";
  engine.endpoint = "unix:///nonexistent/docker.sock";
  engine.labels = {"absent"};
  return engine;
}

struct parsed {
  explicit parsed(const std::string& text) {
    auto read = parser.parse(text);
    REQUIRE(read.has_value());
    root = *read;
  }
  std::string text(std::string_view pointer) const {
    return std::string{root.at_pointer(pointer).get_string().value()};
  }
  json::parser parser;
  json::element root;
};

simdjson::dom::object fields_of(json::element x) {
  return x.get_object().value();
}

std::string ids_of(const std::string& page, std::vector<std::string>& into) {
  parsed read{page};
  simdjson::dom::array tasks = read.root["tasks"].get_array().value();
  for (auto one : tasks)
    into.emplace_back(one["id"].get_string().value());
  std::string_view cursor;
  return read.root["cursor"].get(cursor) == simdjson::SUCCESS ? std::string{cursor} : std::string{};
}

/// The `id:` and `event:` lines of a stream of Server-Sent Events, in their order.
std::vector<std::string> lines_of(const std::string& stream, std::string_view field) {
  std::vector<std::string> values;
  for (std::size_t at = 0; at < stream.size();) {
    auto end = std::min(stream.find('\n', at), stream.size());
    auto line = std::string_view{stream}.substr(at, end - at);
    if (line.starts_with(field))
      values.emplace_back(line.substr(field.size()));
    at = end + 1;
  }
  return values;
}

/// Collects the names that a type's `inspect` tells.
struct field_names {
  std::set<std::string> names;

  template <class... Fields>
  bool fields(Fields...) {
    return true;
  }
  template <class T>
  field_names& object(T&) {
    return *this;
  }
  template <class T>
  int field(std::string_view name, T&) {
    names.emplace(name);
    return 0;
  }
};

} // namespace

TEST_CASE("a submitted task is answered with its place, found there, and says why it waits") {
  test_agent agent{{absent()}};
  auto answer = agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test","command":["true"],"name":"first"})");
  CHECK(answer.status == 202);
  auto id = parsed{answer.body}.text("/id");
  CHECK(answer.header("Location") == "/v1/tasks/" + id);
  auto found = agent.http("GET", "/v1/tasks/" + id);
  CHECK(found.status == 200);
  parsed task{found.body};
  CHECK(task.text("/state") == "queued");
  CHECK(task.text("/spec/image") == "busybox:test");
  CHECK(task.root["outcome"].is_null());
  CHECK(task.text("/waiting/0/engine") == "absent");
  CHECK_FALSE(task.text("/waiting/0/reason").empty());
}

TEST_CASE("a task for labels that no engine has says so") {
  test_agent agent{{absent()}};
  auto id = agent.submit([] {
    auto spec = busybox("true");
    spec.engine.labels = {"gpu"};
    return spec;
  }());
  auto reason = parsed{agent.http("GET", "/v1/tasks/" + to_string(id)).body}.text("/waiting/0/reason");
  CHECK(reason.find("gpu") != std::string::npos);
}

TEST_CASE("a POST that is repeated with its Idempotency-Key makes no second task") {
  test_agent agent{{absent()}};
  auto body = R"({"image":"busybox:test"})";
  auto first = agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "k1"}}, body);
  auto second = agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "k1"}}, body);
  auto other = agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "k2"}}, body);
  CHECK(first.status == 202);
  CHECK(second.status == 200);
  CHECK(other.status == 202);
  CHECK(parsed{first.body}.text("/id") == parsed{second.body}.text("/id"));
  CHECK(parsed{first.body}.text("/id") != parsed{other.body}.text("/id"));
  std::vector<std::string> ids;
  ids_of(agent.http("GET", "/v1/tasks").body, ids);
  CHECK(ids.size() == 2);
  CHECK(agent.http("POST", "/v1/tasks", {{"Idempotency-Key", std::string(257, 'k')}}, body).status == 400);
  auto with_key = R"({"image":"busybox:test","dedupe_key":"k3"})";
  CHECK(agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "k4"}}, with_key).status == 400);
  CHECK(agent.http("POST", "/v1/tasks", {{"Idempotency-Key", "k3"}}, with_key).status == 202);
}

TEST_CASE("every mistake of a client is a problem document that names what is wrong") {
  test_agent agent{{absent()}};
  auto id = to_string(agent.submit(busybox("true")));
  struct row {
    std::string method, target, body;
    int status;
    std::string says;
  };
  for (const auto& [method, target, body, status, says] : std::vector<row>{
         {"POST", "/v1/tasks", "{", 400, "not valid JSON"},
         {"POST", "/v1/tasks", "[]", 400, "an array"},
         {"POST", "/v1/tasks", R"({"command":["a"]})", 400, "image"},
         {"POST", "/v1/tasks", R"({"image":"a","resources":{"memroy":1}})", 400,
          R"(resources.memroy: unknown field, did you mean \"memory\"?)"},
         {"POST", "/v1/tasks", R"({"image":"a","timeout":"soon"})", 400, "timeout"},
         {"POST", "/v1/tasks", R"({"image":"a","priviledged":true})", 400,
          R"(priviledged: unknown field, did you mean \"privileged\"?)"},
         {"POST", "/v1/tasks", R"({"image":"a","privileged":true})", 403, "rule privileged"},
         {"POST", "/v1/tasks", R"({"image":"a","mounts":[{"type":"bind","source":"/","target":"/host"}]})", 403,
          "mounts.engine-socket"},
         {"POST", "/v1/tasks", R"({"image":"a","network":"bridge"})", 403, "networks.allow"},
         {"POST", "/v1/tasks", R"({"image":"a","secrets":{"DOCKER_AUTH_CONFIG":"{\"credsStore\":\"pass\"}"}})", 403,
          "secrets.registry"},
         {"GET", "/v1/tasks?state=sleeping", "", 400, "state"},
         {"GET", "/v1/tasks?limit=0", "", 400, "limit"},
         {"GET", "/v1/tasks?limit=1001", "", 400, "limit"},
         {"GET", "/v1/tasks?cursor=x", "", 400, "cursor"},
         {"GET", "/v1/tasks?colour=red", "", 400, "colour: unknown parameter"},
         {"GET", "/v1/tasks?limit=1&limit=2", "", 400, "limit: is given more than once"},
         {"GET", "/v1/tasks/7", "", 404, "is not a valid task id"},
         {"GET", "/v1/tasks/019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a", "", 404, "019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a"},
         {"POST", "/v1/tasks/019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a/cancel", "", 404, "019a6f0e"},
         {"GET", "/v1/tasks/019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a/wait", "", 404, "019a6f0e"},
         {"GET", "/v1/tasks/019a6f0e-52b1-7c58-9d2c-6f5d7f0f4f4a/logs", "", 404, "019a6f0e"},
         {"GET", "/v1/tasks/" + id + "/wait?timeout=2h", "", 400, "timeout"},
         {"GET", "/v1/tasks/" + id + "/logs?follow=maybe", "", 400, "follow"},
         {"GET", "/v1/tasks/" + id + "/logs?stream=stdlog", "", 400, "stream"},
         {"GET", "/v1/tasks/" + id + "/logs?attempt=2", "", 404, "no attempt 2"},
         {"GET", "/v1/tasks/" + id + "/logs?=x", "", 400, "unknown parameter"},
         {"GET", "/v1/tasks/" + id + "/events?after=-1", "", 400, "after"},
         {"DELETE", "/v1/tasks/" + id, "", 405, "GET, HEAD"},
         {"PUT", "/v1/tasks", "", 405, "GET, HEAD, POST"},
         {"GET", "/v1/tasks/" + id + "/cancel", "", 405, "POST"},
         {"POST", "/v1/agents/nobody/drain", "", 404, "nobody"},
         {"GET", "/v2/tasks", "", 404, "/v2/tasks"},
         {"GET", "/v1/tasks/../../etc/passwd", "", 400, "malformed"},
       }) {
    INFO(method << ' ' << target << ' ' << body);
    auto answer = agent.http(method, target, {}, body);
    INFO(answer.body);
    CHECK(answer.status == status);
    CHECK(answer.header("Content-Type") == "application/problem+json");
    CHECK(answer.body.find(says) != std::string::npos);
    if (status == 405)
      CHECK(answer.header("Allow") == says);
  }
}

TEST_CASE("what is too large is refused before it is read, and the agent serves on") {
  test_agent agent{{absent()}};
  CHECK(agent.http("POST", "/v1/tasks", {}, std::string(5 << 20, ' ')).status == 413);
  CHECK(agent.http("GET", "/healthz", {{"X-Large", std::string(64 << 10, 'x')}}).status == 431);
  CHECK(agent.http("GET", "/healthz").status == 200);
}

TEST_CASE("a parameter that nothing takes is an error, on whatever route") {
  test_agent agent{{}};
  auto made = agent.submit(busybox("true"));
  auto id = to_string(made);
  for (const auto& [method, target] :
       std::vector<std::pair<std::string, std::string>>{{"POST", "/v1/tasks"},
                                                        {"GET", "/v1/tasks"},
                                                        {"GET", "/v1/tasks/" + id},
                                                        {"GET", "/v1/tasks/" + id + "/wait"},
                                                        {"GET", "/v1/tasks/" + id + "/logs"},
                                                        {"GET", "/v1/tasks/" + id + "/events"},
                                                        {"GET", "/v1/tasks/" + id + "/files"},
                                                        {"POST", "/v1/tasks/" + id + "/retry"},
                                                        {"POST", "/v1/tasks/" + id + "/cancel"},
                                                        {"GET", "/v1/events"},
                                                        {"GET", "/v1/engines"},
                                                        {"GET", "/v1/agents"},
                                                        {"GET", "/v1/sinks"},
                                                        {"POST", "/v1/agents/test/drain"}}) {
    CAPTURE(method, target);
    auto answer = agent.http(method, target + "?bogus=1", {}, method == "POST" ? R"({"image":"a"})" : "");
    CHECK(answer.status == 400);
    CHECK(answer.body.find("bogus") != std::string::npos);
  }
  CHECK(agent.find(made).state == task_state::queued);
}

TEST_CASE("an empty query asks for nothing") {
  test_agent agent{{absent()}};
  auto id = to_string(agent.submit(busybox("true")));
  for (auto target : {"/v1/tasks?", "/v1/tasks?&", "/v1/engines?"})
    CHECK(agent.http("GET", target).status == 200);
  for (auto query : {"?", "?&", "?follow=0&"})
    CHECK(agent.http("GET", "/v1/tasks/" + id + "/logs" + query).status == 200);
}

TEST_CASE("pages hold every task once, newest first, and filters hold together") {
  test_agent agent{{absent()}};
  std::vector<std::string> made;
  for (int i = 0; i < 25; ++i) {
    auto spec = busybox("true");
    spec.labels["parity"] = i % 2 ? "odd" : "even";
    if (i % 3 == 0)
      spec.labels["third"] = "";
    spec.name = i == 7 ? "seven" : "";
    made.push_back(to_string(agent.submit(spec)));
  }
  std::vector<std::string> seen;
  std::string cursor;
  int pages = 0;
  do {
    cursor = ids_of(agent.http("GET", "/v1/tasks?limit=10" + (cursor.empty() ? "" : "&cursor=" + cursor)).body, seen);
    ++pages;
  } while (!cursor.empty());
  CHECK(pages == 3);
  CHECK(seen == std::vector<std::string>(made.rbegin(), made.rend()));
  auto count = [&](const std::string& query) {
    std::vector<std::string> ids;
    ids_of(agent.http("GET", "/v1/tasks?" + query).body, ids);
    return ids.size();
  };
  CHECK(count("label=parity%3Dodd") == 12);
  CHECK(count("label=third") == 9);
  CHECK(count("label=third&label=parity%3Deven") == 5);
  CHECK(count("name=seven") == 1);
  CHECK(count("state=queued") == 25);
  CHECK(count("state=finished") == 0);
}

TEST_CASE("a list leaves out what may be megabytes, and long tasks end its page early") {
  test_agent agent{{absent()}};
  std::vector<std::string> made;
  auto text = std::string(3'000'000, 'x');
  for (int i = 0; i < 16; ++i) {
    auto spec = busybox("true");
    if (i % 4 == 0)
      spec.stdin_text = text;
    else
      spec.env["NOTE"] = std::string(900'000, 'y');
    made.push_back(to_string(agent.submit(spec)));
  }
  std::vector<std::string> seen;
  std::string cursor;
  int pages = 0;
  do {
    auto body = agent.http("GET", "/v1/tasks" + (cursor.empty() ? "" : "?cursor=" + cursor)).body;
    CHECK(body.size() < (4 << 20) + 1'000'000);
    CHECK(body.find("xxxxxxxx") == std::string::npos);
    auto page = boost::json::parse(body);
    for (const auto& one : page.at("tasks").as_array()) {
      const auto& spec = one.at("spec").as_object();
      CHECK_FALSE(spec.contains("stdin"));
      CHECK(spec.contains("stdin_bytes") != spec.contains("env"));
      if (auto bytes = spec.if_contains("stdin_bytes"))
        CHECK(*bytes == 3'000'000);
    }
    cursor = ids_of(body, seen);
    ++pages;
  } while (!cursor.empty() && pages < 20);
  CHECK(pages > 2);
  CHECK(seen == std::vector<std::string>(made.rbegin(), made.rend()));
  auto path = "/v1/tasks/" + made.front();
  CHECK(boost::json::parse(agent.http("GET", path).body).at_pointer("/spec/stdin").as_string() == text);
  CHECK(boost::json::parse(agent.http("POST", path + "/cancel").body).at_pointer("/spec/stdin_bytes") == 3'000'000);
  CHECK(boost::json::parse(agent.http("GET", path + "/wait").body).at_pointer("/spec/stdin").as_string() == text);
}

TEST_CASE("a queued task is cancelled at once, and whoever waits hears of it") {
  test_agent agent{{absent()}};
  auto id = agent.submit(busybox("true"));
  auto path = "/v1/tasks/" + to_string(id);
  CHECK(agent.http("GET", path + "/wait?timeout=50ms").status == 202);
  CHECK(agent.http("POST", path + "/cancel").status == 200);
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(ended.attempts.empty());
  CHECK(agent.http("POST", path + "/cancel").status == 200); // a second time changes nothing
  CHECK(agent.http("GET", path + "/logs?follow=1").body.empty());
  auto events = agent.stream(path + "/events", {}, [](const std::string&) { return false; });
  CHECK(lines_of(events, "event: ") == std::vector<std::string>{"accepted", "finished", "end"});
}

TEST_CASE("a stream of events that was cut is taken up with Last-Event-ID: none is lost, none comes twice") {
  test_agent agent{{absent()}};
  for (int i = 0; i < 5; ++i)
    agent.submit(busybox("true"));
  auto three = [](const std::string& all) { return lines_of(all, "id: ").size() >= 3; };
  auto first = lines_of(agent.stream("/v1/events", {}, three), "id: ");
  first.resize(3);
  auto five_more = agent.submit(busybox("true")); // while nobody listened
  agent.cancel(five_more);
  auto rest = lines_of(agent.stream("/v1/events", {{"Last-Event-ID", first.back()}},
                                    [](const std::string& all) { return lines_of(all, "id: ").size() >= 4; }),
                       "id: ");
  first.insert(first.end(), rest.begin(), rest.end());
  CHECK(first == std::vector<std::string>{"1", "2", "3", "4", "5", "6", "7"});
}

TEST_CASE("the agent lives without an engine, but is not ready, and says which engine is missing and why") {
  test_agent agent{{absent()}};
  CHECK(agent.http("GET", "/healthz").status == 200);
  agent.await_engine("absent", engine_state::down);
  auto answer = agent.http("GET", "/readyz");
  CHECK(answer.status == 503);
  parsed body{answer.body};
  CHECK(body.text("/missing/0").starts_with("engine ")); // which, and why not
  CHECK(body.text("/engines/0/name") == "absent");
  CHECK(body.text("/engines/0/message").find("/nonexistent/docker.sock") != std::string::npos);
}

TEST_CASE("who is not known hears whether the agent is ready, and not what it has") {
  token_file tokens;
  auto token = tokens.make("watcher", "read");
  test_agent agent{{absent()}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.api_listen = {listen_address()};
                   }};
  agent.use_token(token);
  agent.await_engine("absent", engine_state::down);
  CHECK(agent.http("GET", "/readyz").body.find("docker.sock") != std::string::npos);
  for (std::string who : {"", "davit_000000000000_wrong"}) {
    agent.use_token(who);
    auto answer = agent.http("GET", "/readyz");
    CHECK(answer.status == 503);
    CHECK(answer.body.find("no engine is ready") != std::string::npos);
    for (auto hidden : {"absent", "docker.sock", "engines"})
      CHECK(answer.body.find(hidden) == std::string::npos);
  }
}

TEST_CASE("a draining agent takes no tasks and is not ready") {
  test_agent agent{{absent()}};
  CHECK(agent.http("POST", "/v1/agents/test/drain").status == 202);
  auto refused = agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test"})");
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  CHECK(agent.http("GET", "/readyz").body.find("draining") != std::string::npos);
  CHECK(agent.http("GET", "/v1/agents").body.find("\"draining\"") != std::string::npos);
}

TEST_CASE("the metrics have the names and units that the documentation gives them") {
  test_agent agent{{absent()}};
  agent.cancel(agent.submit(busybox("true")));
  agent.submit(busybox("true"));
  agent.http("GET", "/nothing");
  agent.await_engine("absent", engine_state::down);
  CHECK(agent.metric("davit_tasks_accepted_total") == 2);
  CHECK(agent.metric("davit_tasks{state=\"queued\"}") == 1);
  CHECK(agent.metric("davit_http_requests_total{status=\"404\"}") == 1);
  auto all = agent.call("GET", "/metrics");
  for (auto name : {"davit_build_info{version=", "davit_engine_up{engine=\"absent\"} 0", "davit_log_bytes_total",
                    "davit_log_dropped_bytes_total"})
    CHECK(all.find(name) != std::string::npos);
}

TEST_CASE("the OpenAPI document names what there is, and the task spec as it is") {
  test_agent agent{{absent()}};
  auto text = agent.call("GET", "/openapi.json");
  parsed document{text};
  auto id = to_string(agent.submit(busybox("true")));
  for (auto [path, operations] : fields_of(document.root["paths"].value()))
    for (auto [method, operation] : fields_of(operations)) {
      std::string target{path};
      for (auto [from, to] : {std::pair{std::string{"{id}"}, id}, std::pair{std::string{"{name}"}, std::string{"test"}},
                              std::pair{std::string{"{path}"}, std::string{"a"}},
                              std::pair{std::string{"{digest}"}, "sha256:" + std::string(64, '0')}})
        if (auto at = target.find(from); at != std::string::npos)
          target.replace(at, from.size(), to);
      if (target.ends_with("/wait"))
        target += "?timeout=1ms";
      if (target.ends_with("/drain"))
        continue; // it would end the test
      INFO(method << ' ' << target);
      std::string verb{method};
      std::transform(verb.begin(), verb.end(), verb.begin(),
                     [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
      auto answer = agent.http(verb, target, {}, verb == "POST" ? R"({"image":"a"})" : "");
      CHECK(answer.body.find("there is nothing at") == std::string::npos); // no such upload, output or blob may be
      CHECK(answer.status != 405);
      CHECK_FALSE(operation["operationId"].get_string().value().empty());
    }
  // Every property is a field...
  std::set<std::string> described;
  for (auto [name, schema] : fields_of(document.root.at_pointer("/components/schemas/TaskSpec/properties").value())) {
    if (bool only_in_answers = false; !schema["readOnly"].get(only_in_answers) && only_in_answers)
      continue;
    described.emplace(name);
    auto body = "{\"image\":\"a\",\"" + std::string{name} + "\":null}";
    auto read = json::read<task_spec>(std::string_view{body}, json::unknown_fields::refuse);
    if (!read)
      CHECK(read.error().text().find("unknown field") == std::string::npos);
  }
  // ...and every field a property.
  field_names fields;
  task_spec spec;
  inspect(fields, spec);
  CHECK(fields.names == described);
}
