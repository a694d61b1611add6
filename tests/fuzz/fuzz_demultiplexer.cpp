// Whatever the cuts, the same pieces come out; nothing is made up and nothing is lost.
#include "transport/demultiplexer.hpp"

#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0)
    return 0;
  std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  auto step = static_cast<std::size_t>(data[0] % 31) + 1;
  davit::transport::demultiplexer one, many;
  std::string plain_whole, plain_cut;
  auto good_whole = one.feed(bytes, [&](auto piece) { plain_whole.append(piece.bytes); }).has_value();
  bool good_cut = true;
  for (std::size_t at = 0; at < bytes.size() && good_cut; at += step)
    good_cut = many.feed(bytes.substr(at, step), [&](auto piece) { plain_cut.append(piece.bytes); }).has_value();
  if (good_whole != good_cut || (good_whole && (plain_whole != plain_cut || one.at_boundary() != many.at_boundary())))
    std::abort();
  if (plain_whole.size() > bytes.size())
    std::abort();
  return 0;
}
