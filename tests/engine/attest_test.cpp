// A real task's statement, checked by davit and by programs of others.
#include "attestation/envelope.hpp"
#include "fixture/process.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <boost/json.hpp>

#include <fstream>
#include <sstream>

using namespace davit;
using namespace davit::test;

namespace {

std::string read_text(const std::string& path) {
  std::ifstream in{path};
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

/// The example of docs/attestation.md, as it stands there.
std::string example() {
  auto page = read_text(std::string{DAVIT_SOURCE} + "/docs/attestation.md");
  auto begin = page.find("```sh\n");
  REQUIRE(begin != std::string::npos);
  begin += 6;
  return page.substr(begin, page.find("```", begin) - begin);
}

/// An independent check: neither davit's code nor OpenSSL's program, if Python has the module.
constexpr auto python = R"python(
import base64, hashlib, json, sys
try:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError:
    sys.exit(77)
envelope = json.load(open("attestation.json"))
body, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
text = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
load_pem_public_key(open("key.pem", "rb").read()).verify(base64.b64decode(envelope["signatures"][0]["sig"]), text)
statement = json.loads(body)
assert json.dumps(statement["subject"], sort_keys=True)
log = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}["log"]
assert log == hashlib.sha256(open("log", "rb").read()).hexdigest()
print("good", statement["predicate"]["runDetails"]["davit_result"]["outcome"])
)python";

/// Runs davit in a folder, against the agent.
struct workplace {
  scratch_folder folder;
  test_agent& agent;

  process_result davit(std::vector<std::string> words) {
    words.insert(words.begin(), DAVIT_BINARY);
    return run_process(std::move(words), {},
                       {"DAVIT_HOST=unix://" + agent.socket(), "XDG_CACHE_HOME=" + (folder / "cache")});
  }
  process_result sh(const std::string& script) {
    return run_process({"/bin/sh", "-ec", "cd " + folder.path().string() + "\n" + script});
  }
  int verify(std::vector<std::string> more, const std::string& key) {
    std::vector<std::string> words{"verify", folder / "attestation.json", "--key", key};
    words.insert(words.end(), more.begin(), more.end());
    auto done = davit(std::move(words));
    said = done.out + done.err;
    return done.exit_code;
  }
  std::string said;
};

} // namespace

TEST_CASE("a task's statement holds for what came out of it, and for nothing else", "[attest]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  workplace at{{}, agent, {}};
  at.sh("mkdir in && echo input > in/file");
  auto spec = busybox("cat /src/file; echo to-stderr >&2; mkdir -p /out/deep; umask 0; echo one > /out/one; "
                      "echo two > /out/deep/two; ln -s one /out/link; chmod 4755 /out/one; cat /proc/uptime");
  auto tree = upload(agent, at.folder / "in");
  spec.inputs.push_back({tree, "/src"});
  spec.outputs["report"].path = "/out";
  spec.outputs["none"].path = "/nowhere";
  spec.secrets["TOKEN"] = {"hunter2hunter2", false};
  auto ended = agent.run(spec);
  INFO(ended.message);
  REQUIRE(ended.outcome == outcome::succeeded);
  auto id = to_string(ended.id);
  auto attest = at.davit({"attest", id, "-o", at.folder / "attestation.json"});
  INFO(attest.err);
  REQUIRE(attest.exit_code == 0);
  CHECK(attest.out.empty());
  auto written = read_text(at.folder / "attestation.json");
  CHECK(at.davit({"attest", id}).out == written);
  std::ofstream{at.folder / "key.pem"} << at.davit({"signing-key"}).out;
  std::ofstream{at.folder / "log"}
    << at.sh(std::string{"DAVIT_HOST=unix://"} + agent.socket() + " " DAVIT_BINARY + " logs " + id + " 2>&1").out;
  REQUIRE(at.davit({"cp", id + ":report", at.folder / "report"}).exit_code == 0);
  auto key = at.folder / "key.pem", output = "report=" + (at.folder / "report"), log = at.folder / "log";

  CHECK(at.verify({"--task", id, "--output", output, "--log", log}, key) == 0);
  INFO(at.said);
  CHECK(at.said.find("task " + id + ": succeeded") != std::string::npos);

  SECTION("others' programs say the same") {
    auto openssl = at.sh(example());
    INFO(openssl.err);
    CHECK(openssl.exit_code == 0);
    CHECK(openssl.out == "Signature Verified Successfully\n");
    std::ofstream{at.folder / "check.py"} << python;
    auto checked = at.sh("python3 check.py");
    INFO(checked.err);
    if (checked.exit_code != 77) {
      CHECK(checked.exit_code == 0);
      CHECK(checked.out == "good succeeded\n");
    }
    // The statement, once one byte of it is another: the example must fail too.
    std::ofstream{at.folder / "attestation.json"} << [&] {
      auto other = written;
      auto at_byte = other.find("\"payload\":\"") + 11;
      other[at_byte + 100] = other[at_byte + 100] == 'A' ? 'B' : 'A';
      return other;
    }();
    CHECK(at.sh(example()).exit_code != 0);
    CHECK(at.verify({}, key) == 1);
  }
  SECTION("by the key's fingerprint") {
    auto fingerprint = at.sh("openssl pkey -pubin -in key.pem -outform DER | sha256sum | cut -d' ' -f1").out;
    fingerprint.pop_back();
    CHECK(at.verify({"--output", output}, fingerprint) == 0);
    CHECK(at.verify({}, std::string(64, '0')) == 1);
    CHECK(at.said.find("no key that you trust has signed it") != std::string::npos);
  }
  SECTION("what it says") {
    auto statement = boost::json::parse(at.sh(example() + "cat statement.json >&2").err);
    const auto& definition = statement.at("predicate").at("buildDefinition");
    const auto& dependencies = definition.at("resolvedDependencies").as_array();
    REQUIRE(dependencies.size() == 2);
    auto image = engine.docker("image inspect -f '{{.Id}}' busybox:test");
    CHECK("sha256:" + std::string{dependencies[0].at("digest").at("sha256").as_string()} + "\n" == image);
    CHECK("sha256:" + std::string{dependencies[1].at("digest").at("sha256").as_string()} == tree);
    CHECK(boost::json::serialize(definition.at("externalParameters").at("secrets")) == R"({"TOKEN":"***"})");
    const auto& run = statement.at("predicate").at("runDetails");
    CHECK(run.at("davit_log").at("state").as_string() == "whole");
    CHECK(run.at("davit_log").at("remark_count").as_int64() == 0);
    CHECK(run.at("davit_attempts").at(0).at("evidence").at("inspect").as_string().find("ExitCode")
          != std::string::npos);
    CHECK(written.find("hunter2") == std::string::npos);
  }
  SECTION("what is not it, and what can't be told") {
    CHECK(at.verify({"--task", "01900000-0000-7000-8000-000000000000"}, key) == 1);
    CHECK(at.verify({"--output", "none=" + (at.folder / "report")}, key) == 1);
    CHECK(at.said.find("says nothing about an output none") != std::string::npos);
    at.sh("echo >> log; cp -a report other; touch other/one");
    CHECK(at.verify({"--log", log}, key) == 1);
    CHECK(at.verify({"--output", "report=" + (at.folder / "other")}, key) == 1);
    at.sh("grep -v to-stderr log | head -n -1 > alone");
    CHECK(at.verify({"--log", at.folder / "alone"}, key) == 1);
    CHECK(at.said.find("is stdout alone, not the whole log") != std::string::npos);
    CHECK(at.verify({"--output", "report=" + (at.folder / "absent")}, key) == 125);
    CHECK(at.verify({"--log", at.folder / "absent"}, key) == 125);
    CHECK(at.verify({}, at.folder / "absent") == 125);
    CHECK(at.verify({}, at.folder / "log") == 125);
    CHECK(at.davit({"verify", at.folder / "attestation.json"}).exit_code == 125);
    CHECK(at.davit({"verify", at.folder / "log", "--key", key}).exit_code == 125);
  }
  SECTION("after the agent has restarted the key and the statement are the same") {
    agent.restart();
    CHECK(at.davit({"attest", id}).out == written);
    CHECK(at.davit({"signing-key"}).out == read_text(key));
  }
}

