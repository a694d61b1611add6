// Identity providers: who is let in by issuer, audience and claims, whose its tasks are, and where the keys come from.
#include "api/issuers.hpp"
#include "fixture/captured_log.hpp"
#include "fixture/certificates.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_issuer.hpp"
#include "fixture/token_file.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

#include <atomic>
#include <fstream>
#include <mutex>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct fixed_keys final : api::jwks_source {
  explicit fixed_keys(const std::string& text) {
    std::string why;
    auto set = api::key_set::parse(text, why);
    REQUIRE(set);
    keys = std::make_shared<const api::key_set>(*set);
  }
  view look(const api::jwt&) override { return {keys, false}; }
  void tend() override {}
  std::uint64_t version() override { return 1; }
  std::shared_ptr<const api::key_set> keys;
};

issuer_settings gitlab(const std::string& name = "gitlab") {
  issuer_settings settings;
  settings.name = name;
  settings.issuer = "https://gitlab.example.com";
  settings.audience = "davit";
  settings.owner = "{project_path}";
  settings.require = {"ref_protected=true", "project_path=group/.*"};
  return settings;
}

/// The claims of a job, as text; with some that are changed, or left out if they are null.
std::string claims_of(const boost::json::object& changes = {}) {
  auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  boost::json::object all{{"iss", "https://gitlab.example.com"},
                          {"aud", "davit"},
                          {"sub", "project_path:group/app:ref_type:branch:ref:main"},
                          {"iat", now.count()},
                          {"nbf", now.count() - 5},
                          {"exp", now.count() + 3600},
                          {"project_path", "group/app"},
                          {"ref_protected", "true"},
                          {"job_id", "302"}};
  for (const auto& [name, value] : changes)
    if (value.is_null())
      all.erase(name);
    else
      all[name] = value;
  return boost::json::serialize(all);
}

std::int64_t in(std::chrono::seconds later) {
  return std::chrono::duration_cast<std::chrono::seconds>((std::chrono::system_clock::now() + later).time_since_epoch())
    .count();
}

} // namespace

TEST_CASE("an issuer's ceilings are those of its tokens") {
  signing_key key{"ES256", "k"};
  auto settings = gitlab();
  settings.ceilings = {"memory=64m", "timeout=1h"};
  api::issuer_list issuers;
  issuers.add({settings, std::make_unique<fixed_keys>(key_set_of({key.jwk()}))});
  std::string why;
  auto token = api::jwt::parse(key.sign(claims_of()), why);
  REQUIRE(token);
  auto judged = issuers.judge(*token, std::chrono::system_clock::now());
  REQUIRE(judged.known);
  CHECK(judged.known->who.limits.whose == "the issuer gitlab");
  CHECK(judged.known->who.limits.ceilings.memory == byte_size{64ull << 20});
  CHECK(judged.known->who.limits.ceilings.timeout == 1h);
}

