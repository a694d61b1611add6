// The entries come the same however the file is cut, and nothing comes behind an error.
#include "transport/log_file_decoder.hpp"

#include <cstdlib>

using namespace davit;
using namespace davit::transport;

namespace {

struct outcome {
  std::string text;
  bool good = true;
  bool operator==(const outcome&) const = default;
};

outcome decode(std::string_view bytes, std::size_t step) {
  log_file_decoder decoder;
  outcome all;
  for (std::size_t at = 0; at < bytes.size() && all.good; at += step)
    all.good = decoder
                 .feed(bytes.substr(at, step),
                       [&](log_record record) {
                         all.text += to_string(record.stream) + std::to_string(record.at.time_since_epoch().count())
                                   + record.bytes;
                       })
                 .has_value();
  return all;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes{reinterpret_cast<const char*>(data), size};
  auto whole = decode(bytes, bytes.size() + 1);
  for (std::size_t step : {1ul, 3ul, 64ul})
    if (decode(bytes, step) != whole)
      std::abort();
  return 0;
}
