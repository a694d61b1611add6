// A test report from a container: counted alike however it comes, with sane counts, or not at all.
#include "encoding/junit.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

using namespace davit;
using namespace davit::encoding;

namespace {

std::pair<junit_end, test_counts> read(std::string_view text, std::size_t piece) {
  test_counts counts;
  junit_reader reader;
  while (!text.empty() && reader.feed(text.substr(0, piece)))
    text.remove_prefix(std::min(piece, text.size()));
  auto end = reader.finish(counts);
  return {end, std::move(counts)};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  auto [end, counts] = read(text, 1 << 20);
  auto [again, same] = read(text, 1 + size % 7);
  if (end != again || counts != same)
    std::abort();
  if (end != junit_end::counted && counts != test_counts{})
    std::abort();
  auto bad = counts.failures + counts.errors;
  if (bad + counts.skipped > counts.tests || counts.failed.size() != std::min<std::uint64_t>(bad, 20)
      || counts.slowest.size() > 5 || !(counts.seconds >= 0) || !std::isfinite(counts.seconds))
    std::abort();
  for (const auto& one : counts.failed)
    if (one.name.size() > junit_text_bytes || one.message.size() > junit_text_bytes)
      std::abort();
  if (auto seconds = junit_seconds(text); seconds && !(*seconds >= 0 && *seconds <= 1e9))
    std::abort();
  return 0;
}
