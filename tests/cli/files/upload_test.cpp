// A folder on its way to an agent: whatever happens, in the end the agent has exactly its blobs.
#include "blobs/blob_fixture.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "cli/tree_upload.hpp"
#include "cli/upload_frames.hpp"
#include "cli/files/fake_agent.hpp"
#include "cli/print.hpp"
#include "fixture/environment.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

upload_options at_once(const std::string& cache = {}) {
  upload_options options;
  options.cache_folder = cache;
  options.pause = std::chrono::milliseconds{0};
  options.most_failures = 1000;
  return options;
}

/// What an agent must have of a folder, and nothing else.
std::map<blobs::digest, std::string> blobs_of(const local_tree& what) {
  std::map<blobs::digest, std::string> all;
  for (const auto& one : what.entries.entries)
    if (one.kind == blobs::entry_kind::file)
      all[one.content] = read_all(what.folder + '/' + one.path);
  auto manifest = blobs::write_manifest(what.entries);
  all[blobs::digest_of(manifest)] = manifest;
  return all;
}

void check_arrived(const fake_agent& agent, const local_tree& what, const std::string& tree) {
  CHECK(tree == blobs::to_text(blobs::tree_digest(what.entries)));
  CHECK((agent.stored == blobs_of(what)));
  CHECK(agent.trees.contains(blobs::tree_digest(what.entries)));
  CHECK(agent.largest_body <= 4 << 20);
  CHECK(agent.largest_upload <= 64 << 20);
  CHECK(agent.broken == std::vector<std::string>{});
}

std::string failure(const std::function<void()>& what) {
  try {
    what();
  } catch (const command_failure& e) {
    CHECK(e.exit_code == 125);
    return e.message;
  }
  return "no failure";
}

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

void make_large_folder(const std::string& folder, std::uint64_t seed) {
  randomness random{seed};
  fs::create_directories(folder);
  for (std::size_t i = 0; i < 12; ++i)
    write_all(folder + "/file" + std::to_string(i), random_bytes(random, below(random, 3 << 20)));
  write_all(folder + "/empty", "");
}

} // namespace

TEST_CASE("an agent gets what it does not have, and an unchanged folder costs one request and no read",
          "[files][upload]") {
  scratch folder;
  make_random_folder(folder / "in", 5, 60);
  fake_agent agent;
  api_client client{agent.where()};
  auto options = at_once(folder / "cache/davit/trees");
  auto first = look_at(folder / "in", options);
  CHECK(first.read_files > 10);
  auto sent = send_tree(client, first, options);
  check_arrived(agent, first, sent.tree);
  CHECK(sent.blobs == agent.stored.size());

  agent.requests.clear();
  auto again = look_at(folder / "in", options);
  CHECK(again.read_files == 0);
  CHECK(again.entries == first.entries);
  CHECK(send_tree(client, again, options).blobs == 0);
  CHECK((agent.requests == std::map<std::string, int>{{"POST trees", 1}}));

  write_all(folder / "in/one more", "small");
  agent.requests.clear();
  auto changed = look_at(folder / "in", options);
  CHECK(changed.read_files == 1);
  CHECK(send_tree(client, changed, options).blobs == 2); // the file and the manifest
  CHECK(
    (agent.requests == std::map<std::string, int>{{"POST trees", 2}, {"POST blobs missing", 1}, {"POST blobs", 1}}));
  CHECK(agent.broken.empty());
}

TEST_CASE("a cache that is broken, or that can't be written, is none", "[files][upload]") {
  scratch folder;
  fs::create_directory(folder / "in");
  write_all(folder / "in/file", "bytes");
  auto options = at_once(folder / "cache");
  CHECK(look_at(folder / "in", options).read_files == 1);
  for (const auto& one : fs::directory_iterator{folder / "cache"})
    write_all(one.path(), "rubbish");
  CHECK(look_at(folder / "in", options).read_files == 1);
  CHECK(look_at(folder / "in", options).read_files == 0);
  CHECK(look_at(folder / "in", at_once(folder / "in/file/cache")).read_files == 1);
  CHECK(look_at(folder / "in", at_once("/proc/cache")).read_files == 1);
}

