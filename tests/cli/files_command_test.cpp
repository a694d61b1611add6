// Files in and out of a task, as somebody types it: the binary against an agent that plays one task.
#include "cli/files/fake_agent.hpp"
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

using namespace davit::test;
namespace fs = std::filesystem;
using davit::transport::server_request;
using davit::transport::server_response;

namespace {

const std::string id = "01934567-0000-7000-8000-000000000001";

/// An agent whose one task ends at once, with an output that has one file.
struct one_task {
  std::string outcome = "succeeded", states, tar, submitted, attempts;
  fake_agent agent;

  one_task() {
    agent.before = [this](const server_request& request) -> server_response {
      auto target = "/v1/tasks/" + id;
      if (request.method == "POST" && request.path == "/v1/tasks") {
        submitted = request.body;
        return {201, "application/json", "{\"id\":\"" + id + "\"}", {}};
      }
      if (request.path == target + "/logs")
        return {200, "application/vnd.docker.multiplexed-stream", "", {}};
      if (request.path == target + "/wait")
        return {200,
                "application/json",
                "{\"id\":\"" + id + "\",\"state\":\"finished\",\"outcome\":\"" + outcome
                  + "\",\"exit_code\":" + (outcome == "succeeded" ? "0" : "3")
                  + ",\"created_at\":\"2026-01-01T00:00:00Z\",\"spec\":{\"image\":\"a\"},\"attempts\":[" + attempts
                  + "]}",
                {}};
      if (request.path == target + "/outputs")
        return {200, "application/json", "{\"outputs\":[" + states + "]}", {}};
      if (request.path == target + "/outputs/kept")
        return {200, "application/x-tar", tar, {}};
      return {0, {}, {}, {}};
    };
  }

  process_result run(std::vector<std::string> words, const scratch_folder& home) {
    words.insert(words.begin(), DAVIT_BINARY);
    return run_process(
      std::move(words), {},
      {"XDG_CACHE_HOME=" + (home / "cache"), "DAVIT_HOST=127.0.0.1:" + std::to_string(agent.where().port)});
  }
};

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

} // namespace

TEST_CASE("a run sends its input, and writes what was kept", "[files]") {
  scratch_folder home;
  fs::create_directory(home / "in");
  std::ofstream{home / "in/file"} << "bytes";
  one_task played;
  played.states = R"({"name":"kept","state":"kept","tree":"sha256:a","files":1,"bytes":5},)"
                  R"({"name":"gone","state":"missing","message":"/y is not there"})";
  played.tar = shell("tar -C '" + (home / "in") + "' -cf - file");
  auto words = std::vector<std::string>{"run",      "--input", home / "in",    "--output",   "kept=/x",
                                        "--output", "gone=/y", "--output-dir", home / "out", "image"};
  auto done = played.run(words, home);
  INFO(done.err);
  CHECK(done.exit_code == 0);
  CHECK(done.out.empty());
  CHECK(done.err
        == "davit: output kept: 1 file, 5 B in " + (home / "out")
             + "/kept\ndavit: output gone: missing: /y is not there\n");
  std::ostringstream written;
  written << std::ifstream{home / "out/kept/file"}.rdbuf();
  CHECK(written.str() == "bytes");
  has(played.submitted, "\"workdir\":\"/workspace\"");
  has(played.submitted, "\"path\":\"/workspace\"");
  has(played.submitted, "\"outputs\":{\"gone\":{\"path\":\"/y\"");
  CHECK(played.agent.stored.size() == 2);
  CHECK(played.agent.trees.size() == 1);
  CHECK(fs::exists(home / "cache/davit/trees"));

  // The task's code stays, unless something that was kept can't be written.
  played.outcome = "failed";
  CHECK(played.run(words, home).exit_code == 3);
  played.tar.resize(600);
  done = played.run(words, home);
  CHECK(done.exit_code == 125);
  has(done.err, "davit: output kept was not written: ");
  has(done.err, "davit cp " + id + ":kept copies it");
  std::ostringstream still;
  still << std::ifstream{home / "out/kept/file"}.rdbuf();
  CHECK(still.str() == "bytes");
  words.insert(words.begin() + 1, "-q");
  has(played.run(words, home).err, "was not written");
}

