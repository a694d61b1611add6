// Statements over the API: for finished tasks, for those who may see the task, by a key that stays.
#include "attestation/envelope.hpp"
#include "attestation/statement.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

using namespace davit;
using namespace davit::attestation;
using namespace davit::test;

namespace {

constexpr auto a_task = R"({"image":"busybox:test","command":["true"],"secrets":{"TOKEN":"hunter2hunter2"}})";

std::string text_of(const transport::http_response& answer, const char* field) {
  return std::string{boost::json::parse(answer.body).at(field).as_string()};
}

struct attested {
  token_file tokens;
  std::string a = tokens.make("a", "submit,read,cancel", {"--owner", "team-a"}),
              b = tokens.make("b", "submit,read,cancel", {"--owner", "team-b"}),
              watcher = tokens.make("watcher", "read:all"), admin = tokens.make("root", "admin"),
              only_submit = tokens.make("s", "submit", {"--owner", "team-a"});
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen_address()};
                     settings.access.tokens_file = tokens.path;
                   }};

  transport::http_response
  ask(const std::string& token, const std::string& method, const std::string& target, const std::string& body = {}) {
    agent.use_token(token);
    return agent.http(method, target, {}, body);
  }

  /// A task that was cancelled while it was queued: it has no attempt.
  std::string ended() {
    auto id = text_of(ask(a, "POST", "/v1/tasks", a_task), "id");
    CHECK(ask(a, "POST", "/v1/tasks/" + id + "/cancel").status < 300);
    return id;
  }

  std::string target(const std::string& id) const { return "/v1/tasks/" + id + "/attestation"; }
};

} // namespace

TEST_CASE_METHOD(attested, "there is a statement about a task when it has finished", "[attest]") {
  auto id = text_of(ask(a, "POST", "/v1/tasks", a_task), "id");
  auto early = ask(a, "GET", target(id));
  CHECK(early.status == 409);
  CHECK(early.body.find("the task is queued") != std::string::npos);
  CHECK(ask(a, "POST", "/v1/tasks/" + id + "/cancel").status < 300);
  auto answer = ask(a, "GET", target(id));
  REQUIRE(answer.status == 200);
  CHECK(answer.body == ask(a, "GET", target(id)).body);
  std::string why;
  auto sealed = read_envelope(answer.body, why);
  REQUIRE(sealed);
  auto key = public_key::read_pem(text_of(ask(a, "GET", "/v1/signing-key"), "public_key"), why);
  REQUIRE(key);
  CHECK(key->id() == text_of(ask(b, "GET", "/v1/signing-key"), "id"));
  CHECK(signer_of(*sealed, {{*key}, {}}) == *key);
  CHECK(sealed->payload_type == statement_payload);
  CHECK(sealed->signatures.at(0).key_id == key->id());
  auto facts = read_statement(sealed->payload, why);
  INFO(why);
  REQUIRE(facts);
  CHECK(facts->task == id);
  CHECK(facts->outcome == "cancelled");
  CHECK(facts->subjects.size() == 1); // neither a log nor an output
  CHECK(sealed->payload.find(R"("davit_log":{"state":"none"})") != std::string::npos);
  CHECK(sealed->payload.find("hunter2") == std::string::npos);
  CHECK(sealed->payload.find(R"("secrets":{"TOKEN":"***"})") != std::string::npos);
  // Word for word what the API shows of the task.
  auto shown = boost::json::parse(ask(a, "GET", "/v1/tasks/" + id).body);
  auto said = boost::json::parse(sealed->payload);
  CHECK(said.at("predicate").at("buildDefinition").at("externalParameters") == shown.at("spec"));
  CHECK(said.at("predicate").at("runDetails").at("davit_attempts") == shown.at("attempts"));

  agent.restart();
  CHECK(ask(a, "GET", target(id)).body == answer.body);
}

TEST_CASE_METHOD(attested, "a statement is for those who may see its task, the key for everybody who may read",
                 "[attest]") {
  auto id = ended();
  auto hidden = ask(b, "GET", target(id));
  CHECK(hidden.status == 404);
  CHECK(ask(a, "GET", target("01900000-0000-7000-8000-000000000000")).status == 404);
  CHECK(ask("", "GET", target(id)).status == 401);
  CHECK(ask(only_submit, "GET", target(id)).status == 403);
  CHECK(ask(watcher, "GET", target(id)).status == 200);
  CHECK(ask(admin, "POST", target(id)).status == 405);
  CHECK(ask(a, "GET", target(id) + "?x=1").status == 400);
  CHECK(ask("", "GET", "/v1/signing-key").status == 401);
  CHECK(ask(only_submit, "GET", "/v1/signing-key").status == 403);
  for (const auto& token : {a, b, watcher})
    CHECK(ask(token, "GET", "/v1/signing-key").status == 200);
  CHECK(ask(admin, "POST", "/v1/signing-key").status == 405);
}

TEST_CASE("an agent does not start with a key that is broken or open to others, and says which file it is",
          "[attest]") {
  auto failure = [](const std::string& prepare) {
    scratch_folder folder;
    auto file = folder / "key";
    shell(prepare + " > " + file + " && chmod " + (prepare == "true" ? "600 " : "644 ") + file);
    try {
      test_agent agent{{}, [&](agent_settings& settings) { settings.signing_key = file; }};
    } catch (const std::exception& e) {
      return std::string{e.what()}.find(file) == std::string::npos ? "" : std::string{e.what()};
    }
    return std::string{"it started"};
  };
  CHECK(failure("true").find("has no private key in PEM") != std::string::npos);
  CHECK(failure("openssl genpkey -algorithm ed25519").find("can be read by every user") != std::string::npos);
}
