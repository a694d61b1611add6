// What a statement says about a task.
#include "attestation/statement.hpp"
#include "encoding/digest.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

using namespace davit;
using namespace davit::attestation;

namespace {

const std::string tree_in = "sha256:" + std::string(64, '1'), tree_out = "sha256:" + std::string(64, '2'),
                  image = "sha256:" + std::string(64, '3');
const statement_signer signer{"my fleet/ü", "a-1", "9.9", std::string(64, 'f')};

task some_task() {
  task one;
  from_string("01939b7e-2c4f-7d3a-9a51-0123456789ab", one.id);
  one.state = task_state::finished;
  one.outcome = outcome::failed;
  one.exit_code = 3;
  one.owner = "team-a";
  one.message = "it ended with 3";
  one.created_at = *parse_timestamp("2026-01-31T12:00:00Z");
  one.finished_at = *parse_timestamp("2026-01-31T12:00:09.5Z");
  one.spec.image = "alpine:3";
  one.spec.command = {"sh", "-c", "exit 3"};
  one.spec.env["Z"] = "z";
  one.spec.env["A"] = "a";
  one.spec.secrets["TOKEN"] = {"hunter2", false};
  one.spec.resources.cpus = 1.5;
  one.spec.inputs.push_back({tree_in, "/src"});
  one.spec.outputs["report"].path = "/out";
  one.spec.outputs["log"].path = "/log";
  attempt first;
  first.number = 1;
  first.agent = "a-2";
  first.engine = "local";
  first.engine_id = "ABCD";
  first.container = std::string(64, 'c');
  first.image_id = image;
  first.started_at = *parse_timestamp("2026-01-31T12:00:01Z");
  first.outcome = outcome::failed;
  first.exit_code = 3;
  first.evidence = {R"({"ExitCode":3})", {R"({"Action":"die"})"}, {"SIGTERM at 12:00"}, "a note", "cold"};
  first.outputs = {{"report", output_state::kept, tree_out, 1, 5, {}},
                   {"log", output_state::kept, tree_in, 1, 5, {}},
                   {"other", output_state::missing, "", 0, 0, "nothing is there"}};
  one.attempts.push_back(first);
  return one;
}

log_facts some_log() {
  log_digest digest;
  auto at = *parse_timestamp("2026-01-31T12:00:02Z");
  digest.add({log_stream::out, at, "out\n"});
  digest.add({log_stream::note, at, "the engine lost 5 bytes here\n"});
  digest.add({log_stream::err, at, "err\n"});
  auto facts = digest.finish(log_state::whole);
  facts.attempt = 1;
  return facts;
}

boost::json::value parsed(const std::string& text) {
  return boost::json::parse(text);
}

std::string digest_in(const boost::json::value& statement, std::string_view subject) {
  for (const auto& one : statement.at("subject").as_array())
    if (one.at("name").as_string() == subject)
      return std::string{one.at("digest").at("sha256").as_string()};
  return {};
}

/// Object members in the order of their names, at every level.
void check_sorted(const boost::json::value& value) {
  if (value.is_array())
    for (const auto& one : value.get_array())
      check_sorted(one);
  if (!value.is_object())
    return;
  std::string before;
  for (const auto& one : value.get_object()) {
    std::string name{one.key()};
    CHECK((before.empty() || before < name));
    before = name;
    check_sorted(one.value());
  }
}

} // namespace