TEST_CASE("a job is let in by its issuer, audience, times and claims") {
  signing_key key{"ES256", "k"};
  api::issuer_list issuers;
  issuers.add({gitlab(), std::make_unique<fixed_keys>(key_set_of({key.jwk()}))});
  auto judge = [&](const boost::json::object& changes) {
    std::string why;
    auto token = api::jwt::parse(key.sign(claims_of(changes)), why);
    REQUIRE(token);
    return issuers.judge(*token, std::chrono::system_clock::now());
  };
  auto good = judge({});
  INFO(good.why);
  REQUIRE(good.known);
  CHECK(good.known->who.owner == "gitlab/group/app");
  CHECK(good.known->who.name == "issuer gitlab subject project_path:group/app:ref_type:branch:ref:main job_id 302");
  CHECK(good.known->who.scopes == std::vector{api_scope::submit, api_scope::read, api_scope::cancel});
  CHECK(judge({{"aud", boost::json::array{"x", "davit"}}}).known);
  CHECK(judge({{"ref_protected", true}}).known);
  CHECK(judge({{"nbf", nullptr}, {"iat", nullptr}}).known);
  CHECK(judge({{"exp", in(-50s)}}).known);
  for (const boost::json::object& changes :
       std::vector<boost::json::object>{{{"iss", "https://gitlab.example.com/"}},
                                        {{"iss", "https://GITLAB.example.com"}},
                                        {{"iss", boost::json::array{"https://gitlab.example.com"}}},
                                        {{"iss", nullptr}},
                                        {{"aud", "davit2"}},
                                        {{"aud", "Davit"}},
                                        {{"aud", boost::json::array{}}},
                                        {{"aud", boost::json::object{{"davit", "davit"}}}},
                                        {{"aud", nullptr}},
                                        {{"exp", nullptr}},
                                        {{"exp", in(-70s)}},
                                        {{"nbf", in(90s)}},
                                        {{"iat", in(90s)}},
                                        {{"ref_protected", "false"}},
                                        {{"ref_protected", nullptr}},
                                        {{"project_path", "group"}},
                                        {{"project_path", "other/group/app"}},
                                        {{"project_path", nullptr}},
                                        {{"project_path", boost::json::array{"group/app"}}}}) {
    INFO(boost::json::serialize(changes));
    auto judged = judge(changes);
    CHECK_FALSE(judged.known);
    CHECK(judged.status == 401);
    CHECK_FALSE(judged.why.empty());
  }
}

TEST_CASE("issuers: each with its own keys and owners; of two with one name, the first that fits") {
  signing_key one{"ES256", "k"}, two{"ES256", "k"};
  auto other = gitlab("forge");
  other.issuer = "https://forge.example.com";
  auto open = gitlab("gitlab-all");
  open.require = {"sub=.+"};
  open.scopes = {api_scope::read};
  api::issuer_list issuers;
  issuers.add({other, std::make_unique<fixed_keys>(key_set_of({two.jwk()}))});
  issuers.add({gitlab(), std::make_unique<fixed_keys>(key_set_of({one.jwk()}))});
  issuers.add({open, std::make_unique<fixed_keys>(key_set_of({one.jwk()}))});
  auto owner = [&](const signing_key& key, const boost::json::object& changes) -> std::string {
    std::string why;
    auto judged = issuers.judge(*api::jwt::parse(key.sign(claims_of(changes)), why), std::chrono::system_clock::now());
    return judged.known ? judged.known->who.owner : "";
  };
  CHECK(owner(one, {}) == "gitlab/group/app");
  CHECK(owner(one, {{"ref_protected", "false"}}) == "gitlab-all/group/app");
  CHECK(owner(two, {{"iss", "https://forge.example.com"}}) == "forge/group/app");
  // The one's keys are not the other's.
  CHECK(owner(one, {{"iss", "https://forge.example.com"}}).empty());
  CHECK(owner(two, {}).empty());
  CHECK(owner(one, {{"iss", "davit"}}).empty());
}

namespace {

constexpr auto a_task = R"({"image":"busybox:test","command":["true"]})";

struct open_agent {
  virtual ~open_agent() = default;
  std::string listen = listen_address();
  std::unique_ptr<test_agent> agent;

  void start(std::vector<issuer_settings> issuers) {
    agent = std::make_unique<test_agent>(std::vector<engine_settings>{}, [=, this](agent_settings& settings) {
      settings.api_listen = {listen};
      settings.access.issuers = issuers;
    });
  }
  transport::http_response
  ask(const std::string& token, const std::string& method, const std::string& target, const std::string& body = {}) {
    agent->use_token(token);
    return agent->http(method, target, {}, body);
  }
  int status(const std::string& token) { return ask(token, "GET", "/v1/tasks").status; }
  raw_client open(const std::string& token, const std::string& target) {
    raw_client client{static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)))};
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n");
    return client;
  }
};

struct file_agent : open_agent {
  scratch_folder folder;
  signing_key key{"RS256", "one"}, forge_key{"ES256", "one"};

