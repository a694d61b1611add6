// Several owners at one agent: each sees and stops its own tasks, and nothing tells of another's. The requests
// come from the OpenAPI document, so that a new route is tried too.
#include "cli/client.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"
#include "json/read.hpp"

#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

#include <fstream>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

constexpr auto a_task = R"({"image":"busybox:test","command":["true"],"dedupe_key":"nightly"})";

std::string with(std::string text, const std::string& what, const std::string& by) {
  if (auto at = text.find(what); at != std::string::npos)
    text.replace(at, what.size(), by);
  return text;
}

struct owners {
  token_file tokens;
  std::string listen = listen_address();
  std::string a = tokens.make("a1", "submit,read,cancel", {"--owner", "team-a"}),
              b = tokens.make("b1", "submit,read,cancel", {"--owner", "team-b"}),
              watcher = tokens.make("watcher", "read:all"), stopper = tokens.make("stopper", "cancel:all"),
              only_read = tokens.make("r", "read", {"--owner", "team-a"}),
              only_submit = tokens.make("s", "submit", {"--owner", "team-a"}), admin = tokens.make("root", "admin"),
              scraper = tokens.make("prometheus", "metrics");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};

  transport::http_response
  ask(const std::string& token, const std::string& method, const std::string& target, const std::string& body = {}) {
    agent.use_token(token);
    return agent.http(method, target, {}, body);
  }
  std::string submit(const std::string& token) {
    auto answer = ask(token, "POST", "/v1/tasks", a_task);
    REQUIRE((answer.status == 202 || answer.status == 200));
    return std::string{boost::json::parse(answer.body).at("id").as_string()};
  }
  std::set<std::string> listed(const std::string& token, const std::string& query = {}) {
    std::set<std::string> ids;
    auto page = boost::json::parse(ask(token, "GET", "/v1/tasks" + query).body);
    for (const auto& one : page.at("tasks").as_array())
      ids.emplace(one.at("id").as_string());
    return ids;
  }
};

} // namespace

TEST_CASE_METHOD(owners, "each route, by whoever has no token, too little of one, another owner's, or the right one") {
  auto id = submit(a);
  std::string unknown = "01900000-0000-7000-8000-000000000000";
  auto document = boost::json::parse(ask(a, "GET", "/openapi.json").body);
  std::size_t tried = 0;
  for (const auto& [path, operations] : document.at("paths").as_object())
    for (const auto& [verb, operation] : operations.as_object()) {
      if (verb == "parameters" || !path.starts_with("/v1/"))
        continue;
      std::string method = verb == "get" ? "GET" : verb == "patch" ? "PATCH" : verb == "delete" ? "DELETE" : "POST";
      std::string route{path};
      // What lies in a container, came out of one or goes into one needs `submit`.
      auto of_files = route.find("/outputs/{") != std::string::npos || route.starts_with("/v1/blobs")
                   || route.starts_with("/v1/trees") || route.starts_with("/v1/uploads");
      auto reads = method == "GET" && !of_files && !route.ends_with("/files");
      INFO(method << ' ' << route);
      ++tried;
      auto extra = route.ends_with("/wait")                         ? "?timeout=10ms"
                 : route.ends_with("/files")                        ? "?path=/x"
                 : method == "PATCH"                                ? "?offset=0"
                 : method == "DELETE" && route.ends_with("/caches") ? "?prefix="
                                                                    : "";
      auto target = [&](const std::string& task) {
        auto named = with(with(route, "{id}", task), "{name}", "nobody");
        return with(with(named, "{path}", "x"), "{digest}", "sha256:" + std::string(64, '0')) + extra;
      };
      auto status = [&](const std::string& token) {
        return ask(token, method, target(id), route == "/v1/tasks" && method == "POST" ? a_task : "").status;
      };
      CHECK(status("") == 401);
      CHECK(status(reads ? only_submit : only_read) == 403);
      if (route.ends_with("/drain")) {
        CHECK(status(a) == 403);
        continue;
      }
      if (route.find("{id}") != std::string::npos) {
        auto hidden = ask(b, method, target(id)), missing = ask(b, method, target(unknown));
        CHECK(hidden.status == 404);
        CHECK(with(hidden.body, id, "") == with(missing.body, unknown, ""));
        CHECK(status(watcher) == (reads ? status(a) : 403));
      }
      if (of_files) // there is none
        CHECK(std::set{201, 400, 404}.contains(static_cast<int>(status(a))));
      else if (!route.ends_with("/cancel")) // it would be the last
        CHECK(std::set{200, 202, 409}.contains(static_cast<int>(status(a))));
    }
  CHECK(tried >= 13);
  CHECK(ask(stopper, "GET", "/v1/tasks/" + id).status == 403);
  CHECK(ask(b, "POST", "/v1/tasks/" + id + "/cancel").status == 404);
  CHECK(boost::json::parse(ask(a, "GET", "/v1/tasks/" + id).body).at("state").as_string() == "queued");
  for (auto* query :
       {"?within=", "?within=soon", "?within=25h", "?within=-1s", "?within=10", "?grace=1s", "?within=1s&within=2s"}) {
    INFO(query);
    auto refused = ask(a, "POST", "/v1/tasks/" + id + "/cancel" + query);
    CHECK(refused.status == 400);
    CHECK(refused.body.find(std::string{query}.substr(1, 5)) != std::string::npos);
  }
  CHECK(ask(b, "POST", "/v1/tasks/" + id + "/cancel?within=1s").status == 404);
  CHECK(ask(stopper, "POST", "/v1/tasks/" + id + "/cancel?within=1s").status == 200);
  CHECK(boost::json::parse(ask(a, "GET", "/v1/tasks/" + id).body).at("state").as_string() == "finished");
}

