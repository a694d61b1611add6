// Blobs, uploads and trees over the API: what is taken, what is refused, and whose it is.
#include "blobs/frames.hpp"
#include "blobs/manifest.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"
#include "json/read.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

std::string name_of(const std::string& bytes) {
  return to_text(blobs::digest_of(bytes));
}

std::string frame(const std::string& bytes) {
  return blobs::frame_header(blobs::digest_of(bytes), bytes.size()) + bytes;
}

/// A tree with one file.
std::string manifest_of(const std::string& bytes) {
  blobs::tree tree;
  blobs::tree_entry file;
  file.path = "file";
  file.mode = 0644;
  file.size = bytes.size();
  file.content = blobs::digest_of(bytes);
  tree.entries.push_back(std::move(file));
  return blobs::write_manifest(tree);
}

std::string keep(const std::string& tree) {
  return R"({"tree":")" + tree + "\"}";
}

std::string text_in(const std::string& body, const char* name) {
  json::parser parser;
  return std::string{parser.parse(body).value()[name].get_string().value()};
}

std::uint64_t number_in(const std::string& body, const char* name) {
  json::parser parser;
  return parser.parse(body).value()[name].get_uint64().value();
}

std::string begin_upload(agent_client& agent) {
  return "/v1/uploads/" + text_in(agent.call("POST", "/v1/uploads"), "id");
}

} // namespace

TEST_CASE("blobs are taken if they are what they are said to be, and a tree if all of it is there", "[files]") {
  test_agent agent{{}};
  auto status = [&](const char* method, const std::string& target, const std::string& body = {}) {
    return agent.http(method, target, {}, body).status;
  };
  const std::string file = "some bytes", manifest = manifest_of(file), tree = name_of(manifest);
  auto wrong = agent.http("POST", "/v1/blobs", {}, blobs::frame_header(blobs::digest_of("x"), 1) + "y");
  CHECK(wrong.status == 422);
  CHECK(wrong.body.find("have the digest") != std::string::npos);
  CHECK(status("POST", "/v1/blobs", frame(file).substr(0, 45)) == 422);
  CHECK(status("POST", "/v1/blobs", "rubbish") == 422);
  CHECK(agent.call("POST", "/v1/blobs", "") == "{\"blobs\":0,\"bytes\":0}\n");
  auto none = agent.http("POST", "/v1/trees", {}, keep(tree));
  CHECK(none.status == 409);
  CHECK(none.body.find("\"missing\":[\"" + tree + "\"]") != std::string::npos);
  agent.call("POST", "/v1/blobs", frame(manifest));
  auto half = agent.http("POST", "/v1/trees", {}, keep(tree));
  CHECK(half.status == 409);
  CHECK(half.body.find("\"missing\":[\"" + name_of(file) + "\"]") != std::string::npos);
  CHECK(agent.call("POST", "/v1/blobs/missing", R"({"digests":[")" + name_of(file) + "\",\"" + tree + "\"]}")
        == "{\"missing\":[\"" + name_of(file) + "\"]}\n");
  agent.call("POST", "/v1/blobs", frame(file));
  auto kept = agent.call("POST", "/v1/trees", keep(tree));
  CHECK(number_in(kept, "files") == 1);
  CHECK(number_in(kept, "bytes") == file.size());
  CHECK(agent.call("POST", "/v1/trees", keep(tree)) == kept);
  CHECK(agent.call("GET", "/v1/blobs/" + name_of(file)) == file);
  CHECK(read_archive(agent.call("GET", "/v1/trees/" + tree)).files.at("file") == file);
  CHECK(status("POST", "/v1/trees", keep(name_of(file))) == 422); // a blob, and no manifest
  for (auto* name : {"sha256:", "sha256:0", "md5:00", "x"}) {
    CHECK(status("GET", std::string{"/v1/blobs/"} + name) == 400);
    CHECK(status("GET", std::string{"/v1/trees/"} + name) == 400);
    CHECK(status("POST", "/v1/trees", keep(name)) == 400);
  }
  CHECK(status("GET", "/v1/blobs/" + name_of("nothing")) == 404);
  CHECK(status("GET", "/v1/trees/" + name_of("nothing")) == 404);
  CHECK(status("POST", "/v1/trees", "{}") == 400);
  CHECK(status("POST", "/v1/blobs/missing", "[]") == 400);
  CHECK(status("POST", "/v1/blobs/missing", R"({"digests":["sha256:0"]})") == 400);
  CHECK(status("POST", "/v1/blobs", std::string(5 << 20, 'x')) == 413);
  CHECK(status("DELETE", "/v1/blobs/" + name_of(file)) == 405);
}

