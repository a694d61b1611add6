// `davit verify` without an agent: what it takes, what it refuses, and with which code.
#include "attestation/envelope.hpp"
#include "attestation/statement.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "encoding/base64.hpp"
#include "encoding/digest.hpp"
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <random>

using namespace davit;
using namespace davit::attestation;
using namespace davit::test;

namespace {

const std::string id = "01939b7e-2c4f-7d3a-9a51-0123456789ab";

struct desk {
  scratch_folder home;
  std::shared_ptr<const signing_key> key = make("key");
  std::string pem = put("key.pem", key->shown().pem()), file = home / "attestation.json";

  std::shared_ptr<const signing_key> make(const std::string& name) const {
    std::string error;
    return signing_key::open(home / name, error);
  }
  std::string put(const std::string& name, const std::string& text) const {
    std::ofstream{home / name} << text;
    return home / name;
  }
  process_result verify(std::vector<std::string> words, const std::string& input = {}) const {
    words.insert(words.begin(), {DAVIT_BINARY, "verify"});
    return run_process(std::move(words), input, {"DAVIT_HOST=127.0.0.1:1"}); // where no agent is
  }
  /// What it says on stderr, if it ends with the code.
  std::string refused(int code, std::vector<std::string> words, const std::string& input = {}) const {
    auto done = verify(std::move(words), input);
    INFO(done.out << done.err);
    CHECK(done.exit_code == code);
    CHECK(done.err.starts_with("davit: "));
    return done.err;
  }
};

task a_task() {
  task one;
  from_string(id, one.id);
  one.outcome = outcome::succeeded;
  one.spec.image = "a";
  one.attempts.emplace_back().number = 1;
  return one;
}

log_facts a_log(const std::string& out, const std::string& err) {
  log_digest digest;
  digest.add({log_stream::out, {}, out});
  digest.add({log_stream::err, {}, err});
  auto facts = digest.finish(log_state::whole);
  facts.attempt = 1;
  return facts;
}

std::string statement_of(const task& one, const log_facts& log) {
  return write_statement(one, log, {"default", "a-1\x1b[31m", "1", "key"});
}

/// Signed as it is, whatever it is.
std::string sealed_as(const signing_key& key, const std::string& type, const std::string& payload) {
  return R"({"payloadType":")" + type + R"(","payload":")" + encoding::base64_encode(payload)
       + R"(","signatures":[{"sig":")" + encoding::base64_encode(key.sign(pre_authentication_encoding(type, payload)))
       + "\"}]}";
}

bool has(const std::string& text, const std::string& part) {
  INFO(text << "\n -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

} // namespace

TEST_CASE_METHOD(desk, "verify says who has signed what, from a file or standard input", "[attest]") {
  auto text = seal(*key, statement_of(a_task(), a_log("out", "err")));
  put("attestation.json", text + "\n");
  auto done = verify({file, "--key", pem, "--task", id});
  INFO(done.err);
  CHECK(done.exit_code == 0);
  CHECK(done.err.empty());
  has(done.out, "signed with the key " + key->shown().id());
  has(done.out, "task " + id + ": succeeded\n");
  CHECK(done.out.find('\x1b') == std::string::npos); // an agent's name moves no cursor
  CHECK(verify({"-", "--key", pem}, text).exit_code == 0);
  CHECK(verify({file, "--key", key->shown().id()}).exit_code == 0);
  CHECK(verify({file, "--key", "sha256:" + key->shown().id()}).exit_code == 0);
  CHECK(verify({file, "--key", std::string(64, '0'), "--key", pem}).exit_code == 0);
  CHECK(verify({file, "--key", pem, "--log", put("log", "outerr")}).exit_code == 0);
  has(refused(1, {file, "--key", pem, "--log", put("log", "errout")}), "is not the task's log");
  has(refused(1, {file, "--key", pem, "--log", put("log", "err")}), "is stderr alone");
  has(refused(1, {file, "--key", pem, "--task", "01939b7e-2c4f-7d3a-9a51-0123456789ac"}), "is about the task " + id);
  auto other = put("other.pem", make("other")->shown().pem());
  has(refused(1, {file, "--key", other}), "no key that you trust has signed it");
}

TEST_CASE_METHOD(desk, "verify tells what can't be judged from what is false", "[attest]") {
  put("attestation.json", seal(*key, statement_of(a_task(), a_log("", ""))));
  has(refused(125, {file}), "name whom you trust");
  has(refused(125, {home / "none", "--key", pem}), "none");
  has(refused(125, {file, "--key", home / "none"}), "none");
  has(refused(125, {file, "--key", file}), "has no public key in PEM");
  has(refused(125, {file, "--key", home / "key"}), "holds a private key");
  has(refused(125, {home.path().string(), "--key", pem}), "is a directory");
  has(refused(125, {"/dev/zero", "--key", pem}), "is not a regular file");
  has(refused(125, {put("empty", ""), "--key", pem}), "it is not a valid envelope");
  has(refused(125, {put("deep", std::string(1 << 20, '[')), "--key", pem}), "it is not a valid envelope");
  has(refused(125, {"-", "--key", pem}, std::string(65 << 20, ' ')), "longer than 67108864 bytes");
  put("huge", "");
  std::filesystem::resize_file(home / "huge", std::uint64_t{1} << 40); // no bytes on the disk
  has(refused(125, {home / "huge", "--key", pem}), "is larger than");
  for (auto wrong : {"report", "=x", "report=", "../x=y"})
    has(refused(125, {file, "--key", pem, "--output", wrong}), "write NAME=FOLDER");
  CHECK(verify({file, "--key", pem, "--unknown"}).exit_code == 2);
}

TEST_CASE_METHOD(desk, "a good signature on another thing is not davit's statement", "[attest]") {
  auto good = statement_of(a_task(), a_log("", ""));
  auto judge = [&](const std::string& type, const std::string& payload) {
    return refused(1, {put("attestation.json", sealed_as(*key, type, payload)), "--key", pem});
  };
  has(judge("application/json", good), "not an in-toto statement, but application/json");
  has(judge("", good), "not an in-toto statement");
  has(judge(std::string{statement_payload}, "hello"), "not davit's statement about a task");
  has(judge(std::string{statement_payload}, R"({"_type":"https://in-toto.io/Statement/v1","_type":"x"})"),
      "given twice");
  auto of_others = good;
  of_others.replace(of_others.find("davit:task/v1"), 13, "other:task/v1");
  has(judge(std::string{statement_payload}, of_others), "buildType is");
  CHECK(verify({put("attestation.json", sealed_as(*key, std::string{statement_payload}, good)), "--key", pem}).exit_code
        == 0);
}

TEST_CASE_METHOD(desk, "a folder is the output if it is the same tree, with or without holes", "[attest]") {
  shell("cd " + home.path().string() + " && mkdir -p out/a && echo x > out/a/x && echo '*' > out/.dockerignore"
        + " && truncate -s 1M out/sparse && printf end >> out/sparse");
  auto tree = [&] { // as an engine gives it back: without holes
    blobs::tree entries = blobs::scan_folder(home / "out").value().entries;
    for (auto& one : entries.entries)
      one.holes.clear();
    return to_text(blobs::tree_digest(entries));
  }();
  auto one = a_task();
  one.attempts[0].outputs = {{"report", output_state::kept, tree, 3, 0, {}}};
  put("attestation.json", seal(*key, statement_of(one, a_log("", ""))));
  auto judge = [&](const std::string& folder) { return verify({file, "--key", pem, "--output", "report=" + folder}); };
  CHECK(judge(home / "out").exit_code == 0);
  shell("cd " + home.path().string() + " && cp -a --sparse=never out dense && ln -s out link");
  CHECK(judge(home / "dense").exit_code == 0);
  for (std::string change : {"chmod 600 dense/a/x", "touch dense/a/x", "echo y > dense/y", "rm dense/.dockerignore",
                             "mkdir dense/b", "mv dense/a dense/c"}) {
    INFO(change);
    shell("cd " + home.path().string() + " && rm -rf dense && cp -a --sparse=never out dense && " + change);
    CHECK(judge(home / "dense").exit_code == 1);
  }
  shell("cd " + home.path().string() + " && rm -rf dense && cp -a out dense && mkfifo dense/fifo");
  CHECK(judge(home / "dense").exit_code == 125);
  CHECK(judge(home / "out/a/x").exit_code == 125);
}

TEST_CASE_METHOD(desk, "random bytes in an envelope never verify as another statement", "[attest]") {
  auto text = seal(*key, statement_of(a_task(), a_log("", "")));
  std::mt19937 random{7};
  for (int i = 0; i < 60; ++i) {
    auto changed = text;
    for (auto n = random() % 3 + 1; n > 0; --n)
      changed[random() % changed.size()] = static_cast<char>(random());
    auto done = verify({put("attestation.json", changed), "--key", pem, "--task", id});
    INFO(done.out << done.err);
    std::string why;
    auto read = read_envelope(changed, why);
    if (!read)
      CHECK(done.exit_code == 125);
    else if (read->payload == read_envelope(text, why)->payload && signer_of(*read, {{key->shown()}, {}}))
      CHECK(done.exit_code == 0);
    else
      CHECK(done.exit_code == 1);
  }
}
