// SHA-256 as a value.
#include "blobs/blob_fixture.hpp"
#include "blobs/digest.hpp"

#include <catch2/catch_test_macros.hpp>

#include <unordered_set>

using namespace davit::blobs;
using namespace davit::test;

TEST_CASE("a digest is what FIPS 180-4 says, in one piece or in many", "[blobs]") {
  CHECK(to_text(digest_of("abc")) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(empty_digest() == hasher{}.finish());
  randomness random{1};
  auto bytes = random_bytes(random, 100'000) + std::string(200'000, '\0');
  hasher one;
  for (std::size_t at = 0; at < 100'000;) {
    auto count = std::min<std::size_t>(1 + below(random, 5000), 100'000 - at);
    one.add(std::string_view{bytes}.substr(at, count));
    at += count;
  }
  one.add_zeros(200'000);
  CHECK(one.finish() == digest_of(bytes));
  CHECK(one.finish() == empty_digest()); // it begins anew
}

TEST_CASE("only what a digest is written as is read as one", "[blobs]") {
  auto value = digest_of("x");
  auto text = to_text(value);
  CHECK(parse_digest(text) == value);
  std::unordered_set<digest> known{value};
  CHECK(known.contains(value));
  for (std::size_t i = 0; i < text.size(); ++i) {
    CHECK_FALSE(parse_digest(text.substr(0, i)));
    for (auto other : {'g', 'A', ' ', '\0', 'F'}) {
      auto changed = text;
      changed[i] = other;
      CHECK_FALSE(parse_digest(changed));
    }
  }
  CHECK_FALSE(parse_digest(text + "0"));
}
