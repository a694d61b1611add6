#include "messages/host_entry.hpp"
#include "transport/docker_json.hpp"
#include "transport/endpoint.hpp"
#include "transport/engine_client.hpp"
#include "transport/log_parser.hpp"
#include "transport/response_reader.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::transport;

namespace {

std::string frame(char stream, const std::string& text) {
  std::string bytes(8, '\0');
  bytes[0] = stream;
  for (std::size_t i = 0; i < 4; ++i)
    bytes[4 + i] = static_cast<char>(text.size() >> (24 - 8 * i) & 0xff);
  return bytes + text;
}

const std::string stamp = "2026-11-24T03:35:55.730753637Z ";

std::vector<log_record> parse(const std::string& bytes, bool tty, std::size_t step) {
  log_parser parser{tty};
  std::vector<log_record> records;
  auto sink = [&](log_record record) { records.push_back(std::move(record)); };
  for (std::size_t at = 0; at < bytes.size(); at += step)
    REQUIRE(parser.feed(std::string_view{bytes}.substr(at, step), sink).has_value());
  REQUIRE(parser.finish(sink).has_value());
  return records;
}

std::string joined(const std::vector<log_record>& records, log_stream stream) {
  std::string text;
  for (const auto& one : records)
    if (one.stream == stream)
      text += one.bytes;
  return text;
}

} // namespace

TEST_CASE("log records keep stream, time and bytes, however the stream is cut") {
  auto bytes = frame(1, stamp + "out\n") + frame(2, stamp + std::string("\0\xff", 2)) + frame(1, stamp)
             + frame(1, stamp + "end");
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    auto records = parse(bytes, false, step);
    REQUIRE(joined(records, log_stream::out).starts_with("out\n"));
    REQUIRE(joined(records, log_stream::err) == std::string("\0\xff", 2));
    REQUIRE(format_timestamp(records.front().at) + " " == stamp);
  }
}

TEST_CASE("the newline that an engine loses behind a cut line is given back") {
  std::string part(16 * 1024, 'x');
  auto records = parse(frame(1, stamp + part) + frame(1, stamp + "rest") + frame(1, stamp + "next\n"), false, 4096);
  CHECK(joined(records, log_stream::out) == part + "rest\nnext\n");
  auto tty = parse(stamp + part + stamp + "rest\r" + stamp + "next\r\n", true, 4096);
  CHECK(joined(tty, log_stream::out) == part + "rest\r\nnext\r\n");
  // An engine that keeps it: nothing is added.
  records = parse(frame(1, stamp + part) + frame(1, stamp + "rest\n") + frame(1, stamp + "next\n"), false, 4096);
  CHECK(joined(records, log_stream::out) == part + "rest\nnext\n");
}

TEST_CASE("a log that lies is an error, and costs no memory") {
  log_parser parser{false};
  auto ignore = [](log_record) {};
  auto huge = frame(1, "");
  huge[4] = '\x7f'; // claims two gigabytes
  REQUIRE(parser.feed(huge, ignore).has_value());
  result<void> fed;
  std::string piece(64 * 1024, 'x');
  int pieces = 0;
  for (; fed && pieces < 1000; ++pieces)
    fed = parser.feed(piece, ignore);
  CHECK_FALSE(fed.has_value());
  CHECK(pieces < 20);
  CHECK_FALSE(log_parser{false}.feed("this is no frame", ignore).has_value());
  CHECK_FALSE(log_parser{false}.feed(frame(3, "engine trouble"), ignore).has_value());
  log_parser half{false};
  REQUIRE(half.feed(frame(1, stamp + "abc").substr(0, 20), ignore).has_value());
  CHECK_FALSE(half.finish(ignore).has_value());
}