TEST_CASE("what was lost is missing, can be sent again, and counts once for the quota", "[files]") {
  test_agent agent{{}, [](agent_settings& settings) { settings.files.quota.bytes = 3000; }};
  auto status = [&](const char* method, const std::string& target, const std::string& body = {}) {
    return agent.http(method, target, {}, body).status;
  };
  const std::string file(1700, 'f'), manifest = manifest_of(file), tree = name_of(manifest);
  const auto ask = R"({"digests":[")" + name_of(file) + "\"]}";
  agent.call("POST", "/v1/blobs", frame(file));
  agent.call("POST", "/v1/blobs", frame(manifest));
  agent.call("POST", "/v1/trees", keep(tree));
  auto of_file = shell("find " + agent.data() + "/blobs/? -type f -size +1k");
  shell("rm " + of_file);
  CHECK(agent.call("POST", "/v1/blobs/missing", ask) == "{\"missing\":[]}\n"); // nobody has looked
  auto lost = agent.http("GET", "/v1/blobs/" + name_of(file));
  CHECK(lost.status == 404);
  CHECK(lost.body.find("is lost (there is no object ") != std::string::npos);
  CHECK(agent.call("POST", "/v1/blobs/missing", ask) == "{\"missing\":[\"" + name_of(file) + "\"]}\n");
  auto half = agent.http("POST", "/v1/trees", {}, keep(tree));
  CHECK(half.status == 409);
  CHECK(half.body.find("\"missing\":[\"" + name_of(file) + "\"]") != std::string::npos);
  CHECK(status("POST", "/v1/blobs", frame(file)) == 201);
  CHECK(status("POST", "/v1/trees", keep(tree)) == 201);
  CHECK(agent.call("GET", "/v1/blobs/" + name_of(file)) == file);
  CHECK(status("POST", "/v1/blobs", frame(std::string(1700, 'g'))) == 507);
}

TEST_CASE("a part of a blob is what its range says", "[files]") {
  test_agent agent{{}};
  const std::string file = "0123456789";
  agent.call("POST", "/v1/blobs", frame(file));
  auto ask = [&](const std::string& range) {
    return agent.http("GET", "/v1/blobs/" + name_of(file), {{"Range", range}});
  };
  auto part = ask("bytes=3-5");
  CHECK(part.status == 206);
  CHECK(part.body == "345");
  CHECK(part.header("Content-Range") == "bytes 3-5/10");
  CHECK(ask("bytes=-1").body == "9");
  CHECK(ask("bytes=8-").body == "89");
  CHECK(ask("bytes=10-").status == 416);
  CHECK(ask("pages=1-2").body == file);
  agent.call("POST", "/v1/blobs", frame(""));
  for (auto* range : {"bytes=0-", "bytes=-1", "bytes=0-5"}) // of no bytes there is no part
    CHECK(agent.http("GET", "/v1/blobs/" + name_of(""), {{"Range", range}}).status == 416);
}

