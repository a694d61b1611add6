// An engine's log stream, in pieces; records can't hold more than what came (and the newlines that are given back).
#include "transport/log_parser.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size < 2)
    return 0;
  std::string_view bytes{reinterpret_cast<const char*>(data) + 2, size - 2};
  auto step = static_cast<std::size_t>(data[0]) + 1;
  davit::transport::log_parser parser{(data[1] & 1) != 0};
  davit::transport::log_resume resume{{}};
  std::size_t total = 0, records = 0;
  auto sink = [&](davit::log_record record) {
    bool gap = false;
    resume.take(record, gap);
    total += record.bytes.size();
    ++records;
  };
  for (std::size_t at = 0; at < bytes.size(); at += step)
    if (!parser.feed(bytes.substr(at, step), sink))
      return 0;
  (void)parser.finish(sink);
  if (total > bytes.size() + records)
    std::abort();
  return 0;
}
