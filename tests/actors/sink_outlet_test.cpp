// Where a sink sends logs to: a file.
#include "actor_fixture.hpp"
#include "actors/sink_outlet.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using shipping::delivery;

TEST_CASE_METHOD(actor_fixture, "a file of logs is rotated between two records, however large a batch is") {
  auto bytes = GENERATE(1024, 4096, 65536);
  std::filesystem::create_directory(folder / "out");
  sink_settings settings;
  settings.type = sink_type::file;
  settings.path = folder / "out/log.json";
  settings.max_size = byte_size{static_cast<std::uint64_t>(bytes)};
  settings.max_files = 1000;
  auto outlet = make_sink_outlet(*context_with(), settings);
  REQUIRE(outlet.has_value());
  auto records = std::make_shared<std::vector<log_record>>();
  for (int i = 0; i < 500; ++i)
    records->push_back({log_stream::out, timestamp{}, std::string(static_cast<std::size_t>(i % 200), 'x') + "\n"});
  auto names = std::make_shared<shipping::log_names>();
  bool taken = false;
  (*outlet)->send(names, records, [&](const delivery& done) { taken = done.how == delivery::verdict::taken; });
  CHECK(taken);
  std::size_t lines = 0, files = 0;
  for (const auto& one : std::filesystem::directory_iterator{folder / "out"}) {
    ++files;
    CHECK(one.file_size() <= static_cast<std::size_t>(bytes));
    std::ifstream in{one.path()};
    for (std::string line; std::getline(in, line); ++lines)
      CHECK(line.ends_with('}'));
  }
  CHECK(lines == records->size());
  CHECK(files > 1);
}

TEST_CASE_METHOD(actor_fixture, "a pipe, a device or a folder is no file for logs, and nobody waits for its reader") {
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  sink_settings settings;
  settings.type = sink_type::file;
  auto which = GENERATE(0u, 1u, 2u);
  settings.path = std::array{folder / "pipe", folder.path().string(), std::string{"/dev/null"}}[which];
  auto outlet = make_sink_outlet(*context_with(), settings);
  REQUIRE(outlet.has_value());
  auto records = std::make_shared<std::vector<log_record>>();
  records->push_back({log_stream::out, timestamp{}, "line\n"});
  delivery done;
  (*outlet)->send(std::make_shared<shipping::log_names>(), records, [&](const delivery& now) { done = now; });
  CHECK(done.how == delivery::verdict::again);
  CHECK(done.message == settings.path + (which == 1 ? " is a directory, not a file" : " is not a regular file"));
}
