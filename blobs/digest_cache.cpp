#include "blobs/digest_cache.hpp"

#include "blobs/bytes.hpp"
#include "blobs/descriptor.hpp"

#include <cerrno>
#include <cstring>
#include <limits>
#include <sys/stat.h>

namespace davit::blobs {

namespace {

constexpr std::string_view mark = "davit digests 1\n";
constexpr std::size_t digest_bytes = sizeof(digest::bytes);

std::string_view bytes_of(const digest& value) {
  return {reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()};
}

void append_time(std::string& to, const timestamp& time) {
  append_integer(to, time.seconds);
  append_integer(to, time.nanoseconds);
}

bool take_time(byte_cursor& from, timestamp& time) {
  return from.take(time.seconds) && from.take(time.nanoseconds);
}

bool write_whole(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

} // namespace

std::int64_t nanoseconds_between(const timestamp& before, const timestamp& after) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 1'000'000'000 - 1;
  std::int64_t seconds = 0;
  if (__builtin_sub_overflow(after.seconds, before.seconds, &seconds))
    seconds = after.seconds < before.seconds ? -most : most;
  if (seconds > most || seconds < -most)
    seconds = seconds < 0 ? -most : most;
  return seconds * 1'000'000'000 + after.nanoseconds - before.nanoseconds;
}

std::optional<digest> digest_cache::find(const file_stamp& stamp) {
  const key one{stamp.device, stamp.inode};
  if (auto used = used_.find(one); used != used_.end() && used->second.stamp == stamp)
    return used->second.content;
  auto loaded = loaded_.find(one);
  if (loaded == loaded_.end() || loaded->second.stamp != stamp)
    return std::nullopt;
  used_[one] = loaded->second;
  return loaded->second.content;
}

void digest_cache::add(const file_stamp& stamp, const digest& content, const timestamp& read_at) {
  // Nobody can set the time of change: the time of modification need not be looked at.
  if (nanoseconds_between(stamp.changed, read_at) >= uncertainty(stamp.changed))
    used_[{stamp.device, stamp.inode}] = {stamp, content};
}

std::string digest_cache::write() const {
  std::string bytes{mark};
  append_integer(bytes, static_cast<std::uint64_t>(used_.size()));
  for (const auto& [_, one] : used_) {
    append_integer(bytes, one.stamp.device);
    append_integer(bytes, one.stamp.inode);
    append_integer(bytes, one.stamp.size);
    append_time(bytes, one.stamp.modified);
    append_time(bytes, one.stamp.changed);
    bytes += bytes_of(one.content);
  }
  bytes += bytes_of(digest_of(bytes));
  return bytes;
}

digest_cache digest_cache::read(std::string_view bytes) {
  if (bytes.size() < digest_bytes)
    return {};
  auto check = bytes.substr(bytes.size() - digest_bytes);
  bytes.remove_suffix(digest_bytes);
  byte_cursor from{bytes};
  std::uint64_t count = 0;
  if (bytes_of(digest_of(bytes)) != check || from.take_bytes(mark.size()) != mark || !from.take(count))
    return {};
  digest_cache cache;
  for (std::uint64_t i = 0; i < count; ++i) {
    known one;
    if (!from.take(one.stamp.device) || !from.take(one.stamp.inode) || !from.take(one.stamp.size)
        || !take_time(from, one.stamp.modified) || !take_time(from, one.stamp.changed))
      return {};
    auto content = from.take_bytes(digest_bytes);
    if (!content)
      return {};
    std::memcpy(one.content.bytes.data(), content->data(), digest_bytes);
    cache.loaded_[{one.stamp.device, one.stamp.inode}] = one;
  }
  return cache;
}

digest_cache digest_cache::load(const std::string& file) {
  descriptor from{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  std::string bytes;
  char piece[1 << 16];
  while (from) {
    auto count = ::read(from.get(), piece, sizeof piece);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    bytes.append(piece, static_cast<std::size_t>(count));
  }
  return read(bytes);
}

result<void> digest_cache::save(const std::string& file) const {
  auto temporary = file + '.' + std::to_string(::getpid());
  descriptor to{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!to)
    return system_error(temporary, "made", errno);
  if (!write_whole(to.get(), write()) || ::rename(temporary.c_str(), file.c_str()) != 0) {
    auto number = errno;
    ::unlink(temporary.c_str());
    return system_error(file, "written", number);
  }
  return {};
}

} // namespace davit::blobs