TEST_CASE("a resumed log skips what was delivered, and tells what is gone") {
  auto at = [](int seconds) { return timestamp{std::chrono::seconds{1'000'000 + seconds}}; };
  log_cursor cursor;
  cursor.out = {at(5), 2, false, at(5)};
  log_resume resume{cursor};
  CHECK(resume.since() == "1000003.000000000");
  bool gap = true;
  CHECK_FALSE(resume.take({log_stream::out, at(4), "before"}, gap));
  CHECK_FALSE(resume.take({log_stream::out, at(5), "first at the stamp"}, gap));
  CHECK_FALSE(resume.take({log_stream::out, at(5), "second at the stamp"}, gap));
  CHECK(resume.take({log_stream::out, at(5), "third at the stamp"}, gap));
  CHECK_FALSE(gap);
  CHECK(resume.take({log_stream::err, at(1), "the other stream is new"}, gap));
  CHECK_FALSE(gap);
  CHECK(resume.cursor().out == stream_cursor{at(5), 3, true, at(5)});

  log_resume lost{cursor};
  CHECK(lost.take({log_stream::out, at(9), "the cursor's record is gone"}, gap));
  CHECK(gap);
}

TEST_CASE("the newline of a cut line is taken once, whether it comes with the line or behind it") {
  auto at = [](int seconds) { return timestamp{std::chrono::seconds{1'000'000 + seconds}}; };
  auto out = [&](int second, const char* bytes) { return log_record{log_stream::out, at(second), bytes}; };
  // What engines give of the same output, and what a log must hold at last.
  const std::vector<log_record> kept{out(1, "a\n"), out(5, "xx"), out(5, "rest\n"), out(6, "\n"), out(7, "b\n")},
    lost{out(1, "a\n"), out(5, "xx"), out(5, "rest"), out(5, "\n"), out(6, "\n"), out(7, "b\n")};
  for (const auto& before : {kept, lost})
    for (const auto& after : {kept, lost})
      for (std::size_t reached = 0; reached <= before.size(); ++reached) {
        std::string text;
        bool gap = false;
        log_resume first{{}};
        for (std::size_t i = 0; i < reached; ++i) {
          CHECK(first.take(before[i], gap));
          text += before[i].bytes;
        }
        log_resume second{first.cursor()};
        for (const auto& record : after)
          if (second.take(record, gap))
            text += record.bytes;
          else
            CHECK_FALSE(gap);
        CAPTURE(reached, before.size(), after.size());
        // The newline alone can't be asked for of an engine that has given the rest with it.
        if (before.size() == lost.size() && reached == 3 && after.size() == kept.size())
          CHECK(text == "a\nxxrest\nb\n");
        else
          CHECK(text == "a\nxxrest\n\nb\n");
      }
}

TEST_CASE("a log's last records are enough if they begin before the place that was reached") {
  auto at = [](int seconds) { return timestamp{std::chrono::seconds{1'000'000 + seconds}}; };
  auto out = [&](int second) { return log_record{log_stream::out, at(second), "out"}; };
  auto err = [&](int second) { return log_record{log_stream::err, at(second), "err"}; };
  auto news = [&](const log_cursor& cursor, const std::vector<log_record>& tail,
                  bool whole = false) -> std::optional<std::size_t> {
    log_resume resume{cursor};
    if (!resume.reaches(tail, whole))
      return std::nullopt;
    std::size_t taken = 0;
    for (const auto& record : tail) {
      bool gap = false;
      taken += resume.take(record, gap);
      CHECK_FALSE(gap);
    }
    return taken;
  };
  log_cursor cursor;
  cursor.out = {at(5), 2};
  CHECK(news(cursor, {out(4), out(5), out(5)}) == 0);
  CHECK(news(cursor, {out(4), out(5), out(5), out(5), out(6)}) == 2);
  // One more of the same stamp may stand in front of the tail.
  CHECK_FALSE(news(cursor, {out(5), out(5), out(6)}));
  CHECK_FALSE(news(cursor, {err(4), out(5), out(5), out(6)}));
  CHECK_FALSE(news(cursor, {out(4), out(5), out(6)})); // the second one is lost
  CHECK_FALSE(news(cursor, {out(6), out(7)}));
  CHECK_FALSE(news(cursor, {}));
  // The other stream has had nothing yet, or nothing for long.
  CHECK(news(cursor, {out(4), out(5), out(5), err(5), out(6)}) == 2);
  CHECK_FALSE(news(cursor, {out(4), err(4), out(5), out(5)}));
  cursor.err = {at(1), 1};
  CHECK(news(cursor, {out(4), out(5), out(5), err(5), out(6)}) == 2);
  CHECK_FALSE(news(cursor, {out(4), err(4), out(5), out(5)}));
  // Both are there; what was written of one stream later than the other's last is new.
  CHECK(news(cursor, {out(4), err(0), err(1), err(2), out(5), out(5), out(6)}) == 2);
  CHECK_FALSE(news({}, {out(1)}));
  // The last record of a stream stands behind the other's: it was delivered, or it is new and has the same stamp.
  cursor.err = {at(7), 1};
  CHECK_FALSE(news(cursor, {out(4), out(5), out(5), err(7)}));
  CHECK(news(cursor, {out(4), out(5), out(5), err(7), err(8)}, true) == 1);
}