TEST_CASE_METHOD(owners, "a token with a cache scope keeps and removes nothing that is trusted more") {
  auto pr = tokens.make("pr", "submit,read", {"--owner", "team-a", "--cache-scope", "pr"});
  agent.restart();
  auto remove = [&](const std::string& token, const std::string& scope) {
    return ask(token, "DELETE", "/v1/caches?prefix=&scope=" + scope).status;
  };
  CHECK(remove(a, "") == 200);
  CHECK(remove(a, "pr/7") == 200);
  CHECK(remove(pr, "pr") == 200);
  CHECK(remove(pr, "pr/7") == 200);
  for (const std::string scope : {"", "prs", "p", "x/pr", "pr2/7", "%2Fpr"}) {
    CAPTURE(scope);
    CHECK(remove(pr, scope) == 403);
  }
  auto submit_with = [&](const std::string& more) {
    return ask(pr, "POST", "/v1/tasks", R"({"image":"busybox:test","caches":[{"key":"k","path":"/c"}])" + more + "}");
  };
  for (const std::string scope : {"prs", "x", "pr2/7", "/pr", "pr/", "pr//7"}) {
    CAPTURE(scope);
    auto refused = submit_with(R"(,"cache_scope":")" + scope + '"');
    CHECK(refused.status == 403);
    CHECK(refused.body.find("caches.scope") != std::string::npos);
  }
  auto scope_of = [&](const std::string& more) {
    auto id = boost::json::parse(submit_with(more).body).at("id").as_string();
    auto spec = boost::json::parse(ask(pr, "GET", "/v1/tasks/" + std::string{id}).body).at("spec").as_object();
    return spec.contains("cache_scope") ? std::string{spec.at("cache_scope").as_string()} : "";
  };
  CHECK(scope_of("") == "pr");
  CHECK(scope_of(R"(,"cache_scope":"pr/7")") == "pr/7");
}

