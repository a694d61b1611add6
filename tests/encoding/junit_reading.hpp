// A report that comes in pieces.
#pragma once

#include "encoding/junit.hpp"

#include <algorithm>
#include <string_view>

namespace davit::test {

struct reading {
  encoding::junit_end end = encoding::junit_end::other;
  test_counts counts;
};

/// Reads a report that comes in pieces of this size.
inline reading read(std::string_view text, std::size_t piece = 1 << 16) {
  reading done;
  encoding::junit_reader reader;
  while (!text.empty() && reader.feed(text.substr(0, piece)))
    text.remove_prefix(std::min(piece, text.size()));
  done.end = reader.finish(done.counts);
  return done;
}

} // namespace davit::test
