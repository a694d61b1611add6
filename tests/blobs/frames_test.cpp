#include "blobs/frames.hpp"

#include "blob_fixture.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>

using namespace davit;
using namespace davit::blobs;
using namespace davit::test;

TEST_CASE("a stream of frames gives its blobs, however it is cut", "[blobs]") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    randomness random{seed};
    memory_blobs sent, got;
    std::string stream;
    std::uint64_t bytes = 0, count = below(random, 20);
    for (std::uint64_t i = 0; i < count; ++i) {
      auto blob = random_bytes(random, below(random, 3) == 0 ? 0 : below(random, 5000));
      auto content = digest_of(blob);
      stream += frame_header(content, blob.size()) + blob;
      bytes += blob.size();
      sent.blobs[content] = blob;
    }
    frame_reader reader;
    for (std::size_t at = 0; at < stream.size();) {
      auto size = std::min<std::size_t>(stream.size() - at, 1 + below(random, below(random, 2) ? 50 : 4000));
      REQUIRE(reader.feed(std::string_view{stream}.substr(at, size), got));
      at += size;
    }
    CHECK(reader.whole());
    CHECK(reader.blobs() == count);
    CHECK(reader.bytes() == bytes);
    CHECK(got.blobs == sent.blobs);
  }
}

TEST_CASE("a stream that is cut off or changed anywhere is noticed", "[blobs]") {
  randomness random{7};
  std::string stream;
  std::set<std::size_t> ends{0};
  for (int i = 0; i < 5; ++i) {
    auto blob = random_bytes(random, 40 * static_cast<std::size_t>(i));
    stream += frame_header(digest_of(blob), blob.size()) + blob;
    ends.insert(stream.size());
  }
  for (std::size_t cut = 0; cut < stream.size(); ++cut) {
    memory_blobs got;
    frame_reader reader;
    REQUIRE(reader.feed(std::string_view{stream}.substr(0, cut), got));
    CHECK(reader.whole() == ends.contains(cut));
    auto changed = stream;
    changed[cut] = static_cast<char>(changed[cut] ^ 1 << below(random, 8));
    memory_blobs other;
    frame_reader again;
    auto fed = again.feed(changed, other);
    CHECK((!fed || !again.whole())); // a size that has become larger waits for more
  }
}