TEST_CASE_METHOD(owners, "lists, events and keys are each owner's own") {
  auto of_a = submit(a), of_b = submit(b);
  CHECK(of_a != of_b); // with the same key
  CHECK(submit(a) == of_a);
  CHECK(submit(only_submit) == of_a); // another token of the same owner
  CHECK(submit(b) == of_b);
  CHECK(listed(a) == std::set{of_a});
  CHECK(listed(b) == std::set{of_b});
  CHECK(listed(only_read) == std::set{of_a});
  CHECK(listed(watcher) == std::set{of_a, of_b});
  CHECK(listed(admin) == std::set{of_a, of_b});
  CHECK(listed(watcher, "?owner=team-b") == std::set{of_b});
  CHECK(listed(a, "?owner=team-a") == std::set{of_a});
  CHECK(ask(a, "GET", "/v1/tasks?owner=team-b").status == 403);
  CHECK(ask(a, "GET", "/v1/events").body.find(of_b) == std::string::npos);
  CHECK(ask(a, "GET", "/v1/events").body.find(of_a) != std::string::npos);
  CHECK(ask(watcher, "GET", "/v1/events").body.find(of_b) != std::string::npos);
}

TEST_CASE_METHOD(owners, "who reads another owner's tasks is in the audit log, and who reads its own is not") {
  auto id = submit(a);
  auto lines = [&](const std::string& who) {
    std::ifstream in{agent.data() + "/audit.log"};
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);)
      if (line.find("\"token " + who + " ") != std::string::npos && line.find("\"GET\"") != std::string::npos)
        all.push_back(line);
    return all;
  };
  const std::vector<std::string> targets{"/v1/tasks/" + id,
                                         "/v1/tasks/" + id + "/logs",
                                         "/v1/tasks/" + id + "/events",
                                         "/v1/tasks/" + id + "/wait?timeout=1ms",
                                         "/v1/tasks",
                                         "/v1/events"};
  for (const auto& target : targets)
    for (const auto& token : {a, watcher, admin})
      CHECK(ask(token, "GET", target).status < 300);
  ask(watcher, "GET", "/v1/tasks?owner=team-b"); // there is nothing to read
  CHECK(lines("a1").empty());
  for (auto who : {"watcher", "root"}) {
    auto said = lines(who);
    REQUIRE(said.size() == targets.size());
    for (std::size_t i = 0; i < said.size(); ++i)
      CHECK(said[i].find("\"path\":\"" + targets[i].substr(0, targets[i].find('?')) + "\"") != std::string::npos);
  }
}

TEST_CASE_METHOD(owners, "a stream of events tells an owner of its own tasks, also of those that come later") {
  auto before = submit(a);
  raw_client reader{static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)))};
  reader.send("GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + a
              + "\r\n\r\n");
  std::string told, other;
  for (int i = 0; i < 100 && told.find(before) == std::string::npos; ++i)
    told += reader.read({}, 100);
  auto submit_another = [&](const std::string& token, const std::string& key) {
    auto answer = ask(token, "POST", "/v1/tasks", with(a_task, "nightly", key));
    return std::string{boost::json::parse(answer.body).at("id").as_string()};
  };
  for (int i = 0; i < 20; ++i)
    other = submit_another(b, std::to_string(i));
  auto after = submit_another(a, "later");
  for (int i = 0; i < 100 && told.find(after) == std::string::npos; ++i)
    told += reader.read({}, 100);
  CHECK(told.find(after) != std::string::npos);
  CHECK(told.find(other) == std::string::npos);
  std::size_t events = 0;
  for (auto at = told.find("\nid: "); at != std::string::npos; at = told.find("\nid: ", at + 1))
    ++events;
  CHECK(events == 2);
}

