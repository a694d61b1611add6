// The example of docs/example-cpp.md does what it says, word by word; with this machine's compiler in place of its
// image.
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

using namespace davit;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

std::string text_of_file(const std::string& path) {
  std::ifstream in{path};
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  auto at = text.find(what);
  INFO(text << " -- " << what);
  REQUIRE(at != std::string::npos);
  text.replace(at, what.size(), by);
}

/// The document's command, with an image that has nothing and the compiler of this machine in it.
std::string command_of(const std::string& document) {
  auto begin = document.find("    $ davit run ");
  REQUIRE(begin != std::string::npos);
  auto command = document.substr(begin + 6, document.find('\n', begin) - begin - 6);
  std::string image;
  for (const auto* folder : {"/usr", "/lib", "/lib64", "/etc/alternatives"})
    image += "--mount type=bind,source=" + std::string{folder} + ",target=" + folder + ",readonly ";
  replace(command, "davit run", std::string{DAVIT_BINARY} + " run");
  replace(command, " cpp-tools -- ", " " + image + "busybox:test -- ");
  return command;
}

} // namespace

TEST_CASE("the example of a C++ project builds and tests it, and brings its report out", "[files][junit][example]") {
  if (!fs::exists("/usr/bin/cmake") || !fs::exists("/usr/bin/c++") || !fs::exists("/lib64"))
    SKIP("no compiler in /usr");
  static const test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.profile = policy_profile::privileged;
  test_agent agent{{settings}};
  auto document = text_of_file(std::string{DAVIT_SOURCE} + "/docs/example-cpp.md");
  auto command = command_of(document);
  scratch_folder work;
  fs::create_directory(work.path() / "docs");
  fs::copy(std::string{DAVIT_SOURCE} + "/docs/example-cpp", work / "docs/example-cpp", fs::copy_options::recursive);
  auto run = [&] {
    return run_process({"/bin/sh", "-c", "cd " + work.path().string() + " && " + command}, {},
                       {"DAVIT_HOST=unix://" + agent.socket(), "XDG_CACHE_HOME=" + (work / "cache")});
  };
  auto good = run();
  INFO(good.out << good.err);
  CHECK(good.exit_code == 0);
  CHECK(good.out.find("100% tests passed, 0 tests failed out of 3") != std::string::npos);
  CHECK(good.err.find("davit: output report: 3 tests\n") != std::string::npos);
  CHECK(document.find("davit: output report: 3 tests\n") != std::string::npos);
  CHECK(text_of_file(work / "out/report/report.xml").find("<testcase name=\"counts_words\"") != std::string::npos);

  auto source = text_of_file(work / "docs/example-cpp/words.cpp");
  replace(source, "word.size() > longest.size()", "word.size() < longest.size()");
  std::ofstream{work / "docs/example-cpp/words.cpp"} << source;
  auto bad = run();
  INFO(bad.out << bad.err);
  CHECK(bad.exit_code == 8);
  const std::string told = "davit: output report: 3 tests, 1 failed; failed: finds_the_longest";
  CHECK(bad.err.find(told) != std::string::npos);
  CHECK(document.find(told) != std::string::npos);
}
