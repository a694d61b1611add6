#include "blobs/folder_names.hpp"

#include "blobs/descriptor.hpp"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <memory>

namespace davit::blobs {

result<std::vector<std::string>> names_in(int folder, const std::string& shown) {
  descriptor copy{::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; // has a position of its own
  std::unique_ptr<DIR, int (*)(DIR*)> entries{copy ? ::fdopendir(copy.get()) : nullptr, &::closedir};
  if (!entries)
    return system_error(shown, "read", errno);
  copy.release(); // it is closed with the entries
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    auto* one = ::readdir(entries.get());
    if (!one && errno != 0)
      return system_error(shown, "read", errno);
    if (!one)
      break;
    std::string name = one->d_name;
    if (name != "." && name != "..")
      names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

} // namespace davit::blobs
