// An engine's HTTP answer, chunked or not, in pieces.
#include "transport/response_reader.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size < 1)
    return 0;
  std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  auto step = static_cast<std::size_t>(data[0] % 64) + 1;
  davit::transport::response_reader reader;
  std::size_t body = 0;
  for (std::size_t at = 0; at < bytes.size(); at += step)
    if (!reader.feed(bytes.substr(at, step), [&](std::string_view piece) { body += piece.size(); }))
      return 0;
  (void)reader.finish();
  (void)reader.status();
  (void)reader.header("Content-Type");
  if (body > bytes.size())
    std::abort();
  return 0;
}
