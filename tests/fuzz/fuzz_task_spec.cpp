// A task spec from a stranger; what is accepted reads back as the same from what davit writes of it.
#include "json/read.hpp"
#include "json/write.hpp"
#include "messages/task.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit;
  auto spec = json::read<task_spec>(std::string_view{reinterpret_cast<const char*>(data), size}, json::unknown_fields::refuse);
  if (!spec)
    return 0;
  auto again = json::read<task_spec>(std::string_view{json::write(*spec)}, json::unknown_fields::refuse);
  if (!again || json::write(*again) != json::write(*spec))
    std::abort();
  return 0;
}
