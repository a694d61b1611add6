#include "blobs/directory_medium.hpp"

#include "blobs/folder_names.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>

namespace davit::blobs {

namespace {

constexpr mode_t file_mode = 0600, folder_mode = 0700;
constexpr off_t write_out = 8 << 20;
constexpr auto as_folder = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

std::string leaf_of(std::string_view key) {
  return {key[34], '/', key[35]};
}
std::string path_of(std::string_view key) {
  return leaf_of(key) + '/' + std::string{key};
}

/// Owners of files read such messages: the agent's folders are not for them.
std::string shown(const std::string& path) {
  return "the agent's blobs: " + path;
}

/// A file that is another thing by now, or that the file system has found damaged, is as lost as one that is gone. A
/// disk that does not answer is not.
error trouble(const std::string& path, const char* can_not_be, int number) {
  auto e = system_error(shown(path), can_not_be, number);
  if (number == EISDIR || number == ELOOP || number == ENOTDIR || number == ENXIO || number == EUCLEAN
      || number == EBADMSG)
    e.code = errc::damaged;
  return e;
}

error not_a_key(std::string_view key) {
  return {errc::invalid, "\"" + std::string{key.substr(0, 100)} + "\" is not the key of an object"};
}

/// Makes a folder if there is none, and opens it. Its mode is 0700 afterwards.
descriptor folder_in(int parent, const char* name) {
  if (::mkdirat(parent, name, folder_mode) != 0 && errno != EEXIST)
    return {};
  descriptor folder{::openat(parent, name, as_folder)};
  if (folder && ::fchmod(folder.get(), folder_mode) != 0)
    return {};
  return folder;
}

} // namespace

bool is_object_key(std::string_view text) {
  if (text.size() != 36)
    return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    bool digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !digit)
      return false;
  }
  return true;
}

class directory_medium::writer final : public object_writer {
public:
  writer(directory_medium& home, std::string key, std::string temporary, descriptor file)
    : home_(home), key_(std::move(key)), temporary_(std::move(temporary)), file_(std::move(file)) {}
  ~writer() override {
    if (!published_)
      ::unlinkat(home_.incoming_.get(), temporary_.c_str(), 0);
  }

  result<void> write(std::string_view piece) override {
    if (!usable_)
      return error{errc::invalid, "a writer of an object is used after an error or its end"};
    while (!piece.empty()) {
      auto count = ::write(file_.get(), piece.data(), piece.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count <= 0)
        return fail("written", count < 0 ? errno : EIO);
      piece.remove_prefix(static_cast<std::size_t>(count));
      size_ += count;
    }
    if (size_ - on_its_way_ >= write_out) { // so that little is left for the end to wait for; a hint
      ::sync_file_range(file_.get(), on_its_way_, size_ - on_its_way_, SYNC_FILE_RANGE_WRITE);
      on_its_way_ = size_;
    }
    return {};
  }

  result<void> commit() override {
    if (!usable_)
      return error{errc::invalid, "a writer of an object is used after an error or its end"};
    // What a failed fsync leaves is unknown, and a second one would say that all is well: it is never repeated.
    if (::fsync(file_.get()) != 0)
      return fail("synced", errno);
    usable_ = false;
    auto done = home_.publish(temporary_, key_);
    published_ = done.has_value();
    return done;
  }

private:
  error fail(const char* what, int number) {
    usable_ = false;
    return system_error(shown("incoming/" + temporary_), what, number);
  }

  directory_medium& home_;
  std::string key_, temporary_;
  descriptor file_;
  off_t size_ = 0, on_its_way_ = 0; ///< Written; and of that, what the disk was asked to write already.
  bool usable_ = true, published_ = false;
};

class directory_medium::reader final : public object_reader {
public:
  reader(std::string path, descriptor file, std::uint64_t size)
    : path_(std::move(path)), file_(std::move(file)), size_(size) {}
  std::uint64_t size() const override { return size_; }

