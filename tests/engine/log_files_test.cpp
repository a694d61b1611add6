// Logs that are followed in the engine's own files: the same bytes, and the engine is asked wherever a file will not
// do.
#include "cli/doctor.hpp"
#include "engine/suites.hpp"
#include "fixture/test_agent.hpp"
#include "transport/engine_client.hpp"
#include "transport/log_follower.hpp"

#include <boost/asio/io_context.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

using namespace davit;
using namespace davit::test;
using namespace davit::transport;
using namespace std::chrono_literals;

namespace {

/// The log files that this process has open.
std::size_t open_files() {
  std::size_t count = 0;
  std::error_code ec;
  for (const auto& one : std::filesystem::directory_iterator{"/proc/self/fd"})
    count += std::filesystem::read_symlink(one.path(), ec).string().ends_with("/local-logs/container.log");
  return count;
}

engine_settings with_files(const test_engine& engine, std::uint32_t sandboxes = 0) {
  auto settings = engine.settings(8);
  settings.sandboxes = sandboxes;
  settings.log_files = engine.containers();
  return settings;
}

/// Prints for a while: both streams, lines that are cut, bytes that are no text, and at last no newline.
const std::string talkative = "sleep 0.4; seq 50000; echo warned >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; "
                              "printf 'a\\000b\\377\\n'; sleep 0.3; seq 3 >&2; printf end";

std::string talk() {
  std::string text;
  for (int i = 1; i <= 50'000; ++i)
    text += std::to_string(i) + "\n";
  return text + std::string(40'000, 'x') + "\n" + std::string("a\0b\xff\n", 5) + "end";
}

/// What a follower gives: records in their order, and how it came to its end.
struct followed {
  std::vector<log_record> records;
  std::string trouble, failure;
  log_cursor cursor;

  std::string text(log_stream stream) const {
    std::string all;
    for (const auto& one : records)
      if (one.stream == stream)
        all += one.bytes;
    return all;
  }
};

followed follow(const engine_settings& settings, follow_options options) {
  boost::asio::io_context context{1};
  auto client = std::make_shared<engine_client>(context, *endpoint_of(settings));
  followed all;
  options.credit = 1 << 30;
  auto follower = std::make_shared<log_follower>(
    client, std::move(options),
    [&](std::vector<log_record> records, std::uint64_t) {
      all.records.insert(all.records.end(), std::make_move_iterator(records.begin()),
                         std::make_move_iterator(records.end()));
    },
    [&](result<void> outcome, log_ending ending) {
      all.trouble = ending.file_trouble;
      if (!outcome)
        all.failure = outcome.error().message;
    });
  follower->start();
  follower->ended();
  context.run();
  return all;
}

std::string file_of(const std::string& containers, const std::string& id) {
  return containers + "/" + id + "/local-logs/container.log";
}

/// The records up to one, as a reader keeps its place among them.
log_cursor place_in(const std::vector<log_record>& records, std::size_t count) {
  log_resume resume{{}};
  bool gap = false;
  for (std::size_t i = 0; i < count; ++i)
    resume.take(records[i], gap);
  return resume.cursor();
}

} // namespace

TEST_CASE("a log that is followed in the engine's file is the same to the byte", "[output][log-files]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  CAPTURE(to_string(start));
  test_agent agent{{with_files(engine, start == start_mode::warm ? 2 : 0)}};
  agent.default_start = start;
  auto id = agent.submit(busybox(talkative));
  CHECK(eventually([&] { return open_files() == 1; }));
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::succeeded);
  auto output = agent.logs(id);
  CHECK(output.out == talk());
  CHECK(output.err == "warned\n1\n2\n3\n");
  CHECK(output.notes == "");
  CHECK(eventually([&] { return open_files() == 0; }));
  SECTION("hidden values are masked there too") {
    auto spec = busybox("sleep 0.4; echo my $PASSWORD here; sleep 0.2");
    spec.secrets["PASSWORD"].value = "correct horse";
    auto masked = agent.run(spec);
    CHECK(agent.logs(masked.id).out.find("correct horse") == std::string::npos);
    CHECK(agent.logs(masked.id).out.find("my ") == 0);
  }
}

TEST_CASE("an agent that starts again goes on in the engine's file where its log ends", "[restart][log-files]") {
  test_engine engine{"a"};
  test_agent agent{{with_files(engine)}};
  auto id = agent.submit(
    busybox("for i in $(seq 3000); do echo line $i; echo to stderr $i >&2; [ $((i % 100)) != 0 ] || sleep 0.1; done"));
  for (int i = 0; i < 3; ++i) {
    CHECK(eventually([&] { return open_files() == 1; }));
    std::this_thread::sleep_for(300ms);
    agent.restart();
  }
  CHECK(agent.wait(id).outcome == outcome::succeeded);
  std::string out, err;
  for (int i = 1; i <= 3000; ++i) {
    out += "line " + std::to_string(i) + "\n";
    err += "to stderr " + std::to_string(i) + "\n";
  }
  auto output = agent.logs(id);
  CHECK(output.out == out);
  CHECK(output.err == err);
  CHECK(output.notes == "");
}

TEST_CASE(
  "where an engine's log file can't be read, or is not what it should be, the engine is asked, and nothing is lost",
  "[output][log-files]") {
  test_engine engine{"a"};
  scratch_folder folder;
  auto settings = with_files(engine, 2);
  settings.log_files = folder.path();
  test_agent agent{{settings}};
  agent.default_start = start_mode::warm;
  auto check = [&] {
    auto ended = agent.run(busybox(talkative));
    CHECK(ended.outcome == outcome::succeeded);
    auto output = agent.logs(ended.id);
    CHECK(output.out == talk());
    CHECK(output.err == "warned\n1\n2\n3\n");
    CHECK(output.notes == "");
    return ended.attempts.back().container;
  };
  check(); // nothing is there
  // For the sandboxes that wait, files that begin well and go on badly.
  CHECK(eventually([&] { return agent.metric("davit_sandboxes{engine=\"a\"}") >= 1; }));
  auto there = engine.docker("ps -q --no-trunc");
  std::istringstream ids{there};
  for (std::string id; ids >> id;) {
    std::filesystem::create_directories(folder / (id + "/local-logs"));
    std::filesystem::copy(file_of(engine.containers(), id), file_of(folder.path(), id));
    std::ofstream{file_of(folder.path(), id), std::ios::app} << "this is no entry";
  }
  CHECK(there.find(check()) != std::string::npos); // one of those was taken
}

TEST_CASE("the doctor says whether an engine's log files can be read", "[log-files]") {
  test_engine engine{"a"};
  auto settings = with_files(engine);
  auto verdict = [&] {
    for (const auto& one : examine(settings))
      if (one.check == "containers-folder")
        return one.verdict + ": " + one.detail;
    return std::string{"nothing"};
  };
  CHECK(verdict().starts_with("ok: "));
  engine.docker("create --network none busybox:test true");
  CHECK(verdict() == "ok: logs are followed in " + settings.log_files);
  scratch_folder empty;
  auto own = std::exchange(settings.log_files, empty.path());
  CHECK(verdict().starts_with("warning: " + settings.log_files + " does not have this engine's containers"));
  settings.log_files = std::filesystem::path{own}.parent_path(); // the data root
  CHECK(verdict().starts_with("warning: " + settings.log_files + " does not have this engine's containers"));
  settings.log_files = own + "/nowhere";
  CHECK(verdict().starts_with("warning: "));
  CHECK(verdict().find("No such file") != std::string::npos);
  settings.log_files.clear();
  CHECK(verdict() == "nothing");
}

TEST_CASE("an engine's file gives the records that its API gives, from any place on", "[log-files]") {
  test_engine engine{"a"};
  if (GENERATE(false, true)) {
    if (!dind_engine::available())
      SKIP("there is no Docker 26 here");
    engine.stop();
    engine.upgrade();
    engine.start();
  }
  CAPTURE(engine.docker("version -f '{{.Server.Version}}'"));
  // The last line is not a cut one: of such the API does not tell how they end.
  auto id = engine.docker(
    "run -d --network none --log-driver local --log-opt max-file=1 --log-opt compress=false busybox:test sh -c \"seq "
    "500; head -c 70000 /dev/zero | tr '\\\\0' y; echo; echo err >&2; echo; printf 'last'\"");
  id = id.substr(0, id.find('\n'));
  engine.docker("wait " + id);
  auto settings = engine.settings();
  follow_options by_api, by_file;
  by_api.container = by_file.container = id;
  by_api.follow = false;
  by_file.file = file_of(engine.containers(), id);
  auto asked = follow(settings, by_api);
  CHECK(asked.failure == "");
  // Whoever reads the file needs no engine.
  auto nowhere = settings;
  nowhere.endpoint = "unix:///nowhere/docker.sock";
  auto read = follow(nowhere, by_file);
  CHECK(read.failure == "");
  CHECK(read.trouble == "");
  for (auto stream : {log_stream::out, log_stream::err}) {
    CHECK(read.text(stream) == asked.text(stream));
    CHECK_FALSE(read.text(stream).empty());
  }
  CHECK(read.records.front().at == asked.records.front().at);
  CHECK(read.records.back().at == asked.records.back().at);
  for (std::size_t from : {std::size_t{1}, std::size_t{250}, read.records.size() - 3, read.records.size()}) {
    CAPTURE(from);
    auto rest = by_file;
    rest.from = place_in(read.records, from);
    auto again = follow(nowhere, rest);
    CHECK(again.failure == "");
    REQUIRE(again.records.size() == read.records.size() - from);
    for (std::size_t i = 0; i < again.records.size(); ++i)
      REQUIRE(again.records[i].bytes == read.records[from + i].bytes);
    // The engine, asked for the same place, has the same to give.
    rest.file.clear();
    rest.follow = false;
    auto from_engine = follow(settings, rest);
    CHECK(from_engine.text(log_stream::out) == again.text(log_stream::out));
    CHECK(from_engine.text(log_stream::err) == again.text(log_stream::err));
    CHECK(from_engine.text(log_stream::note) == "");
  }
  // A file that ends in the middle of an entry: the rest comes from the engine.
  scratch_folder folder;
  auto torn = folder / "container.log";
  std::filesystem::copy(by_file.file, torn);
  std::filesystem::resize_file(torn, std::filesystem::file_size(torn) - 5);
  auto half = by_file;
  half.file = torn;
  auto mended = follow(settings, half);
  CHECK(mended.failure == "");
  CHECK(mended.trouble.find("in the middle of an entry") != std::string::npos);
  CHECK(mended.text(log_stream::out) == read.text(log_stream::out));
  CHECK(mended.text(log_stream::err) == read.text(log_stream::err));
  CHECK(mended.text(log_stream::note) == "");
}
