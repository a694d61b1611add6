#include "fixture/result_text.hpp"
#include "json/read.hpp"
#include "transport/derived_image.hpp"
#include "transport/docker_json.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::transport;

namespace {

const char* const body
  = R"({"Id":"sha256:1","Architecture":"arm64","Variant":"v8","Os":"linux","Created":"2020-01-01T00:00:00Z",)"
    R"("Config":{"Env":["A=b \"c\""],"Cmd":null,"Volumes":{"/data":{},"/x y":{}},"Labels":{"l":"é"}},)"
    R"("RootFS":{"Type":"layers","Layers":["sha256:a","sha256:b"]}})";

} // namespace

TEST_CASE("a derived image has its origin's configuration, and one layer more", "[prepared]") {
  auto origin = read_origin(body);
  REQUIRE(origin);
  CHECK(origin->volumes == std::set<std::string>{"/data", "/x y"});
  json::parser parser;
  auto text = derived_config(*origin, "sha256:c");
  CHECK(text == derived_config(*origin, "sha256:c"));
  auto config = parser.parse(text);
  REQUIRE(config);
  CHECK(simdjson::minify((*config)["config"].value()) == origin->config);
  CHECK(simdjson::minify((*config)["rootfs"]["diff_ids"].value()) == R"(["sha256:a","sha256:b","sha256:c"])");
  CHECK(std::string_view{(*config)["architecture"]} == "arm64");
  CHECK(std::string_view{(*config)["variant"]} == "v8");
  CHECK(std::string_view{(*config)["os"]} == "linux");
  json::parser other;
  auto manifest = other.parse(derived_manifest(*origin, "r:t", "c.json", "l.tar"));
  REQUIRE(manifest);
  CHECK(simdjson::minify(manifest->at(0)["RepoTags"].value()) == R"(["r:t"])");
  CHECK(manifest->at(0)["Layers"].get_array().value().size() == 3);
  CHECK(std::string_view{manifest->at(0)["Layers"].at(2)} == "l.tar");
}

TEST_CASE("an image's description that can't be read makes no image", "[prepared]") {
  for (auto* text : {"", "{}", "[]", R"({"Architecture":"a","Os":"linux","RootFS":{"Layers":["x"]}})",
                     R"({"Architecture":"a","Os":"linux","Config":{},"RootFS":{"Layers":[]}})",
                     R"({"Architecture":"a","Os":"linux","Config":[],"RootFS":{"Layers":["x"]}})",
                     R"({"Os":"linux","Config":{},"RootFS":{"Layers":["x"]}})"})
    CHECK(!read_origin(text));
}

TEST_CASE("an engine that can't load says so behind a good status", "[prepared]") {
  CHECK(read_load(R"({"stream":"Loaded image: x\n"})"));
  CHECK(read_load(""));
  auto full
    = read_load("{\"status\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\r\n");
  REQUIRE(!full);
  CHECK(full.error().message.find("no space") != std::string::npos);
  auto all
    = read_images(R"([{"Id":"sha256:1","RepoTags":["a:b"],"Size":5},{"Id":"sha256:2","RepoTags":null,"Size":6}])");
  REQUIRE(all);
  CHECK(all->at(0).names == std::vector<std::string>{"a:b"});
  CHECK(all->at(1).names.empty());
}
