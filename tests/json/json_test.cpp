#include "json/read.hpp"
#include "json/write.hpp"
#include "messages/task.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;

namespace {

std::string complaint(std::string_view text) {
  auto spec = json::read<task_spec>(text, json::unknown_fields::refuse);
  return spec ? "" : spec.error().text();
}

} // namespace

TEST_CASE("a mistake in a task spec is named by the field's path, with what was meant") {
  CHECK(complaint(R"({"image":"a","resources":{"memroy":"1g"}})")
        == "resources.memroy: unknown field, did you mean \"memory\"?");
  CHECK(complaint(R"({"image":"a","resources":{"memory":"much"}})")
        == "resources.memory: \"much\" is not a size such as 512m, 1g or 1048576");
  CHECK(complaint(R"({"image":"a","command":["a",2]})") == "command[1]: must be a string, not a number");
  CHECK(complaint(R"({"image":"a","timeout":"soon"})").starts_with("timeout: \"soon\" is not a duration"));
  CHECK(complaint(R"({"image":"a","retry":{"on":["engine_lots"]}})").substr(0, 52)
        == "retry.on[0]: \"engine_lots\" is not one of succeeded, ");
  CHECK(complaint(R"({"image":"a","priviledged":true})").starts_with("priviledged: unknown field"));
  CHECK(complaint(R"({"image":"a","tty":1})") == "tty: must be true or false, not a number");
  CHECK(complaint(R"({"image":"a","priority":9999999999})") == "priority: the number 9999999999 is out of range");
  CHECK(complaint(R"({"image":"a","image":"a"})") == "image: is given twice");
  CHECK(complaint(R"({"image":"a","env":{"A":"1","A":"2"}})") == "env.A: is given twice");
  CHECK(complaint("[]") == "must be an object, not an array");
  CHECK(complaint("{").starts_with("not valid JSON"));
  CHECK(complaint(std::string(100'000, '[')).starts_with("not valid JSON"));
}

TEST_CASE("a task spec reads back as it was written") {
  auto text
    = R"({"image":"alpine:3.20","command":["sh","-c","echo hi"],"entrypoint":["/x"],"env":{"K":"V"},"workdir":"/src","user":"1000:1000",
    "stdin":"in","tty":true,"resources":{"cpus":1.5,"memory":"512m","pids":256,"shm":"64m"},"timeout":"10m","stop_timeout":"10s","network":"none",
    "mounts":[{"type":"tmpfs","target":"/t","size":"1m"}],"pull":"always","labels":{"a":"b"},"engine":{"labels":["dind"]},"priority":-3,
    "retry":{"attempts":2,"on":["engine_lost"],"backoff":"2s..3m"},"validator":{"type":"outputRegex","regex":".*OK.*"},"name":"n","dedupe_key":"d"})";
  auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
  REQUIRE(spec.has_value());
  auto again = json::read<task_spec>(std::string_view{json::write(*spec)}, json::unknown_fields::refuse);
  REQUIRE(again.has_value());
  CHECK((*again == *spec));
  CHECK(spec->resources.memory->bytes == 512ull << 20);
  CHECK(spec->retry.backoff.most == std::chrono::minutes{3});
}

TEST_CASE("what is given as empty reads back as empty, not as absent") {
  for (auto text : {R"({"image":"a","entrypoint":[]})", R"({"image":"a","stdin":""})", R"({"image":"a","init":false})",
                    R"({"image":"a","init":true})"}) {
    INFO(text);
    auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
    REQUIRE(spec.has_value());
    auto again = json::read<task_spec>(std::string_view{json::write(*spec)}, json::unknown_fields::refuse);
    REQUIRE(again.has_value());
    CHECK((*again == *spec));
    task_spec absent;
    absent.image = "a";
    CHECK_FALSE(*again == absent);
  }
}

TEST_CASE("what is written is JSON, whatever the bytes") {
  std::string bytes;
  for (int i = 0; i < 256; ++i)
    bytes += static_cast<char>(i);
  auto text = json::write(bytes);
  json::parser parser;
  CHECK(parser.parse(text).has_value());
  CHECK(json::write(std::string{"h\xc3\xa9 \xff"}) == "\"h\xc3\xa9 \xef\xbf\xbd\"");
}