TEST_CASE("a long log is signed as it is printed, and one with holes says so", "[attest]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)},
                   [](agent_settings& settings) { settings.logs.max_bytes = byte_size{3 << 20}; }};
  workplace at{{}, agent, {}};
  auto limited = GENERATE(false, true);
  CAPTURE(limited);
  auto ended = agent.run(busybox("yes 0123456789abcdef0123456789abcdef | head -c " + std::string{limited ? "5" : "2"}
                                 + "000000; echo end >&2"));
  REQUIRE(ended.outcome == outcome::succeeded);
  auto sealed = agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/attestation");
  std::ofstream{at.folder / "attestation.json"} << sealed;
  std::ofstream{at.folder / "key.pem"} << at.davit({"signing-key"}).out;
  std::ofstream{at.folder / "log"} << agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/logs");
  CHECK(at.verify({"--log", at.folder / "log"}, at.folder / "key.pem") == 0);
  std::string why;
  auto text = attestation::read_envelope(sealed, why)->payload;
  CHECK((text.find("\"remark_count\":0") == std::string::npos) == limited);

  // A log that can't be read is not left out of what is signed, and one that is gone is told of.
  std::string log_file;
  REQUIRE(eventually([&] {
    log_file = shell("find " + agent.data() + "/logs -name '*.log.zst' -path '*" + to_string(ended.id) + "*'");
    return !log_file.empty();
  }));
  log_file.pop_back();
  shell("head -c 200 /dev/urandom | dd of=" + log_file + " bs=1 seek=10 conv=notrunc 2>/dev/null");
  auto refused = agent.http("GET", "/v1/tasks/" + to_string(ended.id) + "/attestation", {}, "");
  CHECK(refused.status == 503);
  CHECK(refused.body.find("so nothing was signed") != std::string::npos);
  shell("rm " + log_file);
  sealed = agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/attestation");
  std::ofstream{at.folder / "attestation.json"} << sealed;
  CHECK(attestation::read_envelope(sealed, why)->payload.find(R"("davit_log":{"attempt":1,"state":"gone"})")
        != std::string::npos);
  CHECK(at.verify({}, at.folder / "key.pem") == 0);
  CHECK(at.verify({"--log", at.folder / "log"}, at.folder / "key.pem") == 1);
  CHECK(at.said.find("says that the task has no log") != std::string::npos);
}
