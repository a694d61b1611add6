// Preloaded into an agent: keeps a second set of its files, in which a file is as it was when it was last synced. That
// is what a power cut leaves, at worst. DAVIT_POWER_CUT_FROM names the folder, DAVIT_POWER_CUT_TO where the second set
// is kept. DAVIT_SLOW_SYNC: each sync takes so many milliseconds longer, as on a disk that others keep busy.
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <mutex>
#include <string>
#include <unistd.h>

namespace {

void keep(int fd) {
  static const char* const from = std::getenv("DAVIT_POWER_CUT_FROM");
  static const char* const to = std::getenv("DAVIT_POWER_CUT_TO");
  static std::mutex mutex;
  char path[4096];
  auto length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
  if (!from || !to || length <= 0)
    return;
  path[length] = 0;
  std::string name{path};
  auto folder = std::string{from} + '/';
  if (!name.starts_with(folder))
    return;
  std::lock_guard guard{mutex};
  auto kept = std::string{to} + '/' + name.substr(folder.size()), partial = kept + ".part";
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path{kept}.parent_path(), ec);
  auto in = ::open(path, O_RDONLY | O_CLOEXEC),
       out = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  static char buffer[1 << 20];
  bool good = in >= 0 && out >= 0;
  for (ssize_t count = 0; good && (count = ::read(in, buffer, sizeof buffer)) > 0;)
    good = ::write(out, buffer, static_cast<std::size_t>(count)) == count;
  ::close(in);
  ::close(out);
  if (good)
    ::rename(partial.c_str(), kept.c_str());
}

void linger() {
  static const char* const wait = std::getenv("DAVIT_SLOW_SYNC");
  if (wait)
    ::usleep(static_cast<useconds_t>(std::atoi(wait)) * 1000);
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

} // namespace

extern "C" int fsync(int fd) {
  static auto real = next<int (*)(int)>("fsync");
  linger();
  auto result = real(fd);
  keep(fd);
  return result;
}

extern "C" int fdatasync(int fildes) {
  static auto real = next<int (*)(int)>("fdatasync");
  linger();
  auto result = real(fildes);
  keep(fildes);
  return result;
}
