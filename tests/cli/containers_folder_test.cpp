// What the doctor says of containers-folder.
#include "cli/containers_folder.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>

using namespace davit;
using namespace davit::test;

namespace {

struct an_engine {
  scratch_folder root;
  engine_settings settings;
  std::vector<container_summary> containers;

  an_engine() { settings.log_files = folder(); }
  std::string folder() { return root / "containers"; }
  void run(char digit, const std::string& where) {
    containers.push_back({std::string(64, digit), "c", "running", {}});
    put(digit, where);
  }
  static void put(char digit, const std::string& where) {
    auto logs = std::filesystem::path{where} / std::string(64, digit) / "local-logs";
    std::filesystem::create_directories(logs);
    std::ofstream{logs / "container.log"} << "log";
  }
  finding judge() { return judge_containers_folder(settings, root.path(), containers); }
  std::string verdict() {
    auto found = judge();
    return found.verdict + ": " + found.detail;
  }
};

} // namespace

TEST_CASE("the folder that has the engine's containers is good, whatever it is called") {
  an_engine engine;
  engine.run('a', engine.folder());
  CHECK(engine.verdict() == "ok: logs are followed in " + engine.folder());
  scratch_folder mounted;
  std::filesystem::rename(engine.folder(), mounted / "there");
  engine.settings.log_files = mounted / "there";
  engine.containers.push_back({std::string(64, 'b'), "ended meanwhile", "exited", {}});
  CHECK(engine.verdict() == "ok: logs are followed in " + engine.settings.log_files);
}

TEST_CASE("a folder that is another engine's, empty, the data root or not there is named, with what to do") {
  an_engine engine;
  engine.run('a', engine.folder());
  scratch_folder other;
  SECTION("empty") {}
  SECTION("another engine's") {
    an_engine::put('b', other.path());
  }
  SECTION("the data root") {
    engine.settings.log_files = engine.root.path();
  }
  SECTION("a file") {
    std::filesystem::create_directories(engine.root / "x");
    std::ofstream{engine.root / ("x/" + std::string(64, 'a'))} << "no folder";
    engine.settings.log_files = engine.root / "x";
  }
  if (engine.settings.log_files == engine.folder())
    engine.settings.log_files = other.path();
  CHECK(
    engine.verdict()
    == "warning: " + engine.settings.log_files
         + " does not have this engine's containers, such as aaaaaaaaaaaa: davit asks the engine for its logs instead");
  CHECK(engine.judge().fix.find(engine.folder()) != std::string::npos);
  engine.settings.log_files = other / "nowhere";
  CHECK(engine.verdict().find("can't be read (No such file or directory)") != std::string::npos);
}

TEST_CASE("an engine without containers: its own folder, another engine's, and one of which nobody knows") {
  an_engine engine;
  std::filesystem::create_directories(engine.folder());
  CHECK(engine.verdict().starts_with("ok: "));
  CHECK(engine.verdict().find("no container yet") != std::string::npos);
  scratch_folder other;
  engine.settings.log_files = other.path();
  CHECK(engine.verdict().starts_with("warning: the engine has no container, so nothing says whether "));
  an_engine::put('b', other.path());
  CHECK(
    engine.verdict().starts_with("warning: " + other.path().string() + " has containers, and this engine has none"));
}