TEST_CASE("an upload goes on where it was, and nothing of it is seen before its end", "[files]") {
  test_agent agent{{}};
  const std::string one(100'000, 'a'), two(50'000, 'b'), frames = frame(one) + frame(two);
  auto upload = begin_upload(agent);
  auto append = [&](std::size_t offset, std::size_t size) {
    return agent.http("PATCH", upload + "?offset=" + std::to_string(offset), {}, frames.substr(offset, size));
  };
  CHECK(number_in(append(0, 120'000).body, "offset") == 120'000);
  CHECK(agent.http("GET", "/v1/blobs/" + name_of(one)).status == 404);
  auto behind = append(130'000, 1000);
  CHECK(behind.status == 409);
  CHECK(number_in(behind.body, "offset") == 120'000);
  CHECK(number_in(append(0, 120'000).body, "offset") == 120'000); // once more, as its answer was lost
  CHECK(number_in(agent.call("GET", upload), "offset") == 120'000);
  CHECK(agent.http("POST", upload + "/commit").status == 422); // in the middle of a blob
  CHECK(number_in(append(110'000, 40'080).body, "offset") == frames.size());
  auto done = agent.call("POST", upload + "/commit");
  CHECK(number_in(done, "blobs") == 2);
  CHECK(number_in(done, "bytes") == one.size() + two.size());
  CHECK(agent.call("GET", "/v1/blobs/" + name_of(two)) == two);
  CHECK(agent.http("GET", upload).status == 404);
  CHECK(agent.http("PATCH", upload, {}, "x").status == 400);
  CHECK(agent.http("PATCH", upload + "?offset=-1", {}, "x").status == 400);
  CHECK(agent.http("PATCH", upload + "?offset=0", {}, "x").status == 404);
  CHECK(agent.http("PUT", upload, {}, "x").status == 405);
  auto other = begin_upload(agent);
  CHECK(agent.http("PATCH", other + "?offset=0", {}, frame("c")).status == 200);
  CHECK(agent.http("DELETE", other).status == 204);
  CHECK(agent.http("POST", other + "/commit").status == 404);
  CHECK(agent.http("GET", "/v1/blobs/" + name_of("c")).status == 404);
  for (int i = 0; i < 16; ++i)
    begin_upload(agent);
  CHECK(agent.http("POST", "/v1/uploads").status == 429);
}

TEST_CASE("an owner sees its own files and nobody else's, and has as much as its quota", "[files]") {
  token_file tokens;
  auto a = tokens.make("a", "submit,read", {"--owner", "team-a"}),
       b = tokens.make("b", "submit,read", {"--owner", "team-b"}),
       reader = tokens.make("r", "read", {"--owner", "team-a"});
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.files.quota.bytes = 1000;
                   }};
  const std::string file = "secret", manifest = manifest_of(file), tree = name_of(manifest);
  agent.use_token(a);
  agent.call("POST", "/v1/blobs", frame(file) + frame(manifest));
  agent.call("POST", "/v1/trees", keep(tree));
  auto upload = begin_upload(agent);
  auto full = agent.http("POST", "/v1/blobs", {}, frame(std::string(1000, 'x')));
  CHECK(full.status == 507);
  CHECK(full.body.find("of 1000 that it may have") != std::string::npos);
  // What is not committed counts too: of this upload, and of all of the owner's together.
  const auto half = frame(std::string(450, 'y'));
  auto second = begin_upload(agent), third = begin_upload(agent);
  CHECK(agent.http("PATCH", second + "?offset=0", {}, half).status == 200);
  CHECK(agent.http("PATCH", third + "?offset=0", {}, half).status == 507);
  CHECK(agent.http("DELETE", second).status == 204);
  CHECK(agent.http("PATCH", third + "?offset=0", {}, half).status == 200);
  CHECK(agent.http("DELETE", third).status == 204);
  agent.use_token(b);
  CHECK(agent.call("POST", "/v1/blobs/missing", R"({"digests":[")" + tree + "\"]}")
        == "{\"missing\":[\"" + tree + "\"]}\n");
  CHECK(agent.http("GET", "/v1/blobs/" + name_of(file)).status == 404);
  CHECK(agent.http("GET", "/v1/trees/" + tree).status == 404);
  CHECK(agent.http("POST", "/v1/trees", {}, keep(tree)).status == 409);
  for (auto* method : {"GET", "DELETE"})
    CHECK(agent.http(method, upload).status == 404);
  CHECK(agent.http("PATCH", upload + "?offset=0", {}, "x").status == 404);
  CHECK(agent.http("POST", upload + "/commit").status == 404);
  auto spec = busybox("true");
  spec.inputs.push_back({tree, "/src"});
  auto stolen = agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(spec)));
  CHECK(stolen.status == 422);
  CHECK(stolen.body.find("there is no tree") != std::string::npos);
  agent.use_token(reader);
  for (const auto& target : {"/v1/blobs/" + name_of(file), "/v1/trees/" + tree})
    CHECK(agent.http("GET", target).status == 403);
  CHECK(agent.http("POST", "/v1/uploads").status == 403);
}