TEST_CASE_METHOD(owners, "who reads its own tasks alone has metrics of those, and learns nothing of others'") {
  submit(a);
  ask(a, "POST", "/v1/tasks", with(a_task, "nightly", "second"));
  auto text = [&](const std::string& token) {
    auto answer = ask(token, "GET", "/metrics");
    CHECK(answer.status == 200);
    return answer.body;
  };
  auto of_b = text(b);
  for (int i = 0; i < 20; ++i)
    ask(a, "POST", "/v1/tasks", with(a_task, "nightly", std::to_string(i)));
  CHECK(text(b) == of_b); // whatever another owner does
  CHECK(of_b.find("\ndavit_tasks{state=\"queued\"} 0\n") != std::string::npos);
  CHECK(of_b.find("\ndavit_tasks_accepted_total 0\n") != std::string::npos);
  CHECK(of_b.find("engine") == std::string::npos);
  submit(b);
  CHECK(eventually([&] { return text(b).find("\ndavit_tasks{state=\"queued\"} 1\n") != std::string::npos; }));
  CHECK(text(b).find("\ndavit_tasks_accepted_total 1\n") != std::string::npos);
  CHECK(text(b).find("team-a") == std::string::npos);
  for (const auto& token : {a, only_read}) {
    CHECK(eventually([&] { return text(token).find("\ndavit_tasks{state=\"queued\"} 22\n") != std::string::npos; }));
    CHECK(text(token).find("davit_http_requests_total") == std::string::npos);
  }
  for (const auto& token : {scraper, watcher, admin}) {
    auto all = text(token);
    CHECK(all.find("\ndavit_tasks{state=\"queued\"} 23") != std::string::npos);
    CHECK(all.find("\ndavit_http_requests_total") != std::string::npos);
    CHECK(all.find("\ndavit_owner_tasks{owner=\"team-a\",state=\"queued\"} 22\n") != std::string::npos);
    CHECK(all.find("\ndavit_owner_tasks{owner=\"team-b\",state=\"queued\"} 1\n") != std::string::npos);
  }
  CHECK(ask(only_submit, "GET", "/metrics").status == 403);
  CHECK(ask(stopper, "GET", "/metrics").status == 403);
  CHECK(ask("", "GET", "/metrics").status == 401);
  for (auto target : {"/v1/tasks", "/v1/events", "/v1/engines"})
    CHECK(ask(scraper, "GET", target).status == 403);
}

TEST_CASE("metrics that are open to everyone name no owner") {
  token_file tokens;
  auto a = tokens.make("a1", "submit,read", {"--owner", "team-a"});
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.open_metrics = true;
                   }};
  agent.use_token(a);
  CHECK(agent.http("POST", "/v1/tasks", {}, a_task).status == 202);
  agent.use_token("");
  auto all = agent.http("GET", "/metrics");
  CHECK(all.status == 200);
  CHECK(all.body.find("\ndavit_http_requests_total") != std::string::npos);
  CHECK(all.body.find("team-a") == std::string::npos);
  CHECK(all.body.find("davit_owner_tasks") == std::string::npos);
}

TEST_CASE("what a log service says, which may repeat what it was sent, is for who may read all tasks") {
  token_file tokens;
  auto reader = tokens.make("r", "submit,read"), watcher = tokens.make("w", "read:all");
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     sink_settings sink;
                     sink.name = "s";
                     sink.type = sink_type::loki;
                     sink.url = "http://127.0.0.1:1"; // nobody listens there
                     settings.logs.sinks = {sink};
                   }};
  auto said = [&](const std::string& token) {
    agent.use_token(token);
    return std::string{
      boost::json::parse(agent.http("GET", "/v1/sinks").body).at("sinks").at(0).at("message").as_string()};
  };
  agent.use_token(reader);
  auto answer = agent.http("POST", "/v1/tasks", {}, a_task);
  REQUIRE(answer.status == 202);
  attempt_key key{{}, 1};
  REQUIRE(from_string(std::string{boost::json::parse(answer.body).at("id").as_string()}, key.task));
  const auto& logs = agent.process().addresses().logs; // a log to send, without an engine
  caf::anon_send(logs, open_atom_v, key);
  caf::anon_send(logs, note_atom_v, key, std::string{"a remark"});
  caf::anon_send(logs, close_atom_v, key, false);
  CHECK(eventually([&] { return said(watcher).find("127.0.0.1") != std::string::npos; }));
  CHECK(said(reader).find("read:all shows why") != std::string::npos);
  CHECK(said(reader).find("127.0.0.1") == std::string::npos);
}