  void write(const std::string& name, const std::string& text) {
    std::ofstream{folder / (name + ".part")} << text;
    std::filesystem::rename(folder / (name + ".part"), folder / name);
  }
  file_agent() {
    write("gitlab.json", key_set_of({key.jwk()}));
    write("forge.json", key_set_of({forge_key.jwk()}));
    auto one = gitlab(), two = gitlab("forge");
    one.jwks_file = folder / "gitlab.json";
    two.jwks_file = folder / "forge.json";
    two.issuer = "https://forge.example.com";
    start({two, one});
  }
};

} // namespace

TEST_CASE_METHOD(file_agent, "jobs of two issuers at one agent: each sees its own project's tasks") {
  CHECK(status("") == 401);
  auto app = key.sign(claims_of()), lib = key.sign(claims_of({{"project_path", "group/lib"}})),
       same = forge_key.sign(claims_of({{"iss", "https://forge.example.com"}}));
  auto made = ask(app, "POST", "/v1/tasks", a_task);
  REQUIRE(made.status == 202);
  auto id = std::string{boost::json::parse(made.body).at("id").as_string()};
  CHECK(ask(app, "GET", "/v1/tasks/" + id).status == 200);
  CHECK(ask(app, "GET", "/v1/tasks/" + id).body.find(R"("owner":"gitlab/group/app")") != std::string::npos);
  for (const auto& other : {lib, same})
    for (auto what : {"", "/logs", "/events", "/wait?timeout=10ms"})
      CHECK(ask(other, "GET", "/v1/tasks/" + id + what).status == 404);
  CHECK(ask(same, "POST", "/v1/tasks/" + id + "/cancel").status == 404);
  CHECK(ask(app, "POST", "/v1/agents/test/drain").status == 403);
  CHECK(ask(app, "POST", "/v1/tasks/" + id + "/cancel").status == 200);
  auto audit = shell("cat " + agent->data() + "/audit.log");
  CHECK(
    audit.find(R"("caller":"issuer gitlab subject project_path:group/app:ref_type:branch:ref:main job_id 302 from )")
    != std::string::npos);
  CHECK(audit.find(app.substr(app.rfind('.') + 1)) == std::string::npos);
}

TEST_CASE_METHOD(file_agent, "keys in a file change at once: for requests, and for streams that are open") {
  auto old = key.sign(claims_of());
  REQUIRE(status(old) == 200);
  auto made = ask(old, "POST", "/v1/tasks", a_task);
  auto id = std::string{boost::json::parse(made.body).at("id").as_string()};
  auto waiting = open(old, "/v1/tasks/" + id + "/wait?timeout=10m");
  signing_key next{"ES256", "two"};
  write("gitlab.json", key_set_of({key.jwk(), next.jwk()}));
  auto newer = next.sign(claims_of());
  CHECK(eventually([&] { return status(newer) == 200; }));
  CHECK(status(old) == 200);
  auto staying = open(newer, "/v1/tasks/" + id + "/wait?timeout=10m");
  write("gitlab.json", key_set_of({next.jwk()}));
  CHECK(waiting.read("}\n").starts_with("HTTP/1.1 401"));
  CHECK(status(old) == 401);
  pollfd look{staying.fd, POLLIN | POLLRDHUP, 0};
  CHECK(::poll(&look, 1, 0) == 0);
  // A file that others may write, or that is none, lets nobody in.
  std::filesystem::permissions(folder / "gitlab.json", std::filesystem::perms{0666});
  CHECK(staying.read("}\n").starts_with("HTTP/1.1 401"));
  write("gitlab.json", "{}");
  CHECK(eventually([&] { return status(newer) == 401; }));
  write("gitlab.json", key_set_of({next.jwk()}));
  CHECK(eventually([&] { return status(newer) == 200; }));
}

TEST_CASE_METHOD(file_agent, "a wait ends when the job's token expires, a minute of leeway later") {
  auto made = ask(key.sign(claims_of()), "POST", "/v1/tasks", a_task);
  auto id = std::string{boost::json::parse(made.body).at("id").as_string()};
  auto waiting = open(key.sign(claims_of({{"exp", in(-57s)}})), "/v1/tasks/" + id + "/wait?timeout=10m");
  CHECK(waiting.read("}\n").starts_with("HTTP/1.1 401"));
}