TEST_CASE(".dockerignore holds, a single file is a folder with it, and other things are named", "[files][upload]") {
  scratch folder;
  fs::create_directories(folder / "in/build");
  write_all(folder / "in/.dockerignore", "build\n*.o\n");
  write_all(folder / "in/build/x", "x");
  write_all(folder / "in/a.o", "x");
  write_all(folder / "in/a.c", "source");
  CHECK(::mkfifo((folder / "in/fifo").c_str(), 0600) == 0);
  auto what = look_at(folder / "in");
  CHECK(what.entries.entries.size() == 2); // with .dockerignore
  REQUIRE(what.remarks.size() == 1);
  has(what.remarks[0], "in/fifo was left out");
  fs::create_symlink("in/a.c", folder / "link");
  for (auto name : {"in/a.c", "link"}) {
    auto file = look_at(folder / name);
    REQUIRE(file.entries.entries.size() == 1);
    CHECK(file.entries.entries[0].path == "a.c");
    fake_agent agent;
    api_client client{agent.where()};
    check_arrived(agent, file, send_tree(client, file, at_once()).tree);
  }
  write_all(folder / "in/.dockerignore", "[a-");
  has(failure([&] { look_at(folder / "in"); }), ".dockerignore: ");
  has(failure([&] { look_at(folder / "none"); }), "none can't be read: it is not there");
  has(failure([&] { look_at(folder / "in/fifo"); }), "is neither a folder nor a file");
}

TEST_CASE("large folders go in uploads of 64 MiB, and a larger file in one of its own", "[files][upload]") {
  scratch folder;
  fs::create_directory(folder / "in");
  randomness random{3};
  for (int i = 0; i < 4; ++i)
    write_all(folder / "in/part" + std::to_string(i), random_bytes(random, 30 << 20));
  write_all(folder / "in/q", random_bytes(random, 70 << 20));
  fake_agent agent;
  api_client client{agent.where()};
  auto what = look_at(folder / "in");
  check_arrived(agent, what, send_tree(client, what, at_once()).tree);
  CHECK(agent.requests["POST uploads"] == 4);
  CHECK(agent.requests["POST uploads ID commit"] == 4);
  CHECK(agent.requests["GET uploads ID"] == 0);
}

TEST_CASE("connections are lost, agents restart, uploads are forgotten: everything arrives, once and whole",
          "[files][upload]") {
  const std::uint64_t first = number_from("DAVIT_UPLOAD_SEED", 1), count = number_from("DAVIT_UPLOADS", 12);
  for (auto seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    scratch folder;
    make_large_folder(folder / "in", seed);
    fake_agent agent{seed, {6, 6, 6, 3, 20, seed % 2 == 0 ? 30u : 0u}};
    api_client client{agent.where()};
    auto what = look_at(folder / "in");
    try { // the very first request may find nobody
      static_cast<void>(client.call("GET", "/v1/blobs/none"));
    } catch (const command_failure&) {
    }
    std::string tree;
    while (tree.empty())
      try {
        tree = send_tree(client, what, at_once()).tree;
      } catch (const command_failure& e) {
        has(e.message, "is a davit agent running there?");
      }
    check_arrived(agent, what, tree);
  }
}