TEST_CASE("a statement names what went in and came out, and who says so", "[attest]") {
  auto text = write_statement(some_task(), some_log(), signer);
  auto statement = parsed(text);
  CHECK(statement.at("_type").as_string() == "https://in-toto.io/Statement/v1");
  CHECK(statement.at("predicateType").as_string() == "https://slsa.dev/provenance/v1");
  CHECK(statement.at("subject").as_array().size() == 6);
  CHECK(digest_in(statement, "task") == encoding::sha256_hex("01939b7e-2c4f-7d3a-9a51-0123456789ab"));
  CHECK(digest_in(statement, "log") == encoding::sha256_hex("out\nerr\n"));
  CHECK(digest_in(statement, "log/stdout") == encoding::sha256_hex("out\n"));
  CHECK(digest_in(statement, "log/stderr") == encoding::sha256_hex("err\n"));
  CHECK(digest_in(statement, "output/report") == std::string(64, '2'));
  CHECK(digest_in(statement, "output/log") == std::string(64, '1'));
  const auto& predicate = statement.at("predicate");
  const auto& definition = predicate.at("buildDefinition");
  CHECK(definition.at("buildType").as_string() == "davit:task/v1");
  const auto& spec = definition.at("externalParameters");
  CHECK(spec.at("image").as_string() == "alpine:3");
  CHECK(boost::json::serialize(spec.at("secrets")) == R"({"TOKEN":"***"})");
  CHECK(boost::json::serialize(spec.at("env")) == R"({"A":"a","Z":"z"})");
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(definition.at("internalParameters").at("owner").as_string() == "team-a");
  const auto& dependencies = definition.at("resolvedDependencies").as_array();
  REQUIRE(dependencies.size() == 2);
  CHECK(dependencies[0].at("digest").at("sha256").as_string() == std::string(64, '3'));
  CHECK(dependencies[0].at("annotations").at("davit_image").as_string() == "alpine:3");
  CHECK(dependencies[1].at("digest").at("sha256").as_string() == std::string(64, '1'));
  CHECK(dependencies[1].at("annotations").at("davit_path").as_string() == "/src");
  const auto& run = predicate.at("runDetails");
  CHECK(run.at("builder").at("id").as_string() == "davit:fleet/my%20fleet%2F%C3%BC");
  CHECK(run.at("builder").at("version").at("davit").as_string() == "9.9");
  CHECK(run.at("metadata").at("invocationId").as_string() == "01939b7e-2c4f-7d3a-9a51-0123456789ab");
  CHECK(run.at("metadata").at("startedOn").as_string().starts_with("2026-01-31T12:00:01"));
  CHECK(run.at("metadata").at("finishedOn").as_string().starts_with("2026-01-31T12:00:09.5"));
  CHECK(run.at("davit_result").at("outcome").as_string() == "failed");
  CHECK(run.at("davit_result").at("exit_code").as_int64() == 3);
  const auto& attempt = run.at("davit_attempts").at(0);
  CHECK(attempt.at("agent").as_string() == "a-2");
  CHECK(attempt.at("engine_id").as_string() == "ABCD");
  CHECK(attempt.at("evidence").at("inspect").as_string() == R"({"ExitCode":3})");
  CHECK(attempt.at("evidence").at("note").as_string() == "a note");
  CHECK(run.at("davit_log").at("state").as_string() == "whole");
  CHECK(run.at("davit_log").at("remarks").at(0).as_string() == "the engine lost 5 bytes here");
  CHECK(run.at("davit_signer").at("agent").as_string() == "a-1");
  check_sorted(statement);
}

TEST_CASE("one task gives one text, in whichever order its fields came", "[attest]") {
  auto text = write_statement(some_task(), some_log(), signer);
  CHECK(text == write_statement(some_task(), some_log(), signer));
  CHECK(text.find_first_of("\n\t") == std::string::npos);
  auto other = some_task();
  other.exit_code = 4;
  CHECK(write_statement(other, some_log(), signer) != text);
}