namespace {

/// Serves keys over TLS, or fails to.
struct key_server {
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "ca"};
  transport::io_runtime io{1};
  std::mutex mutex;
  std::string keys;
  std::atomic<int> asked = 0;
  std::shared_ptr<transport::http_server> server;

  key_server() {
    auto files = authority.issue("jwks");
    transport::endpoint where;
    where.host = "127.0.0.1";
    where.tls = transport::tls_settings{"", files.certificate, files.key};
    auto made = transport::http_server::listen(io, where, {}, [this](const transport::exchange_ptr& client) {
      ++asked;
      std::lock_guard guard{mutex};
      auto good = client->request().path == "/keys" && !keys.empty();
      client->respond({good ? 200 : 500, "application/json", good ? keys : "", {}});
    });
    REQUIRE(made.has_value());
    server = *made;
  }
  ~key_server() {
    server->stop();
    io.stop();
  }
  void set(const std::string& text) {
    std::lock_guard guard{mutex};
    keys = text;
  }
  std::string url() const { return "https://localhost:" + std::to_string(server->where().port) + "/keys"; }
};

struct url_agent : open_agent {
  key_server keys;
  signing_key key{"RS256", "one"};

  issuer_settings settings() {
    auto one = gitlab();
    one.jwks_url = keys.url();
    one.tls_ca = keys.authority.file();
    return one;
  }
};

} // namespace

TEST_CASE_METHOD(url_agent, "keys that are fetched: 503 until they are there, and kept from then on") {
  auto token = key.sign(claims_of());
  start({settings()});
  auto early = ask(token, "GET", "/v1/tasks");
  CHECK(early.status == 503);
  CHECK(early.header("Retry-After") == "1");
  CHECK(early.body.find("localhost") == std::string::npos); // nobody is told where from
  CHECK(ask("", "GET", "/v1/tasks").status == 401);
  CHECK(ask(key.sign(claims_of({{"iss", "https://x.example.com"}})), "GET", "/v1/tasks").status == 401);
  keys.set(key_set_of({key.jwk()}));
  CHECK(eventually([&] { return status(token) == 200; }));
  auto before = keys.asked.load();
  keys.set("");
  for (int i = 0; i < 20; ++i)
    CHECK(status(token) == 200);
  CHECK(keys.asked == before);
}

TEST_CASE_METHOD(url_agent, "a key that is not known has the keys fetched, once a minute and no more") {
  keys.set(key_set_of({key.jwk()}));
  start({settings()});
  CHECK(eventually([&] { return status(key.sign(claims_of())) == 200; }));
  auto before = keys.asked.load();
  for (int i = 0; i < 20; ++i)
    CHECK(status(signing_key{"ES256", "k" + std::to_string(i)}.sign(claims_of())) == 401);
  CHECK(keys.asked == before); // they had just been fetched
}

TEST_CASE_METHOD(url_agent, "keys from a server that another authority vouches for let nobody in") {
  keys.set(key_set_of({key.jwk()}));
  scratch_folder other;
  certificate_authority stranger{other.path().string(), "stranger"};
  auto one = settings();
  one.tls_ca = stranger.file();
  captured_log log;
  ::setenv("DAVIT_TEST_LOG", "1", 1); // an agent of a test says nothing otherwise
  start({one});
  ::unsetenv("DAVIT_TEST_LOG");
  CHECK(eventually([&] { return log.has("can't be fetched"); }));
  CHECK(log.has("certificate"));
  auto refused = ask(key.sign(claims_of()), "GET", "/v1/tasks");
  CHECK(refused.status == 503);
  CHECK(refused.body.find("the keys of its issuer are being fetched") != std::string::npos);
  CHECK(refused.body.find("localhost") == std::string::npos);   // nobody is told where from
  CHECK(refused.body.find("certificate") == std::string::npos); // nor why not
  CHECK(keys.asked == 0);
  agent.reset(); // before the log is nobody's
}
