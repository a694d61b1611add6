// Everything that davit reads from an engine's JSON.
#include "transport/docker_json.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit::transport;
  std::string_view bytes{reinterpret_cast<const char*>(data), size};
  (void)read_container(bytes);
  (void)read_containers(bytes);
  (void)read_image(bytes);
  (void)read_info(bytes);
  (void)read_event(bytes);
  (void)read_message(bytes);
  (void)read_id(bytes);
  pull_reader pull{"image"};
  line_splitter lines{64 * 1024};
  (void)lines.feed(bytes, [&](std::string_view line) { return pull.line(line); });
  return 0;
}