TEST_CASE("a tree of a hundred thousand files is asked for in pages", "[files][upload]") {
  scratch folder;
  local_tree what;
  what.folder = folder.path();
  for (int i = 100'000; i < 200'000; ++i) {
    blobs::tree_entry one;
    one.path = std::to_string(i);
    one.size = one.path.size();
    one.content = blobs::digest_of(one.path);
    what.entries.entries.push_back(std::move(one));
  }
  fake_agent agent;
  std::size_t asked = 0, most = 0, trees = 0;
  agent.before = [&](const transport::server_request& request) -> transport::server_response {
    if (request.path == "/v1/trees")
      return {++trees == 1 ? 409 : 201, "application/json", "{}", {}};
    json::parser parser;
    auto digests = list_at(parse(parser, request.body), "digests");
    most = std::max(most, digests.size());
    asked += digests.size();
    return {200, "application/json", R"({"missing":[]})", {}};
  };
  api_client client{agent.where()};
  CHECK(send_tree(client, what, at_once()).blobs == 0);
  CHECK(asked == 100'001);
  CHECK(most == 50'000);
  CHECK(trees == 2);
  CHECK(agent.largest_body <= 4 << 20);
}

TEST_CASE("frames are the same from wherever they are read on", "[files][upload]") {
  scratch folder;
  make_random_folder(folder / "in", 21, 50);
  auto what = look_at(folder / "in");
  auto source = blobs::folder_source::open_folder(what.folder).value();
  auto manifest = blobs::write_manifest(what.entries);
  std::vector<wanted_blob> wanted;
  std::string expected;
  auto append = [&](const blobs::digest& content, const std::string& bytes) {
    expected.append(reinterpret_cast<const char*>(content.bytes.data()), 32);
    for (int i = 0; i < 8; ++i)
      expected += static_cast<char>(bytes.size() >> (8 * i) & 0xff);
    expected += bytes;
  };
  for (const auto& one : what.entries.entries)
    if (one.kind == blobs::entry_kind::file) {
      wanted.push_back({one.content, one.size, &one});
      append(one.content, read_all(what.folder + '/' + one.path));
    }
  wanted.push_back({blobs::digest_of(manifest), manifest.size(), nullptr});
  append(blobs::digest_of(manifest), manifest);
  frame_stream frames{wanted, source, manifest};
  REQUIRE(frames.size() == expected.size());
  CHECK((frames.take(expected.size()).value() == expected));
  randomness random{8};
  for (int i = 0; i < 200; ++i) {
    auto at = below(random, expected.size() + 1);
    REQUIRE(frames.seek(at));
    auto count = below(random, 100'000);
    REQUIRE((frames.take(count).value() == expected.substr(at, count)));
  }
}

TEST_CASE("what changes, vanishes or is refused ends with a sentence about it", "[files][upload]") {
  scratch folder;
  make_large_folder(folder / "in", 4);
  fake_agent agent;
  api_client client{agent.where()};
  auto what = look_at(folder / "in");
  auto changing = folder / "in/file3";
  bool once = false;
  agent.before = [&](const transport::server_request& request) {
    if (request.method == "PATCH" && !std::exchange(once, true)) {
      auto bytes = read_all(changing);
      bytes.back() ^= 1;
      write_all(changing, bytes);
    }
    return transport::server_response{0, {}, {}, {}};
  };
  // It may lie in the piece that is sent already: then the agent says so.
  has(failure([&] { send_tree(client, what, at_once()); }), "file3 changed since it was looked at; try again when");
  CHECK(agent.requests["DELETE uploads ID"] == 1);
  CHECK(agent.stored.empty());
  fs::remove(changing);
  has(failure([&] { send_tree(client, what, at_once()); }), "file3 can't be read: it is not there");

  what = look_at(folder / "in");
  auto refusing = [&](std::string method, std::string path, int status) {
    agent.before = [=](const transport::server_request& request) {
      return request.method == method && request.path.find(path) != std::string::npos
             ? transport::server_response{status, "application/json", R"({"detail":"said no"})", {}}
             : transport::server_response{0, {}, {}, {}};
    };
    auto options = at_once();
    options.most_failures = 5;
    return failure([&] { send_tree(client, what, options); });
  };
  has(refusing("POST", "/trees", 404), "said no (does this agent take files?");
  has(refusing("POST", "/missing", 403), "said no");
  has(refusing("PATCH", "/uploads", 507), "said no");
  has(refusing("PATCH", "/uploads", 422), "said no");
  has(refusing("PATCH", "/uploads", 503), "said no"); // again and again
  has(refusing("PATCH", "/uploads", 404), "forgets again and again");
  has(refusing("POST", "/commit", 507), "said no");
  has(refusing("POST", "/commit", 404), "forgets again and again");
  has(refusing("POST", "/uploads", 429), "said no");
  agent.before = {};
  check_arrived(agent, what, send_tree(client, what, at_once()).tree);
  has(refusing("POST", "/trees", 409), "again and again");

  api_client nobody{transport::endpoint{"", "127.0.0.1", 1, {}}};
  has(failure([&] { send_tree(nobody, what, upload_options{}); }), "is a davit agent running there?");
}

TEST_CASE("over a line that brings little in the agent's time, less is sent at once", "[files][upload]") {
  scratch folder;
  make_large_folder(folder / "in", 3);
  fake_agent agent;
  std::size_t most = 100 << 10;
  int refused = 0;
  agent.before = [&](const transport::server_request& request) -> transport::server_response {
    if (request.method != "PATCH" || request.body.size() <= most)
      return {0, {}, {}, {}};
    ++refused;
    return {408, "application/json", R"({"detail":"the request's body took too long"})", {}};
  };
  api_client client{agent.where()};
  auto what = look_at(folder / "in");
  auto options = at_once();
  options.most_failures = 5;
  check_arrived(agent, what, send_tree(client, what, options).tree);
  CHECK(refused > 0);
}
