// An attempt's log on disk, plain or compressed, damaged in any way: read in pages, taken up by a writer.
#include "store/attempt_log.hpp"

#include "scratch_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit::store;
  if (size < 1)
    return 0;
  auto compressed = (data[0] & 1) != 0;
  scratch_file plain{".log"}, packed{".log.zst"};
  (compressed ? packed : plain).write(data + 1, size - 1);
  auto path = plain.name.substr(0, plain.name.size() - 4);
  std::uint64_t at = 0, pages = 0;
  while (true) {
    auto page = read_log(path, at, 4096);
    if (!page || page->finished || page->records.empty())
      break;
    if (page->next <= at || ++pages > 10'000)
      std::abort(); // it would be read for ever
    at = page->next;
  }
  if (auto writer = log_writer::open(path, 1 << 20); writer && !(*writer)->closed()) {
    if (!(*writer)->append({{davit::log_stream::out, {}, "more\n"}}) || !(*writer)->close())
      std::abort();
  }
  return 0;
}
