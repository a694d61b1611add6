#include "secrets/secret_file.hpp"

#include "messages/regular_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace davit::secrets {

namespace {

constexpr std::uint64_t most_bytes = 16 << 20; ///< Some ten thousands of tokens.

} // namespace

std::string wrong_secret_file(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0)
    return file.string() + " can't be read: " + std::strerror(errno);
  if (auto wrong = wrong_kind(file); !wrong.empty())
    return file.string() + ' ' + wrong;
  if ((info.st_mode & (S_IWGRP | S_IRWXO)) == 0)
    return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
  return file.string() + (info.st_mode & S_IROTH ? " can be read by every user" : " is open to other users")
       + " of this machine (mode " + mode + "); run: chmod 600 " + file.string();
}

std::optional<std::string>
read_secret_file(const std::filesystem::path& file, const std::string& maker, std::string& error) {
  error = wrong_secret_file(file);
  if (!error.empty()) {
    std::error_code ec;
    if (!std::filesystem::exists(file, ec) && !ec)
      error += " (" + maker + " makes it)";
    return std::nullopt;
  }
  regular_file in{file, most_bytes};
  auto text = in.read();
  if (!text)
    error = file.string() + ' ' + in.wrong();
  return text;
}

std::string make_secret_file(const std::filesystem::path& file, const std::string& text) {
  std::error_code ec;
  std::filesystem::create_directories(file.parent_path(), ec);
  // A name of its own: agents in containers that share a volume have the same process number. The mode is 0600.
  auto part = file.string() + ".XXXXXX";
  auto fd = ::mkostemp(part.data(), O_CLOEXEC);
  auto good = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  auto why = errno;
  if (fd >= 0)
    ::close(fd);
  // link, not rename: whoever was quicker has made the file that counts.
  if (good && ::link(part.c_str(), file.c_str()) != 0 && errno != EEXIST) {
    why = errno;
    good = false;
  }
  if (fd >= 0)
    ::unlink(part.c_str());
  // What is sealed or signed with it must not outlive it: the name is durable too.
  auto above = file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
  if (auto folder = good ? ::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1; folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return good ? "" : file.string() + " can't be written: " + std::strerror(why);
}

std::string write_secret_file(const std::filesystem::path& file, const std::string& text) {
  auto part = file.string() + ".part";
  ::unlink(part.c_str());
  auto fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  auto good = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  auto why = errno;
  if (fd >= 0)
    ::close(fd);
  if (good && ::rename(part.c_str(), file.c_str()) == 0)
    return {};
  if (good)
    why = errno;
  ::unlink(part.c_str());
  return file.string() + " can't be written: " + std::strerror(why);
}

} // namespace davit::secrets
