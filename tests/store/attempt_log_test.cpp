#include "fixture/environment.hpp"
#include "fixture/test_engine.hpp"
#include "store/attempt_log.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fstream>
#include <random>

using namespace davit;
using namespace davit::store;
using davit::test::scratch_folder;
using namespace std::chrono_literals;

namespace {

timestamp at(int second) {
  return timestamp{std::chrono::seconds{1'000'000 + second}};
}

std::vector<log_record> read_all(const std::filesystem::path& path, std::uint32_t page_bytes, bool& finished) {
  std::vector<log_record> all;
  std::uint64_t offset = 0;
  while (true) {
    auto page = read_log(path, offset, page_bytes);
    REQUIRE(page.has_value());
    all.insert(all.end(), page->records.begin(), page->records.end());
    finished = page->finished;
    if (page->records.empty() || page->finished)
      return all;
    offset = page->next;
  }
}

std::vector<log_record> some_records(std::size_t count) {
  std::minstd_rand random{42};
  std::vector<log_record> records;
  for (std::size_t i = 0; i < count; ++i) {
    std::string bytes(random() % 2000, '\0');
    for (auto& c : bytes)
      c = static_cast<char>(random());
    records.push_back({i % 3 == 0 ? log_stream::err : log_stream::out, at(static_cast<int>(i / 2)), std::move(bytes)});
  }
  return records;
}

} // namespace