  result<std::size_t> read(std::uint64_t offset, std::span<char> into) override {
    if (offset >= size_)
      return std::size_t{0};
    auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size_ - offset));
    std::size_t done = 0;
    while (done < wanted) {
      auto count = ::pread(file_.get(), into.data() + done, wanted - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        return trouble(path_, "read", errno);
      if (count == 0)
        return error{errc::damaged, shown(path_) + " became shorter than it was"};
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

private:
  std::string path_;
  descriptor file_;
  std::uint64_t size_;
};

result<std::unique_ptr<directory_medium>> directory_medium::open_folder(const std::string& folder, sharing how) {
  auto top = folder_in(AT_FDCWD, folder.c_str());
  if (!top)
    return system_error(folder, "used as a folder for blobs", errno);
  std::unique_ptr<directory_medium> made{new directory_medium(folder, std::move(top))};
  if (auto ready = made->make_ready(how); !ready)
    return ready.error();
  return made;
}

/// `first`: nobody else has it open.
result<void> directory_medium::lock_folder(sharing how, bool& first) {
  lock_ = descriptor{::openat(top_.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, file_mode)};
  if (!lock_)
    return system_error(folder_ + "/lock", "opened", errno);
  first = ::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0;
  if (first)
    return {};
  constexpr int patience = 200; // of 10 ms: the first of those that share it has it alone for a moment
  for (int i = 0; how == sharing::shared && i < patience; ++i) {
    if (::flock(lock_.get(), LOCK_SH | LOCK_NB) == 0)
      return {};
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return error{errc::failed, folder_ + " is in use by another process"};
}

result<void> directory_medium::make_ready(sharing how) {
  bool first = false;
  if (auto locked = lock_folder(how, first); !locked)
    return locked;
  incoming_ = folder_in(top_.get(), "incoming");
  if (!incoming_)
    return system_error(folder_ + "/incoming", "made", errno);
  if (::fsync(top_.get()) != 0)
    return system_error(folder_, "synced", errno);
  auto cleared = first ? clear_incoming() : result<void>{};
  if (first && how == sharing::shared) // waits for another that is the first in between
    while (::flock(lock_.get(), LOCK_SH) != 0)
      if (errno != EINTR)
        return system_error(folder_ + "/lock", "locked", errno);
  return cleared;
}

result<void> directory_medium::clear_incoming() {
  auto names = names_in(incoming_.get(), folder_ + "/incoming");
  if (!names)
    return names.error();
  for (const auto& name : *names)
    if (::unlinkat(incoming_.get(), name.c_str(), 0) != 0 && errno != ENOENT)
      return system_error(folder_ + "/incoming/" + name, "removed", errno);
  return {};
}

result<std::unique_ptr<object_writer>> directory_medium::create(std::string_view key) {
  if (!is_object_key(key))
    return not_a_key(key);
  std::string temporary{key};
  {
    std::lock_guard lock{mutex_};
    temporary += '.' + std::to_string(++writers_);
  }
  descriptor file{::openat(incoming_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file_mode)};
  if (!file || ::fchmod(file.get(), file_mode) != 0)
    return system_error(shown("incoming/" + temporary), "made", errno);
  return std::make_unique<writer>(*this, std::string{key}, std::move(temporary), std::move(file));
}

// The folder of a key. The first time, it and the one above are synced where their names are: they may come from a
// process that died before it could do so.
result<descriptor> directory_medium::open_leaf(const std::string& key) {
  auto high = key.substr(34, 1), low = key.substr(35, 1);
  auto upper = folder_in(top_.get(), high.c_str());
  auto leaf = upper ? folder_in(upper.get(), low.c_str()) : descriptor{};
  if (!leaf)
    return system_error(shown(leaf_of(key)), "made", errno);
  auto number = std::stoul(high + low, nullptr, 16);
  std::lock_guard lock{mutex_};
  if (!durable_[number]) {
    if (::fsync(top_.get()) != 0 || ::fsync(upper.get()) != 0)
      return system_error(shown(leaf_of(key)), "synced", errno);
    durable_[number] = true;
  }
  return leaf;
}

result<void> directory_medium::publish(const std::string& temporary, const std::string& key) {
  auto leaf = open_leaf(key);
  if (!leaf)
    return leaf.error();
  auto done = ::renameat2(incoming_.get(), temporary.c_str(), leaf->get(), key.c_str(), RENAME_NOREPLACE);
  if (done != 0 && errno == EINVAL) { // a file system that can't refuse to replace
    if (::faccessat(leaf->get(), key.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      errno = EEXIST;
    else
      done = ::renameat(incoming_.get(), temporary.c_str(), leaf->get(), key.c_str());
  }
  if (done != 0 && errno == EEXIST)
    return error{errc::exists, "there is an object " + key + " already"};
  if (done != 0)
    return system_error(shown(path_of(key)), "made", errno);
  if (::fsync(leaf->get()) != 0) {
    auto number = errno;
    ::unlinkat(leaf->get(), key.c_str(), 0);
    return system_error(shown(leaf_of(key)), "synced", number);
  }
  return {};
}

result<std::unique_ptr<object_reader>> directory_medium::open(std::string_view key) {
  if (!is_object_key(key))
    return not_a_key(key);
  auto path = path_of(key);
  descriptor file{::openat(top_.get(), path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (!file && errno == ENOENT)
    return error{errc::missing, "there is no object " + std::string{key}};
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0)
    return trouble(path, "opened", errno);
  if (!S_ISREG(status.st_mode))
    return trouble(path, "read", EISDIR);
  return std::make_unique<reader>(path, std::move(file), static_cast<std::uint64_t>(status.st_size));
}

result<void> directory_medium::remove(std::string_view key) {
  if (!is_object_key(key))
    return not_a_key(key);
  auto path = path_of(key);
  if (::unlinkat(top_.get(), path.c_str(), 0) == 0 || errno == ENOENT)
    return {};
  auto e = trouble(path, "removed", errno);
  if (e.code == errc::damaged) // it is not the object any more: whoever has put it there may keep it
    return {};
  return e;
}

result<void>
directory_medium::list_leaf(const std::string& leaf, std::string_view after, std::size_t limit, object_page& page) {
  descriptor folder{::openat(top_.get(), leaf.c_str(), as_folder)};
  if (!folder && errno == ENOENT)
    return {};
  if (!folder)
    return system_error(shown(leaf), "read", errno);
  auto names = names_in(folder.get(), shown(leaf));
  if (!names)
    return names.error();
  for (auto& name : *names) {
    if (name <= after || !is_object_key(name))
      continue;
    if (page.objects.size() == limit) {
      page.next = page.objects.back().key;
      return {};
    }
    struct stat status {};
    if (::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
      continue; // removed meanwhile
    auto committed = std::chrono::seconds{status.st_mtim.tv_sec} + std::chrono::nanoseconds{status.st_mtim.tv_nsec};
    page.objects.push_back({std::move(name), static_cast<std::uint64_t>(status.st_size),
                            std::chrono::system_clock::time_point{
                              std::chrono::duration_cast<std::chrono::system_clock::duration>(committed)}});
  }
  return {};
}

result<object_page> directory_medium::list(std::string_view from, std::size_t limit) {
  if (limit == 0 || (!from.empty() && !is_object_key(from)))
    return error{errc::invalid, "this is not the beginning of a page of objects"};
  object_page page;
  const auto first = from.empty() ? std::string{} : leaf_of(from);
  static constexpr std::string_view digits = "0123456789abcdef";
  for (auto high : digits)
    for (auto low : digits) {
      std::string leaf{high, '/', low};
      if (leaf < first)
        continue;
      if (auto done = list_leaf(leaf, leaf == first ? from : std::string_view{}, limit, page); !done)
        return done.error();
      if (!page.next.empty())
        return page;
    }
  return page;
}

} // namespace davit::blobs