TEST_CASE("an HTTP answer is read in pieces of any size") {
  std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nApi-Version: 1.41\r\n\r\n5\r\nhello\r\n6\r\n "
                        "world\r\n0\r\n\r\n";
  for (std::size_t step = 1; step <= chunked.size(); ++step) {
    response_reader reader;
    std::string body;
    for (std::size_t at = 0; at < chunked.size(); at += step)
      REQUIRE(
        reader.feed(std::string_view{chunked}.substr(at, step), [&](std::string_view piece) { body.append(piece); })
          .has_value());
    REQUIRE(reader.done());
    REQUIRE(reader.keep_alive());
    REQUIRE(body == "hello world");
    REQUIRE(reader.header("api-version") == "1.41");
  }
  response_reader cut;
  REQUIRE(cut.feed("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", [](std::string_view) {}).has_value());
  CHECK_FALSE(cut.finish().has_value());
  response_reader garbage;
  CHECK_FALSE(garbage.feed("\x16\x03\x01 this is TLS\r\n\r\n", [](std::string_view) {}).has_value());
  response_reader endless;
  result<void> fed;
  int lines = 0;
  for (; fed && lines < 100'000; ++lines)
    fed = endless.feed(lines == 0 ? "HTTP/1.1 200 OK\r\n" : "X-Header: value\r\n", [](std::string_view) {});
  CHECK(lines < 10'000);
}

TEST_CASE("the API version is the highest that both have, or a clear no") {
  CHECK(*choose_version("1.12", "1.41") == "1.41");
  CHECK(*choose_version("1.24", "1.45") == "1.45");
  CHECK(*choose_version("1.44", "1.52") == std::string{most_api_version});
  CHECK(choose_version("1.12", "1.39").error().message.find("upgrade the engine") != std::string::npos);
  CHECK(choose_version("1.60", "1.61").error().message.find("upgrade davit") != std::string::npos);
  CHECK(compare_versions("1.9", "1.41") < 0);
}

TEST_CASE("endpoints") {
  CHECK(parse_endpoint("unix:///var/run/docker.sock")->path == "/var/run/docker.sock");
  CHECK(parse_endpoint("tcp://dind")->port == 2375);
  CHECK(parse_endpoint("tcp://dind", tls_settings{})->port == 2376);
  CHECK(parse_endpoint("tcp://[::1]:99")->host == "::1");
  for (auto wrong : {"", "dind:2375", "ssh://x", "unix://relative", "unix:///", "tcp://:1", "tcp://a:0",
                     "tcp://a:70000", "tcp://a:b"})
    CHECK_FALSE(parse_endpoint(wrong).has_value());
  CHECK(parse_endpoint("http://u:p@x/").error().message.find("no user and no password") != std::string::npos);
  CHECK(parse_endpoint("tcp://x:1/y").error().message.find("nothing may follow the port") != std::string::npos);
  std::map<std::string, std::string> env{
    {"DOCKER_HOST", "tcp://d:2376"}, {"DOCKER_TLS_VERIFY", "1"}, {"DOCKER_CERT_PATH", "/certs"}};
  auto settings
    = engine_from_environment([&](const char* name) { return env.contains(name) ? env[name].c_str() : nullptr; });
  CHECK(settings.endpoint == "tcp://d:2376");
  CHECK(settings.tls_ca == "/certs/ca.pem");
  CHECK(endpoint_of(settings)->tls->verify);
}

TEST_CASE("what the engine says is read, and what it should not say is an error") {
  CHECK(read_message(R"({"message":"No such image"})") == "No such image");
  CHECK(read_message("plain\n") == "plain");
  CHECK_FALSE(read_container("{}").has_value());
  auto status = read_container(
    R"({"Id":"x","Name":"/n","Image":"i","State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2026-11-24T03:35:55Z",
    "FinishedAt":"0001-01-01T00:00:00Z"},"Config":{"Tty":false,"Labels":null}})");
  REQUIRE(status.has_value());
  CHECK(status->ended());
  CHECK(status->oom_killed);
  CHECK_FALSE(status->finished_at);
  CHECK(status->raw_state.find("\"ExitCode\":137") != std::string::npos);
  pull_reader pull{"alpine"};
  REQUIRE(pull.line(R"({"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"abc"})").has_value());
  CHECK(pull.progress().bytes == 5);
  CHECK(pull.line(R"({"error":"unauthorized"})").error().message == "unauthorized");
  line_splitter lines{1024};
  CHECK_FALSE(lines.feed(std::string(2000, 'x'), [](std::string_view) -> result<void> { return {}; }).has_value());
}