TEST_CASE("a log reads back as it was written: in any page size, open, closed and compressed") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  auto records = some_records(3000);
  auto writer = *log_writer::open(path, 0);
  for (std::size_t i = 0; i < records.size(); i += 100)
    REQUIRE(writer
              ->append({records.begin() + static_cast<std::ptrdiff_t>(i),
                        records.begin() + static_cast<std::ptrdiff_t>(i + 100)})
              .has_value());
  bool finished = true;
  CHECK(read_all(path, 5000, finished) == records);
  CHECK_FALSE(finished);
  auto totals = writer->summary();
  REQUIRE(writer->close().has_value());
  CHECK(read_all(path, 100'000, finished) == records);
  CHECK(finished);
  log_compressor compressor{path};
  for (bool done = false; !done;) {
    auto step = compressor.step();
    REQUIRE(step.has_value());
    done = *step;
  }
  CHECK_FALSE(std::filesystem::exists(path.string() + ".log"));
  CHECK(read_all(path, 5000, finished) == records);
  CHECK(finished);
  auto again = *log_writer::open(path, 0);
  CHECK(again->closed());
  CHECK(again->summary().out.hash == totals.out.hash);
  CHECK(again->summary().err.bytes == totals.err.bytes);
}

TEST_CASE("a small log is packed at once as it would be compressed, also an empty one") {
  scratch_folder folder;
  for (int count : {0, 1, 50}) {
    INFO(count);
    auto path = folder.path() / std::to_string(count), other = folder.path() / ("fetched-" + std::to_string(count));
    auto records = some_records(count);
    auto writer = *log_writer::open(path, 0);
    REQUIRE(writer->append(records).has_value());
    REQUIRE(writer->close().has_value());
    auto packed = pack_small(path);
    REQUIRE(packed.has_value());
    packed_writer fetched{other};
    REQUIRE(fetched.add(*packed).has_value());
    REQUIRE(fetched.finish().has_value());
    bool finished = false;
    CHECK(read_all(other, 5000, finished) == records);
    CHECK(finished);
  }
  CHECK_FALSE(pack_small(folder.path() / "none").has_value());
}

TEST_CASE("a small log is written in memory, and gets a file when it is asked to or has grown") {
  scratch_folder folder;
  auto path = folder.path() / "1" / "1";
  auto records = some_records(8);
  auto writer = *log_writer::open(path, 0, log_place::memory);
  REQUIRE(writer->append(records).has_value());
  CHECK(writer->in_memory());
  CHECK_FALSE(std::filesystem::exists(path.parent_path()));
  auto page = writer->read(0, 100'000);
  REQUIRE(page.has_value());
  CHECK(page->records == records);
  CHECK_FALSE(page->finished);
  CHECK(writer->read(page->ends[3], 100'000)->records == std::vector<log_record>(records.begin() + 4, records.end()));

  SECTION("it ends") {
    REQUIRE(writer->end().has_value());
    CHECK(writer->read(page->next, 1000)->finished);
    auto packed = pack_bytes(*writer->whole(small_log));
    REQUIRE(packed.has_value());
    CHECK(read_packed_log(*packed, 0, 100'000)->records == records);
    CHECK(read_packed_log(*packed, page->next, 1000)->finished);
    CHECK_FALSE(read_packed_log(packed->substr(0, packed->size() - 1), 0, 1000).has_value());
    CHECK_FALSE(std::filesystem::exists(path.parent_path()));
    CHECK(writer->tail(1'000'000).size() == writer->summary().out.bytes + writer->summary().err.bytes);
    REQUIRE(writer->sync().has_value()); // durable: not in memory, then
    bool finished = false;
    CHECK(read_all(path, 5000, finished) == records);
    CHECK(finished);
  }
  SECTION("it grows") {
    auto more = some_records(30);
    REQUIRE(writer->append(more).has_value());
    CHECK_FALSE(writer->in_memory());
    records.insert(records.end(), more.begin(), more.end());
    REQUIRE(writer->append(more).has_value());
    records.insert(records.end(), more.begin(), more.end());
    REQUIRE(writer->close().has_value());
    bool finished = false;
    CHECK(read_all(path, 5000, finished) == records);
    CHECK(finished);
  }
  SECTION("another writer goes on where its file ends") {
    REQUIRE(writer->to_file().has_value());
    CHECK((*log_writer::open(path, 0, log_place::memory))->cursor() == writer->cursor());
    CHECK_FALSE((*log_writer::open(path, 0, log_place::memory))->in_memory());
  }
  SECTION("it can't be written") {
    std::ofstream{path.parent_path()} << "a file where the folder should be";
    auto before = writer->cursor();
    CHECK_FALSE(writer->append(some_records(30)).has_value());
    CHECK(writer->cursor() == before);
    CHECK(writer->read(0, 100'000)->records == records);
    std::filesystem::remove(path.parent_path());
    CHECK(writer->append(some_records(30)).has_value());
  }
}

TEST_CASE("a log that was cut off in the middle of a record goes on behind the last whole one") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  auto records = some_records(20);
  {
    auto writer = *log_writer::open(path, 0);
    REQUIRE(writer->append(records).has_value());
  }
  auto name = path.string() + ".log";
  std::filesystem::resize_file(name, std::filesystem::file_size(name) - 1);
  auto writer = *log_writer::open(path, 0);
  // The cursor says what is still to come, so that it is asked for again.
  CHECK(writer->cursor().out.at == records[17].at);
  REQUIRE(writer->append({records.back()}).has_value());
  bool finished = true;
  CHECK(read_all(path, 100'000, finished) == records);
}

TEST_CASE("a file that somebody removes while it is written comes back whole, whenever it goes") {
  auto seed = test::number_from("DAVIT_SEED", std::random_device{}());
  INFO("DAVIT_SEED=" << seed);
  std::minstd_rand random{static_cast<unsigned>(seed)};
  for (int round = 0; round < 20; ++round) {
    scratch_folder folder;
    auto path = folder.path() / "logs" / "00" / "1";
    auto writer = log_writer::open(path, 0);
    REQUIRE(writer.has_value());
    auto records = some_records(1 + random() % 60);
    for (std::size_t i = 0; i < records.size(); ++i) {
      REQUIRE((*writer)->append({records[i]}).has_value());
      if (random() % 4 == 0)
        random() % 2 == 0 ? std::filesystem::remove(path.string() + ".log")
                          : std::filesystem::remove_all(folder.path() / "logs");
      if (random() % 4 == 0) {
        auto page = (*writer)->read(0, 1 << 20);
        REQUIRE(page.has_value());
        CHECK(page->records.size() == i + 1);
      }
    }
    REQUIRE((*writer)->close().has_value());
    bool finished = false;
    auto read = read_all(path, 100'000, finished);
    CHECK(finished);
    REQUIRE(read.size() == records.size());
    for (std::size_t i = 0; i < records.size(); ++i)
      CHECK(read[i].bytes == records[i].bytes);
    CHECK(std::filesystem::status(path.string() + ".log").permissions()
          == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  }
}

TEST_CASE("what somebody cuts off a log while it is written is asked for again, or its loss is remarked") {
  auto seed = test::number_from("DAVIT_SEED", std::random_device{}());
  INFO("DAVIT_SEED=" << seed);
  std::minstd_rand random{static_cast<unsigned>(seed)};
  for (int round = 0; round < 40; ++round) {
    scratch_folder folder;
    auto path = folder.path() / "1", file = folder.path() / "1.log";
    auto writer = log_writer::open(path, 0);
    REQUIRE(writer.has_value());
    auto records = some_records(1 + random() % 60);
    auto there = [&] { // as a reader finds out where to go on
      bool finished = false;
      return (*writer)->size() == 0 ? 0 : read_all(path, 100'000, finished).size();
    };
    auto damages = 4;
    for (std::size_t i = 0; i < records.size();) {
      if (auto written = (*writer)->append({records[i]}); written.has_value()) {
        ++i;
      } else {
        CHECK(written.error().message.ends_with("somebody has shortened it; it is read again"));
        i = there();
      }
      if (random() % 5 == 0 && damages-- > 0) {
        std::filesystem::resize_file(file, random() % 2 == 0 ? 0 : random() % (std::filesystem::file_size(file) + 1));
        if (random() % 3 == 0) { // and puts another in its place
          std::ofstream{folder.path() / "other"} << std::string(100'000, 'o');
          std::filesystem::rename(folder.path() / "other", file);
        }
      }
      if (random() % 5 == 0)
        REQUIRE((*writer)->read(0, 1 << 20).has_value());
    }
    auto left = std::filesystem::file_size(file);
    auto cut = random() % 2 == 0 && left > 0;
    if (cut)
      std::filesystem::resize_file(file, random() % left);
    REQUIRE((*writer)->close().has_value());
    bool finished = false;
    auto read = read_all(path, 100'000, finished);
    CHECK(finished);
    REQUIRE(!read.empty());
    auto remarked = read.back().stream == log_stream::note;
    if (remarked)
      read.pop_back();
    CHECK((remarked || read.size() == records.size()));
    CHECK((!cut || remarked));
    REQUIRE(read.size() <= records.size());
    for (std::size_t i = 0; i < read.size(); ++i)
      CHECK(read[i].bytes == records[i].bytes);
  }
}

TEST_CASE("a log's folder that somebody moves away comes back with all that was written") {
  scratch_folder folder;
  auto path = folder.path() / "logs" / "1";
  auto writer = log_writer::open(path, 0);
  REQUIRE(writer.has_value());
  auto records = some_records(20);
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i == 10)
      std::filesystem::rename(folder.path() / "logs", folder.path() / "elsewhere");
    REQUIRE((*writer)->append({records[i]}).has_value());
  }
  REQUIRE((*writer)->close().has_value());
  bool finished = false;
  CHECK(read_all(path, 100'000, finished).size() == records.size());
  CHECK(finished);
}

TEST_CASE("over the limit one remark is kept, and the rest is counted") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  auto writer = *log_writer::open(path, 10);
  REQUIRE(writer->append({{log_stream::out, at(1), "12345678"}, {log_stream::out, at(2), "abc"}}).has_value());
  REQUIRE(writer->append({{log_stream::err, at(3), "defg"}}).has_value());
  bool finished = true;
  auto all = read_all(path, 100'000, finished);
  REQUIRE(all.size() == 2);
  CHECK(all[0].bytes == "12345678");
  CHECK(all[1].stream == log_stream::note);
  CHECK(all[1].bytes.find("the log limit of 10 is reached") != std::string::npos);
  CHECK(writer->summary().dropped == 7);
  CHECK(writer->cursor().err.at == at(3)); // what is dropped is not asked for again
}

TEST_CASE("nothing comes after the remark on the limit, however the log is cut into batches and opened again") {
  std::minstd_rand random{std::random_device{}()};
  auto pick = [&](unsigned below) { return random() % below; };
  for (int round = 0; round < 200; ++round) {
    scratch_folder folder;
    auto path = folder.path() / "1";
    auto limit = 1 + pick(200);
    auto writer = *log_writer::open(path, limit);
    std::vector<log_record> given;
    std::string kept;
    std::uint64_t dropped = 0;
    bool over = false;
    for (int batch = 0; batch < 8; ++batch) {
      std::vector<log_record> records;
      for (auto count = pick(4); count > 0; --count) {
        log_record one{pick(2) ? log_stream::out : log_stream::err, at(static_cast<int>(given.size())),
                       std::string(1 + pick(60), static_cast<char>('a' + pick(26)))};
        over |= kept.size() + one.bytes.size() > limit;
        if (over)
          dropped += one.bytes.size();
        else
          kept += one.bytes;
        given.push_back(one);
        records.push_back(one);
      }
      REQUIRE(writer->append(records).has_value());
    }
    CHECK(writer->summary().dropped == dropped);
    auto opened = *log_writer::open(path, limit);
    REQUIRE(opened->append({{log_stream::out, at(99), "x"}}).has_value());
    if (!over && kept.size() < limit)
      kept += "x";
    else
      over = true;
    bool finished = true;
    std::string read;
    int remarks = 0;
    for (const auto& one : read_all(path, 100'000, finished)) {
      CHECK(remarks == 0);
      if (one.stream == log_stream::note)
        ++remarks;
      else
        read += one.bytes;
    }
    CHECK(read == kept);
    CHECK(remarks == (over ? 1 : 0));
  }
}

TEST_CASE("the tail is the end of both streams, whatever the log's length") {
  scratch_folder folder;
  auto writer = *log_writer::open(folder.path() / "1", 0);
  for (int i = 0; i < 50; ++i)
    REQUIRE(
      writer->append({{log_stream::out, at(i), std::string(100'000, static_cast<char>('a' + i % 26))}}).has_value());
  REQUIRE(writer->append({{log_stream::err, at(99), "the end"}}).has_value());
  auto tail = writer->tail(1000);
  CHECK(tail.size() == 1000);
  CHECK(tail.ends_with("xthe end"));
}

TEST_CASE("the tail of a long log costs no more than its end, also of one that was opened again") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  auto writer = *log_writer::open(path, 0);
  for (int i = 0; i < 100; ++i)
    REQUIRE(
      writer->append({{log_stream::out, at(i), std::string(100'000, static_cast<char>('a' + i % 26))}}).has_value());
  if (GENERATE(false, true))
    writer = *log_writer::open(path, 0);
  // What is before the end can't be read any more: nobody notices.
  REQUIRE(std::fstream{path.string() + ".log", std::ios::in | std::ios::out}.write("damaged", 7));
  CHECK_FALSE(read_log(path, 0, 1000).has_value());
  auto tail = writer->tail(longest_tail);
  CHECK(tail.size() == longest_tail);
  CHECK(tail.ends_with(std::string(100'000, 'a' + 99 % 26)));
  CHECK(tail[tail.size() - 100'001] == 'a' + 98 % 26);
}

TEST_CASE("a log is taken up again in one pass of large reads") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  std::vector<log_record> records(20'000, {log_stream::out, at(1), "a line\n"});
  {
    auto writer = *log_writer::open(path, 0);
    REQUIRE(writer->append(records).has_value());
    REQUIRE(writer->append({{log_stream::err, at(2), std::string(3'000'000, 'x')}}).has_value()); // longer than a read
  }
  auto reads = [] {
    std::ifstream io{"/proc/thread-self/io"};
    std::uint64_t count = 0;
    for (std::string word; io >> word;)
      if (word == "syscr:")
        io >> count;
    return count;
  };
  auto before = reads();
  auto writer = *log_writer::open(path, 0);
  CHECK(reads() - before < 50);
  CHECK(writer->summary().out.bytes == 20'000 * 7);
  CHECK(writer->summary().err.bytes == 3'000'000);
}

TEST_CASE("a log that was damaged anywhere is taken up where it is whole: its ledger says what can be read") {
  auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::minstd_rand random{seed};
  auto pick = [&](std::uint64_t below) { return random() % below; };
  auto readable = [](const std::filesystem::path& path) {
    std::vector<log_record> all;
    for (std::uint64_t offset = 0;;) {
      auto page = read_log(path, offset, 4096);
      if (!page || page->records.empty())
        return all;
      all.insert(all.end(), page->records.begin(), page->records.end());
      offset = page->next;
    }
  };
  auto same_totals = [](const log_summary& totals, const std::vector<log_record>& records) {
    scratch_folder aside;
    auto fresh = *log_writer::open(aside / "1", 0, log_place::memory);
    REQUIRE(fresh->append(records).has_value());
    auto expected = fresh->summary();
    CHECK(totals.out.bytes == expected.out.bytes);
    CHECK(totals.out.hash == expected.out.hash);
    CHECK(totals.err.bytes == expected.err.bytes);
    CHECK(totals.err.hash == expected.err.hash);
  };
  for (int round = 0; round < 300; ++round) {
    scratch_folder folder;
    auto path = folder / "1";
    {
      auto writer = *log_writer::open(path, 0);
      REQUIRE(writer->append(some_records(pick(30))).has_value());
      if (pick(2) == 0)
        REQUIRE(writer->close().has_value());
    }
    auto name = path + ".log";
    auto size = std::filesystem::file_size(name);
    std::fstream file{name, std::ios::in | std::ios::out | std::ios::binary};
    switch (pick(4)) {
      case 0:
        std::filesystem::resize_file(name, pick(size + 1));
        break;
      case 1: // a byte, often one of a header or of the ledger
        file.seekp(
          static_cast<std::streamoff>(pick(2) == 0 ? pick(size + 1) : size - std::min<std::uint64_t>(size, pick(120))));
        file.put(static_cast<char>(random()));
        break;
      case 2:
        file.seekp(static_cast<std::streamoff>(pick(size + 1)));
        file << std::string(pick(100), '\0');
        break;
      default:
        file.seekp(0, std::ios::end);
        for (auto count = pick(100); count > 0; --count)
          file.put(static_cast<char>(random()));
    }
    file.close();
    auto before = readable(path);
    auto writer = *log_writer::open(path, 0);
    CHECK(readable(path) == before); // nothing that could be read is lost
    same_totals(writer->summary(), before);
    if (!writer->closed()) {
      std::vector<log_record> more{{log_stream::out, at(99), "more\n"}};
      REQUIRE(writer->append(more).has_value());
      REQUIRE(writer->close().has_value());
      before.push_back(more[0]);
    }
    bool finished = false;
    CHECK(read_all(path, 5000, finished) == before);
    CHECK(finished);
    same_totals((*log_writer::open(path, 0))->summary(), before);
  }
}

TEST_CASE("a log that is damaged is an error, not an end") {
  scratch_folder folder;
  auto path = folder.path() / "1";
  {
    auto writer = *log_writer::open(path, 0);
    REQUIRE(writer->append({{log_stream::out, at(1), "good"}}).has_value());
  }
  davit::test::shell("printf 'this is no record header' >> " + path.string() + ".log");
  auto page = read_log(path, 20, 1000);
  CHECK_FALSE(page.has_value());
  CHECK(page.error().code == log_errc::damaged);
}
