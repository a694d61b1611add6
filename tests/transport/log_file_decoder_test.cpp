#include "transport/log_file_decoder.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/endian/conversion.hpp>
#include <protozero/pbf_builder.hpp>
#include <protozero/pbf_writer.hpp>

using namespace davit;
using namespace davit::transport;

namespace {

constexpr std::int64_t stamp = 1'790'000'000'123'456'789;

std::string size_of(const std::string& text) {
  std::string bytes(4, '\0');
  boost::endian::store_big_u32(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<std::uint32_t>(text.size()));
  return bytes;
}

std::string framed(const std::string& message) {
  return size_of(message) + message + size_of(message);
}

/// `last`: a part of a line that was cut, and whether it is the last one.
std::string
entry(const std::string& source, const std::string& line, std::optional<bool> last = {}, std::int64_t at = stamp) {
  std::string bytes;
  protozero::pbf_writer fields{bytes};
  fields.add_string(1, source);
  fields.add_int64(2, at);
  fields.add_bytes(3, line);
  if (last) {
    fields.add_bool(4, true);
    protozero::pbf_writer metadata{fields, 5};
    metadata.add_bool(1, *last);
    metadata.add_string(2, "id");
    metadata.add_int32(3, 1);
  }
  return framed(bytes);
}

/// Fed `step` bytes at a time.
std::vector<log_record> decode(log_file_decoder& decoder, const std::string& bytes, std::size_t step) {
  std::vector<log_record> records;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    auto fed = decoder.feed(std::string_view{bytes}.substr(at, step),
                            [&](log_record record) { records.push_back(std::move(record)); });
    INFO((fed ? "" : fed.error().message));
    REQUIRE(fed.has_value());
  }
  return records;
}

std::string refused(const std::string& bytes) {
  log_file_decoder decoder;
  auto fed = decoder.feed(bytes, [](log_record) {});
  return fed ? "" : fed.error().message;
}

} // namespace

TEST_CASE("an engine's log file is read as its API tells it, however it is cut") {
  const std::string every = std::string("\0\xff\r", 3), part(16 * 1024, 'x');
  auto bytes = entry("stdout", "one") + entry("stderr", every) + entry("stdout", part, false)
             + entry("stdout", "rest", true) + entry("stdout", "") + entry("stdout", "no newline", false);
  for (std::size_t step : {1ul, 2ul, 3ul, 5ul, 100ul, 4096ul, bytes.size()}) {
    log_file_decoder decoder;
    auto records = decode(decoder, bytes, step);
    REQUIRE(records.size() == 6);
    CHECK(records[0].stream == log_stream::out);
    CHECK(records[0].at == timestamp{std::chrono::nanoseconds{stamp}});
    CHECK(records[0].bytes == "one\n");
    CHECK(records[1].stream == log_stream::err);
    CHECK(records[1].bytes == every + "\n");
    CHECK(records[2].bytes == part);
    CHECK(records[3].bytes == "rest\n");
    CHECK(records[4].bytes == "\n");
    CHECK(records[5].bytes == "no newline");
    CHECK(decoder.at_boundary());
  }
}

TEST_CASE("the last entry of an engine's log file may still be on its way") {
  auto whole = entry("stdout", "one"), bytes = whole + entry("stdout", "two");
  for (auto size = whole.size() + 1; size < bytes.size(); ++size) {
    log_file_decoder decoder;
    CHECK(decode(decoder, bytes.substr(0, size), 7).size() == 1);
    CHECK_FALSE(decoder.at_boundary());
    CHECK(decode(decoder, bytes.substr(size), 7).size() == 1);
    CHECK(decoder.at_boundary());
  }
}

TEST_CASE("fields that a later engine adds to its log's entries are passed over") {
  std::string bytes;
  protozero::pbf_writer fields{bytes};
  fields.add_string(9, "new");
  fields.add_string(1, "stdout");
  fields.add_int64(2, stamp);
  fields.add_bytes(3, "line");
  fields.add_fixed64(10, 7);
  log_file_decoder decoder;
  auto records = decode(decoder, framed(bytes), 1000);
  REQUIRE(records.size() == 1);
  CHECK(records[0].bytes == "line\n");
}

TEST_CASE("what is no log file of an engine is refused") {
  auto good = entry("stdout", "one");
  CHECK(refused(good + std::string(8, '\0')).find("claims to have 0 bytes") != std::string::npos);
  CHECK(refused(good + "garbage!").find("claims to have") != std::string::npos);
  auto torn = good.substr(0, good.size() - 10)
            + good; // the engine was killed in the middle of an entry, and wrote on behind it
  CHECK_FALSE(refused(torn).empty());
  CHECK(refused(entry("stdin", "x")).find("no stream") != std::string::npos);
  CHECK(refused(entry("stdout", "x", {}, 0)).find("no time") != std::string::npos);
  CHECK_FALSE(refused(framed("\x0a\xff\xff\xff")).empty()); // a length that leads out of the entry
  CHECK_FALSE(refused(framed(std::string(20, '\xff'))).empty());
}
