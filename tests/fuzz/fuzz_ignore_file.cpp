// A `.dockerignore`: whatever it says, asking for a path at once and on the way down gives the same answer.
#include "blobs/ignore.hpp"

#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit::blobs;
  auto patterns = read_ignore_file({reinterpret_cast<const char*>(data), size});
  if (!patterns || patterns->size() > 50)
    return 0;
  auto compiled = ignore_patterns::compile(*patterns);
  if (!compiled)
    return 0;
  for (std::string_view path : {"a", "a/b", "a/b/c.txt", "node_modules/x/y", "\xff/\n"}) {
    ignore_patterns::verdict verdict;
    for (auto slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1))
      verdict = compiled->match(path.substr(0, slash), verdict.of_patterns);
    verdict = compiled->match(path, verdict.of_patterns);
    if (!verdict.ignored && compiled->match(path).ignored && compiled->empty())
      std::abort();
  }
  return 0;
}