TEST_CASE("an image is named as exactly as it is known", "[attest]") {
  auto dependencies = [](const task& of) {
    auto statement = parsed(write_statement(of, some_log(), signer));
    return statement.at("predicate").at("buildDefinition").at("resolvedDependencies").as_array();
  };
  auto one = some_task();
  one.spec.inputs.clear();
  SECTION("by a digest") {
    one.spec.image = "reg.example/x@sha256:" + std::string(64, 'd');
    auto all = dependencies(one);
    REQUIRE(all.size() == 2);
    CHECK(all[0].at("uri").as_string() == "docker://reg.example/x@sha256:" + std::string(64, 'd'));
    CHECK(all[0].at("digest").at("sha256").as_string() == std::string(64, 'd'));
    CHECK(all[1].at("digest").at("sha256").as_string() == std::string(64, '3'));
  }
  SECTION("a name that meant two images in two attempts") {
    auto second = one.attempts[0];
    second.number = 2;
    second.image_id = "sha256:" + std::string(64, '4');
    one.attempts.push_back(second);
    auto all = dependencies(one);
    REQUIRE(all.size() == 2);
    CHECK(boost::json::serialize(all[0].at("annotations").at("davit_attempts")) == "[1]");
    CHECK(boost::json::serialize(all[1].at("annotations").at("davit_attempts")) == "[2]");
  }
  SECTION("that never came") {
    one.attempts.clear();
    auto all = dependencies(one);
    REQUIRE(all.size() == 1);
    CHECK(all[0].at("uri").as_string() == "docker://docker.io/library/alpine:3");
    CHECK(!all[0].as_object().contains("digest"));
  }
}

TEST_CASE("a statement says when there is no log, or not all of it", "[attest]") {
  for (auto state : {log_state::none, log_state::gone, log_state::unfinished}) {
    auto log = some_log();
    log.state = state;
    auto statement = parsed(write_statement(some_task(), log, signer));
    CHECK(statement.at("predicate").at("runDetails").at("davit_log").at("state").as_string() == to_string(state));
    CHECK(digest_in(statement, "log").empty() == (state != log_state::unfinished));
    CHECK(!digest_in(statement, "task").empty());
  }
}

TEST_CASE("a log of any length has a few remarks", "[attest]") {
  log_digest digest;
  auto at = *parse_timestamp("2026-01-31T12:00:02Z");
  for (int i = 0; i < 1000; ++i)
    digest.add({log_stream::note, at, std::string(100'000, 'x') + "\n"});
  auto facts = digest.finish(log_state::whole);
  CHECK(facts.remark_count == 1000);
  CHECK(facts.remarks.size() == log_digest::most_remarks);
  CHECK(facts.remarks[0].size() == log_digest::longest_remark);
  CHECK(facts.bytes == 0);
  CHECK(digest.finish(log_state::whole).remark_count == 0);
}

TEST_CASE("what was written is read again, and a statement of others is not", "[attest]") {
  auto text = write_statement(some_task(), some_log(), signer);
  std::string why;
  auto facts = read_statement(text, why);
  INFO(why);
  REQUIRE(facts);
  CHECK(facts->task == "01939b7e-2c4f-7d3a-9a51-0123456789ab");
  CHECK(facts->outcome == "failed");
  CHECK(facts->signer == "a-1");
  CHECK(facts->subjects.at("output/report") == std::string(64, '2'));
  CHECK(facts->subjects.size() == 6);
  auto refused = [&](std::string what, const std::string& by, const std::string& word) {
    auto other = text;
    auto at = other.find(what);
    REQUIRE(at != std::string::npos);
    other.replace(at, what.size(), by);
    why.clear();
    CHECK(!read_statement(other, why));
    INFO(why);
    CHECK(why.find(word) != std::string::npos);
  };
  refused("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1", "_type is");
  refused("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2", "predicateType is");
  refused("davit:task/v1", "davit:task/v2", "buildType is");
  refused("\"name\":\"output/log\"", "\"name\":\"output/report\"", "two subjects");
  refused("\"sha256\":\"" + std::string(64, '2'), "\"sha256\":\"" + std::string(63, '2') + "G", "no SHA-256");
  refused("\"invocationId\":\"0", "\"invocationId\":\"1", "invocationId");
  refused("\"subject\":", "\"subject\":[],\"subject\":", "given twice");
  refused("\"subject\":[", "\"subject\":[1,", "must be an object");
  for (auto wrong : {"", "{}", "[]", "null", "{\"_type\":1}", "\xff"})
    CHECK(!read_statement(wrong, why));
  CHECK(!read_statement(std::string(100'000, '['), why));
  // Neither a cut nor a swapped byte is a crash, whatever it is taken for.
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto other = text;
    other[at] = static_cast<char>(other[at] ^ 1);
    static_cast<void>(read_statement(other, why));
    CHECK(!read_statement(text.substr(0, at), why));
  }
}
