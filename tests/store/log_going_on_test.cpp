// A log whose attempt goes on after it had ended.
#include "fixture/test_engine.hpp"
#include "store/attempt_log.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_random.hpp>

#include <random>

using namespace davit;
using namespace davit::store;
using davit::test::scratch_folder;

TEST_CASE("a log that had ended goes on behind its last record, as often as it ends, wherever it lies") {
  auto seed = GENERATE(take(60, random(1u, 1'000'000u)));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  scratch_folder folder;
  auto path = folder.path() / "1";
  std::vector<log_record> records;
  std::unique_ptr<log_writer> writer;
  auto largest = pick(3) == 0 ? 200'000 : 300;
  int second = 0;
  for (int round = 0; round < 6; ++round) {
    if (!writer || (!writer->in_memory() && pick(2) == 0)) // another agent's life
      writer = *log_writer::open(path, 0, pick(2) == 0 ? log_place::memory : log_place::file);
    REQUIRE(writer->go_on().has_value());
    CHECK_FALSE(writer->closed());
    for (int left = pick(12); left > 0; --left) {
      log_record one{pick(3) == 0 ? log_stream::err : log_stream::out,
                     timestamp{std::chrono::seconds{1'000'000 + ++second}},
                     std::string(static_cast<std::size_t>(1 + pick(largest)), static_cast<char>('a' + pick(26)))};
      REQUIRE(writer->append({one}).has_value());
      records.push_back(one);
    }
    REQUIRE(writer->end().has_value());
    CHECK_FALSE(writer->append({{log_stream::out, timestamp{}, "late"}}).has_value());
    if (pick(3) == 0)
      REQUIRE(writer->to_file().has_value());
    if (!writer->in_memory() && pick(3) == 0) {
      writer.reset();
      log_compressor compressor{path};
      for (auto done = false; !done && pick(8) != 0;) { // or it goes on before that is done
        auto step = compressor.step();
        REQUIRE(step.has_value());
        done = *step;
      }
    }
    log_summary totals;
    for (const auto& one : records)
      (one.stream == log_stream::out ? totals.out : totals.err).bytes += one.bytes.size();
    if (!writer)
      writer = *log_writer::open(path, 0);
    CHECK(writer->closed());
    CHECK(writer->summary().out.bytes == totals.out.bytes);
    CHECK(writer->summary().err.bytes == totals.err.bytes);
    std::vector<log_record> read;
    for (std::uint64_t offset = 0;;) {
      auto page = writer->read(offset, 1u << 20);
      REQUIRE(page.has_value());
      read.insert(read.end(), page->records.begin(), page->records.end());
      offset = page->next;
      if (page->finished)
        break;
      REQUIRE(!page->records.empty());
    }
    CHECK((read == records));
  }
}
