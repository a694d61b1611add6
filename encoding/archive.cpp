#include "encoding/archive.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace davit::encoding {

namespace {

using reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

struct descriptor {
  int fd;
  explicit descriptor(int opened) : fd(opened) {}
  descriptor(descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

/// Opens a path below a folder, following no symbolic link anywhere.
int open_below(int folder, const std::string& path, std::uint64_t flags, std::uint64_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how));
}

/// The parts of a relative path; none if it is absolute or has `..` or a NUL in it.
std::optional<std::vector<std::string>> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  if (path.empty() || path.front() == '/')
    return std::nullopt;
  while (!path.empty()) {
    auto slash = path.find('/');
    auto part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part == "..")
      return std::nullopt;
    if (!part.empty() && part != ".")
      parts.emplace_back(part);
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts, std::size_t count) {
  std::string path = ".";
  for (std::size_t i = 0; i < count; ++i)
    path += '/' + parts[i];
  return path;
}

/// Whether a symbolic link in a folder of this depth stays below the top, whatever else is there.
bool stays_inside(std::string_view target, std::size_t depth) {
  if (target.empty() || target.front() == '/')
    return false;
  auto level = static_cast<std::ptrdiff_t>(depth);
  bool descended = false;
  while (!target.empty()) {
    auto slash = target.find('/');
    auto part = target.substr(0, slash);
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (part == "..") {
      // A `..` behind a name means whatever that name is a link to.
      if (descended || --level < 0)
        return false;
    } else if (!part.empty() && part != ".") {
      descended = true;
    }
  }
  return true;
}

class unpacker {
public:
  unpacker(int top, const archive_limits& limits) : top_(top), limits_(limits) {}

  archive_result<void> take(archive* from, archive_entry* entry) {
    auto name = archive_entry_pathname(entry);
    if (!name)
      return fail("?", "has no name");
    name_ = name;
    if (++entries_ > limits_.entries)
      return fail(name_, "is one of more than " + std::to_string(limits_.entries) + " entries");
    auto parts = parts_of(name_);
    if (!parts)
      return fail(name_, "leads out of the folder");
    if (parts->size() > limits_.depth)
      return fail(name_, "is more than " + std::to_string(limits_.depth) + " folders deep");
    if (auto link = archive_entry_hardlink(entry))
      return take_hard_link(*parts, link);
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR:
        return folders(*parts, parts->size());
      case AE_IFREG:
        return take_file(from, entry, *parts);
      case AE_IFLNK:
        return take_link(entry, *parts);
      default:
        return fail(name_, "is a device, a fifo or a socket");
    }
  }

  archive_summary summary;

private:
  static archive_error fail(const std::string& name, const std::string& what) {
    return {"the archive's entry \"" + name + "\" " + what};
  }
  archive_error system(const char* what) const {
    return fail(name_, std::string{"can't be "} + what + ": "
                         + (errno == ELOOP || errno == EXDEV || errno == ENOTDIR
                              ? "it goes through a symbolic link, or something that is not a folder"
                              : std::strerror(errno)));
  }

  /// Makes the first so many of the parts, as far as they are not there.
  archive_result<void> folders(const std::vector<std::string>& parts, std::size_t count) {
    for (std::size_t i = 1; i <= count; ++i) {
      descriptor parent{open_below(top_, joined(parts, i - 1), O_PATH | O_DIRECTORY, 0)};
      if (parent.fd < 0)
        return system("made");
      if (::mkdirat(parent.fd, parts[i - 1].c_str(), 0755) == 0) {
        ++summary.folders;
      } else if (errno == EEXIST) {
        descriptor there{open_below(top_, joined(parts, i), O_PATH | O_DIRECTORY, 0)};
        if (there.fd < 0)
          return system("made");
      } else {
        return system("made");
      }
    }
    return {};
  }

  archive_result<descriptor> parent_of(const std::vector<std::string>& parts) {
    if (parts.empty())
      return fail(name_, "is the folder itself");
    if (auto made = folders(parts, parts.size() - 1); !made)
      return made.error();
    descriptor parent{open_below(top_, joined(parts, parts.size() - 1), O_PATH | O_DIRECTORY, 0)};
    if (parent.fd < 0)
      return system("made");
    return parent;
  }

  archive_result<void> take_file(archive* from, archive_entry* entry, const std::vector<std::string>& parts) {
    auto parent = parent_of(parts);
    if (!parent)
      return parent.error();
    descriptor file{
      ::openat(parent->fd, parts.back().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (file.fd < 0)
      return system("made");
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    while (true) {
      auto got = archive_read_data_block(from, &block, &size, &offset);
      if (got == ARCHIVE_EOF)
        break;
      if (got < ARCHIVE_OK)
        return fail(name_, "is cut off");
      summary.bytes += size;
      // Holes count too: a sparse entry may claim any length.
      if (offset < 0 || summary.bytes > limits_.bytes || static_cast<std::uint64_t>(offset) > limits_.bytes)
        return fail(name_, "takes the whole over " + std::to_string(limits_.bytes) + " bytes");
      auto bytes = static_cast<const char*>(block);
      while (size != 0) {
        auto count = ::pwrite(file.fd, bytes, size, offset);
        if (count < 0 && errno == EINTR)
          continue;
        if (count <= 0)
          return system("written");
        bytes += count;
        offset += count;
        size -= static_cast<std::size_t>(count);
      }
    }
    ::fchmod(file.fd, archive_entry_perm(entry) & 0755); // no set-id bits, and nothing that everybody may write
    ++summary.files;
    return {};
  }

  archive_result<void> take_link(archive_entry* entry, const std::vector<std::string>& parts) {
    auto target = archive_entry_symlink(entry);
    if (!target || !stays_inside(target, parts.empty() ? 0 : parts.size() - 1))
      return fail(name_, std::string{"is a link that leads out of the folder, to "} + (target ? target : "nowhere"));
    auto parent = parent_of(parts);
    if (!parent)
      return parent.error();
    if (::symlinkat(target, parent->fd, parts.back().c_str()) != 0)
      return system("made");
    ++summary.links;
    return {};
  }

  archive_result<void> take_hard_link(const std::vector<std::string>& parts, const char* target) {
    auto from = parts_of(target);
    if (!from || from->empty())
      return fail(name_, std::string{"is a link that leads out of the folder, to "} + target);
    auto parent = parent_of(parts);
    if (!parent)
      return parent.error();
    descriptor folder{open_below(top_, joined(*from, from->size() - 1), O_PATH | O_DIRECTORY, 0)};
    if (folder.fd < 0 || ::linkat(folder.fd, from->back().c_str(), parent->fd, parts.back().c_str(), 0) != 0)
      return system("linked");
    ++summary.links;
    return {};
  }

  int top_;
  const archive_limits& limits_;
  std::string name_;
  std::uint64_t entries_ = 0;
};

} // namespace