TEST_CASE("flags about files that make no sense are refused before anything is sent", "[files]") {
  scratch_folder home;
  one_task played;
  const std::pair<std::vector<std::string>, std::string> wrong[]
    = {{{"run", "--output-dir", home / "out", "image"}, "there is no --output to be written to it"},
       {{"run", "-d", "--output", "a=/x", "--output-dir", home / "out", "image"}, "with -d nobody waits"},
       {{"run", "--output", "a=/x", "--output-dir", "/proc/out", "image"}, "--output-dir: /proc/out can't be made"},
       {{"run", "--input", "nowhere", "image"}, "--input nowhere: "},
       {{"run", "--output", "a", "image"}, "--output: write NAME=/PATH"},
       {{"submit", "--input", ".", "-f", "spec.json"}, "describe a task without -f"},
       {{"cp", "task", "."}, "cp: write TASK:/PATH or TASK:NAME[/PATH]"},
       {{"cp", "task:", "."}, "cp: write TASK:/PATH or TASK:NAME[/PATH]"},
       {{"cp", "task:-x", "."}, "\"-x\" is not the name of an output"},
       {{"cp", id + ":/x", "nowhere"}, "nowhere is not an existing folder"},
       {{"cp", id + ":kept/../x", "."}, "has \"..\" in its path"}};
  for (const auto& [words, sentence] : wrong) {
    auto done = played.run(words, home);
    INFO(words[0] << ' ' << words[1]);
    CHECK(done.exit_code == 125);
    has(done.err, sentence);
  }
  CHECK(played.submitted.empty());
  CHECK(played.agent.requests.empty());
}

TEST_CASE("outputs are listed and copied by their names", "[files]") {
  scratch_folder home;
  one_task played;
  played.states = R"({"name":"kept","state":"kept","tree":"sha256:a","files":1,"bytes":5})";
  std::ofstream{home / "file"} << "bytes";
  played.tar = shell("tar -C '" + home.path().string() + "' -cf - file");
  auto listed = played.run({"outputs", id}, home);
  CHECK(listed.out == "NAME  STATE  FILES  SIZE  MESSAGE\nkept  kept   1      5 B   \n");
  CHECK(played.run({"outputs", "--json", id}, home).out == played.states + "\n");
  CHECK(played.run({"cp", id + ":kept", "-"}, home).out == played.tar);
  CHECK(played.run({"cp", id + ":kept", home / "new"}, home).exit_code == 0);
  CHECK(fs::exists(home / "new/file"));
}

TEST_CASE("a run says what its outputs' tests say: how many, and the first that failed", "[files][junit]") {
  scratch_folder home;
  one_task played;
  played.outcome = "failed";
  played.attempts = R"({"number":1,"outputs":[{"name":"old","state":"kept","tests":{"tests":9}}]},
    {"number":2,"outputs":[{"name":"good","state":"kept","tests":{"reports":1,"tests":1}},{"name":"none","state":"missing"},
    {"name":"reports","state":"kept","tests":{"reports":1,"tests":412,"failures":4,"errors":1,"skipped":1,"failed":[
    {"name":"net.Retry","message":"expected 3"},{"name":"b\u001b[2J"},{"name":"c"},{"name":"d"},{"name":"e"}]}}]},
    {"number":3,"outputs":[]})";
  auto run = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), "run");
    for (auto* word : {"--output", "reports=/out", "image:1"})
      flags.emplace_back(word);
    return played.run(flags, home);
  };
  auto ended = run({});
  CHECK(ended.exit_code == 3);
  has(ended.err, "davit: output good: 1 test\n"
                 "davit: output reports: 412 tests, 4 failed, 1 error, 1 skipped; failed: net.Retry: expected 3; "
                 "b\\x1b[2J; c; and 2 more\n");
  CHECK(ended.err.find("old") == std::string::npos);
  CHECK(run({"-q"}).err.find("tests") == std::string::npos);
}
