// --input and --output as they are written, and as a task has them.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "cli/file_flags.hpp"
#include "cli/tree_upload.hpp"
#include "cli/files/fake_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>

using namespace davit;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

const std::string the_task = "01934567-0000-7000-8000-000000000001";

std::string refusal(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                    const std::string& workdir = {}) {
  task_spec spec;
  spec.workdir = workdir;
  try {
    read_file_flags(inputs, outputs, {}, spec);
  } catch (const command_failure& e) {
    CHECK(e.exit_code == 125);
    return e.message;
  }
  return "read";
}

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

} // namespace

TEST_CASE("an input goes where it is said, or to the working directory", "[files][flags]") {
  task_spec spec;
  auto read = read_file_flags({".", "a:b", "x:/y:/z", the_task + "/reports:/r"}, {}, {}, spec);
  REQUIRE(read.size() == 4);
  CHECK(spec.workdir == "/workspace");
  CHECK((read[0].source == "." && read[0].path == "/workspace"));
  CHECK((read[1].source == "a:b" && read[1].path == "/workspace"));
  CHECK((read[2].source == "x:/y" && read[2].path == "/z"));
  CHECK((read[3].source == the_task + "/reports" && read[3].path == "/r"));
  task_spec elsewhere, none;
  elsewhere.workdir = "/src";
  CHECK(read_file_flags({"."}, {}, {}, elsewhere)[0].path == "/src");
  CHECK(elsewhere.workdir == "/src");
  read_file_flags({".:/src"}, {}, {}, none);
  CHECK(none.workdir.empty());
  has(refusal({""}, {}), "--input: write DIR");
  has(refusal({":/x"}, {}), "--input: write DIR");
  has(refusal({"."}, {}, "src"), "the working directory \"src\" is not absolute");
}

TEST_CASE("an output has a name, a path and conditions", "[files][flags]") {
  task_spec spec;
  read_file_flags({}, {"reports=/src/**/*.xml,when=failure,required,max=100m", "app=/out/a=b"}, {}, spec);
  CHECK((spec.outputs["reports"] == task_output{"/src/**/*.xml", output_when::failure, true, byte_size{100 << 20}}));
  CHECK((spec.outputs["app"] == task_output{"/out/a=b", output_when::always, false, {}}));
  has(refusal({}, {"/x"}), "--output: write NAME=/PATH");
  has(refusal({}, {"=/x"}), "--output: write NAME=/PATH");
  has(refusal({}, {"../x=/x"}), "--output: write NAME=/PATH");
  has(refusal({}, {std::string(65, 'n') + "=/x"}), "--output: write NAME=/PATH");
  has(refusal({}, {"x=y"}), "\"y\" is not an absolute path");
  has(refusal({}, {"x=/y,when=never"}), "when must be one of always, success, failure");
  has(refusal({}, {"x=/y,max=much"}), "is not a size");
  has(refusal({}, {"x=/y,required=maybe"}), "\"required=maybe\" is unknown");
  has(refusal({}, {"x=/y,z"}), "\"z\" is unknown");
  has(refusal({}, {"x=/y", "x=/z"}), "two of this name");
}

TEST_CASE("a cache has a key, a path and what else it may begin with", "[files][flags]") {
  auto read = [](const std::string& text) {
    task_spec spec;
    read_file_flags({}, {}, {text}, spec);
    return spec.caches.at(0);
  };
  auto refused = [&](const std::string& text) {
    try {
      read(text);
    } catch (const command_failure& e) {
      return e.message;
    }
    return std::string{"taken"};
  };
  CHECK((read("npm=/root/.npm") == task_cache{"npm", "/root/.npm", {}, {}}));
  CHECK((read("a=b-{hash:x=/y,z}=/c,restore=a-{hash:p,q},restore=a,max=1g")
         == task_cache{"a=b-{hash:x=/y,z}", "/c", {"a-{hash:p,q}", "a"}, byte_size{1 << 30}}));
  for (const std::string text : {"", "key", "key=path", "=/path", "{hash:x=/y}"})
    has(refused(text), "--cache: write KEY=/PATH");
  has(refused("k=/p,max=much"), "is not a size");
  has(refused("k=/p,max=1g,max=2g"), "max stands there twice");
  has(refused("k=/p,keep"), "\"keep\" is unknown");
}

TEST_CASE("what is there is a folder; else a source may be another task's output", "[files][flags]") {
  CHECK(is_task_output(the_task + "/reports"));
  for (const auto& text :
       {"./" + the_task + "/reports", the_task, the_task + "/", the_task + "/a/b", std::string{"src/reports"}})
    CHECK_FALSE(is_task_output(text));
  scratch all;
  ::setenv("XDG_CACHE_HOME", (all / "cache").c_str(), 1);
  CHECK(tree_cache_folder() == all / "cache/davit/trees");
  fs::create_directories(all / (the_task + "/reports"));
  write_all(all / (the_task + "/reports/file"), "bytes");
  fake_agent agent;
  agent.before = [](const transport::server_request& request) -> transport::server_response {
    if (request.path == "/v1/tasks/" + the_task + "/outputs")
      return {200, "application/json", R"({"outputs":[{"name":"reports","state":"kept","tree":"sha256:cc"}]})", {}};
    return {0, {}, {}, {}};
  };
  api_client client{agent.where()};
  task_spec spec;
  send_inputs(client, {{the_task + "/reports", "/from"}, {all / (the_task + "/reports"), "/local"}}, spec, true);
  REQUIRE(spec.inputs.size() == 2);
  CHECK((spec.inputs[0] == task_input{"sha256:cc", "/from"}));
  auto local = blobs::to_text(blobs::tree_digest(look_at(all / (the_task + "/reports")).entries));
  CHECK((spec.inputs[1] == task_input{local, "/local"}));
  auto here = fs::current_path();
  fs::current_path(all.path());
  spec.inputs.clear();
  send_inputs(client, {{the_task + "/reports", "/local"}}, spec, true);
  CHECK(spec.inputs[0].tree == local);
  fs::current_path(here);
  ::unsetenv("XDG_CACHE_HOME");
  for (auto [source, words] : {std::pair<std::string, std::string>{"nowhere", "and it is not TASK/NAME"},
                               {the_task + "/other", "has no output other"}})
    try {
      send_inputs(client, {{source, "/x"}}, spec, true);
      FAIL("no failure");
    } catch (const command_failure& e) {
      has(e.message, "--input " + source + ": ");
      has(e.message, words);
    }
}