TEST_CASE("an anonymous volume has davit's labels, and none of its task's") {
  container_plan plan;
  plan.image = "a";
  plan.mounts = {{mount_type::volume, "", "/x", false, {}}};
  plan.labels = {{"davit.task", "t"}, {"davit.label.team", "red"}, {"team", "red"}};
  CHECK(create_body(plan).find(R"("VolumeOptions":{"Labels":{"davit.task":"t"}})") != std::string::npos);
}

TEST_CASE("no host mount, no privilege and no docker.sock leave davit by mistake") {
  container_plan plan;
  plan.image = "a";
  plan.network = "none";
  plan.resources = {1.5, byte_size{64 << 20}, 10, {}};
  auto body = create_body(plan);
  for (auto part : {"\"NanoCpus\":1500000000", "\"Memory\":67108864", "\"MemorySwap\":67108864", "\"PidsLimit\":10",
                    "no-new-privileges", "\"AutoRemove\":false"})
    CHECK(body.find(part) != std::string::npos);
  for (auto part : {"Privileged", "Binds", "CapAdd"})
    CHECK(body.find(part) == std::string::npos);
}

TEST_CASE("each way to write a host's address reaches the engine as the one that all engines read") {
  container_plan plan;
  plan.image = "a";
  plan.extra_hosts = {"a:10.0.0.1", "b=10.0.0.2", "c:::1", "d=[2001:db8::1]", "e=host-gateway"};
  auto expected = R"("ExtraHosts":["a:10.0.0.1","b:10.0.0.2","c:::1","d:2001:db8::1","e:host-gateway"])";
  CHECK(create_body(plan).find(expected) != std::string::npos);
  for (auto wrong : {"", "a", "a:", ":10.0.0.1", "a:10.0.0", "a:10.0.0.256", "a:010.0.0.1", "a::1", "a:[10.0.0.1",
                     "a b:::1", "-a:::1", "a:::1%eth0", "a:1", "a:b"}) {
    CAPTURE(wrong);
    CHECK_FALSE(host_entry::of(wrong));
  }
}