archive_result<archive_summary>
unpack(std::string_view tar, const std::filesystem::path& folder, const archive_limits& limits) {
  descriptor top{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (top.fd < 0)
    return archive_error{folder.string() + ": " + std::strerror(errno)};
  reader from{archive_read_new(), &archive_read_free};
  archive_read_support_format_tar(from.get());
  if (archive_read_open_memory(from.get(), tar.data(), tar.size()) != ARCHIVE_OK)
    return archive_error{"this is not a tar archive"};
  unpacker into{top.fd, limits};
  while (true) {
    archive_entry* entry = nullptr;
    auto got = archive_read_next_header(from.get(), &entry);
    if (got == ARCHIVE_EOF)
      return into.summary;
    if (got < ARCHIVE_WARN)
      return archive_error{"the archive is damaged after "
                           + std::to_string(into.summary.files + into.summary.folders + into.summary.links)
                           + " entries"};
    if (auto taken = into.take(from.get(), entry); !taken)
      return taken.error();
  }
}

std::optional<archive_file> only_file(std::string_view tar) {
  reader from{archive_read_new(), &archive_read_free};
  archive_read_support_format_tar(from.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(from.get(), tar.data(), tar.size()) != ARCHIVE_OK
      || archive_read_next_header(from.get(), &entry) != ARCHIVE_OK || !archive_entry_pathname(entry)
      || archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFREG)
    return std::nullopt;
  archive_file file{archive_entry_pathname(entry), archive_entry_perm(entry), {}};
  auto size = archive_entry_size(entry);
  if (size < 0 || static_cast<std::size_t>(size) > tar.size())
    return std::nullopt;
  file.bytes.resize(static_cast<std::size_t>(size));
  if (archive_read_data(from.get(), file.bytes.data(), file.bytes.size()) != size
      || archive_read_next_header(from.get(), &entry) != ARCHIVE_EOF)
    return std::nullopt;
  return file;
}

std::optional<archive_folder> first_folder(std::string_view tar) {
  reader from{archive_read_new(), &archive_read_free};
  archive_read_support_format_tar(from.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(from.get(), tar.data(), tar.size()) != ARCHIVE_OK
      || archive_read_next_header(from.get(), &entry) != ARCHIVE_OK || archive_entry_hardlink(entry)
      || archive_entry_filetype(entry) != AE_IFDIR || archive_entry_uid(entry) < 0 || archive_entry_gid(entry) < 0)
    return std::nullopt;
  return archive_folder{static_cast<std::uint32_t>(archive_entry_perm(entry)),
                        static_cast<std::uint64_t>(archive_entry_uid(entry)),
                        static_cast<std::uint64_t>(archive_entry_gid(entry)), archive_entry_mtime(entry)};
}

std::string pack(const std::vector<archive_file>& files) {
  std::string tar;
  std::unique_ptr<archive, decltype(&archive_write_free)> writer{archive_write_new(), archive_write_free};
  archive_write_set_format_ustar(writer.get());
  auto append = [](archive*, void* target, const void* bytes, std::size_t size) -> la_ssize_t {
    static_cast<std::string*>(target)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  };
  archive_write_open(writer.get(), &tar, nullptr, append, nullptr);
  for (const auto& file : files) {
    std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry{archive_entry_new(), archive_entry_free};
    archive_entry_set_pathname(entry.get(), file.path.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(file.bytes.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), static_cast<mode_t>(file.mode));
    archive_write_header(writer.get(), entry.get());
    archive_write_data(writer.get(), file.bytes.data(), file.bytes.size());
  }
  archive_write_close(writer.get());
  return tar;
}

} // namespace davit::encoding
