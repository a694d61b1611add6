#include "blobs/blob_fixture.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace davit::test {

using namespace davit::blobs;

scratch::scratch() {
  auto name = (std::filesystem::temp_directory_path() / "davit-blobs-XXXXXX").string();
  if (!::mkdtemp(name.data()))
    throw std::runtime_error("no scratch folder");
  path_ = name;
}
scratch::~scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_all(const std::string& file) {
  std::ostringstream all;
  all << std::ifstream{file, std::ios::binary}.rdbuf();
  return all.str();
}
void write_all(const std::string& file, std::string_view bytes) {
  std::ofstream{file, std::ios::binary} << bytes;
}

std::string shell(const std::string& command) {
  auto* pipe = ::popen(command.c_str(), "re");
  if (!pipe)
    throw std::runtime_error("no shell");
  std::string out;
  char piece[4096];
  for (std::size_t count = 0; (count = std::fread(piece, 1, sizeof piece, pipe)) > 0;)
    out.append(piece, count);
  if (::pclose(pipe) != 0)
    throw std::runtime_error("failed: " + command);
  return out;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator{"/proc/self/fd"})
    ++count;
  return count;
}

int in_child(const std::function<int()>& what) {
  auto pid = ::fork();
  if (pid == 0)
    ::_exit(what());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

result<void> memory_blobs::write(std::string_view piece) {
  if (piece.size() > fail_after)
    return error{errc::full, "the test's disk is full"};
  fail_after -= piece.size();
  open_blob += piece;
  return {};
}
result<void> memory_blobs::end(const digest& content, std::uint64_t size) {
  if (digest_of(open_blob) != content || open_blob.size() != size)
    throw std::logic_error("a blob's end is not what its bytes are");
  blobs[content] = std::move(open_blob);
  open_blob.clear();
  return {};
}
result<std::unique_ptr<byte_reader>> memory_blobs::open(const tree_entry& file) {
  auto found = blobs.find(file.content);
  if (found == blobs.end())
    return error{errc::missing, "there is no such blob"};
  return std::make_unique<memory_reader>(found->second);
}

result<std::size_t> memory_reader::read(std::span<char> into) {
  auto count = std::min({into.size(), bytes.size() - at, piece});
  std::memcpy(into.data(), bytes.data() + at, count);
  at += count;
  return count;
}

std::string drain(byte_reader& from, std::size_t piece) {
  std::string all;
  std::vector<char> buffer(piece);
  while (true) {
    auto got = from.read(buffer).value();
    if (got == 0)
      return all;
    all.append(buffer.data(), got);
  }
}

namespace {

std::string random_name(randomness& random, std::size_t number) {
  static const std::string odd[] = {"plain",
                                    "with space",
                                    "-dash",
                                    "new\nline",
                                    "tab\t",
                                    "\x1b[31mred",
                                    "\xff\xfe\x80",
                                    "gr\u00fc\u00dfe",
                                    "e\u0301 decomposed",
                                    "\U0001f980",
                                    "back\\slash",
                                    "*?[a]",
                                    "...",
                                    "~",
                                    "%s%n",
                                    "quote\"'",
                                    "trailing ",
                                    "\u202egpj.exe",
                                    "#comment",
                                    "!not",
                                    "COM1",
                                    ".hidden",
                                    "a-b",
                                    "a"};
  auto name = odd[below(random, std::size(odd))] + '.' + std::to_string(number);
  if (below(random, 12) == 0) // long ones: over 100, and the longest
    name.resize(below(random, 2) == 0 ? 255 : 101 + below(random, 120), "xyz\xe9"[below(random, 4)]);
  return name;
}

struct timespec random_time(randomness& random) {
  constexpr std::int64_t from = -2'000'000'000, until = 10'000'000'000;
  struct timespec time {};
  time.tv_sec = below(random, 4) == 0 ? from + static_cast<std::int64_t>(below(random, until - from))
                                      : 1'600'000'000 + static_cast<std::int64_t>(below(random, 100'000'000));
  time.tv_nsec = below(random, 3) == 0 ? 0 : static_cast<long>(below(random, 1'000'000'000));
  return time;
}

void set_time(const std::string& path, randomness& random) {
  struct timespec times[2] = {{0, UTIME_OMIT}, random_time(random)};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    throw std::runtime_error("no time: " + path);
}

void make_sparse(const std::string& path, randomness& random) {
  auto fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  std::uint64_t size = 1 + below(random, 3 << 20);
  for (auto parts = below(random, 5); parts-- > 0;) {
    auto bytes = random_bytes(random, 1 + below(random, 9000));
    auto at = below(random, size);
    if (::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) < 0)
      throw std::runtime_error("no sparse file");
    size = std::max(size, at + bytes.size());
  }
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0)
    throw std::runtime_error("no sparse file");
  ::close(fd);
}

} // namespace

void make_random_folder(const std::string& folder, std::uint64_t seed, std::size_t entries) {
  randomness random{seed};
  std::vector<std::string> folders{folder}, files;
  const bool root = ::geteuid() == 0;
  std::filesystem::create_directories(folder);
  for (std::size_t i = 0; i < entries; ++i) {
    auto& parent = below(random, 3) == 0 ? folders.back() : folders[below(random, folders.size())];
    auto path = parent + '/' + random_name(random, i);
    if (path.size() > 3500)
      continue;
    auto mode = static_cast<mode_t>(below(random, 01000));
    switch (below(random, 12)) {
      case 0:
      case 1:
      case 2:
        ::mkdir(path.c_str(), 0700);
        folders.push_back(path);
        break;
      case 3: {
        static const char* targets[] = {"/etc/passwd", "../../../..", "nowhere", ".", "a/../../..", "\xff", "plain.1"};
        if (::symlink(below(random, 5) == 0 ? std::string(4000, 'l').c_str() : targets[below(random, 7)], path.c_str())
            != 0)
          throw std::runtime_error("no link: " + path);
        set_time(path, random);
        break;
      }
      case 4:
        if (!files.empty() && ::link(files[below(random, files.size())].c_str(), path.c_str()) != 0)
          throw std::runtime_error("no hard link: " + path);
        break;
      case 5:
        make_sparse(path, random);
        set_time(path, random);
        files.push_back(path);
        break;
      default: {
        static const std::size_t sizes[] = {0, 1, 511, 512, 513, 4096, 65'536, 100'001};
        auto size = below(random, 60) == 0 ? std::size_t{5 << 20} : sizes[below(random, 8)];
        write_all(path, random_bytes(random, size));
        ::chmod(path.c_str(), root ? mode : mode | 0400);
        set_time(path, random);
        files.push_back(path);
      }
    }
  }
  for (auto one = folders.rbegin(); one + 1 != folders.rend(); ++one) {
    ::chmod(one->c_str(), (root ? 0u : 0700u) | static_cast<mode_t>(below(random, 02000)));
    set_time(*one, random);
  }
}

std::string facts_of(const std::string& folder) {
  auto in = "cd '" + folder + "' && LC_ALL=C ";
  return shell(in
               + "find . -mindepth 1 \\( -type d -printf 'd %m %T@ %P\\0' -o -type l -printf 'l %T@ %P -> %l\\0' -o "
                 "-type f "
                 "-printf 'f %m %T@ %s %n %P\\0' -o -printf '? %P\\0' \\) | LC_ALL=C sort -z")
       + shell(in + "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum");
}

} // namespace davit::test
