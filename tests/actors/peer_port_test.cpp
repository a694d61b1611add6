#include "actors/peer_port.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using davit::basp_lengths;

namespace {

/// A header of CAF's wire protocol, which announces a payload.
std::string header(std::uint32_t length) {
  std::string bytes(32, '\x7f');
  for (int i = 0; i < 4; ++i)
    bytes[static_cast<std::size_t>(4 + i)] = static_cast<char>(length >> (24 - 8 * i) & 0xff);
  return bytes;
}

} // namespace

TEST_CASE("a message that is too long is found by its header, however the bytes come", "[fleet]") {
  auto stream = header(0) + header(1000) + std::string(1000, '\xff') + header(3) + "\xff\xff\xff";
  auto lie = header(1001);
  for (std::size_t step : {1, 7, 31, 32, 33, 5000}) {
    CAPTURE(step);
    basp_lengths lengths{1000};
    auto good = true;
    for (std::size_t at = 0; at < stream.size(); at += step)
      good = good && lengths.good(std::string_view{stream}.substr(at, step));
    CHECK(good);
    for (std::size_t at = 0; good && at < lie.size(); at += step)
      good = lengths.good(std::string_view{lie}.substr(at, step));
    CHECK_FALSE(good);
  }
}
