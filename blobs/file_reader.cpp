#include "blobs/file_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace davit::blobs {

namespace {

timestamp now() {
  struct timespec time {};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time_of(time);
}

/// Sleeps until the kernel's clock for files has left the tick in which the file changed.
void leave_tick_of(const timestamp& changed) {
  constexpr std::int64_t most = 20'000'000;
  for (auto slept = most; slept > 0;) {
    auto age = nanoseconds_between(changed, now());
    if (age >= most)
      return;
    struct timespec time {};
    time.tv_nsec = std::min({most, most - age, slept});
    slept -= time.tv_nsec;
    struct timespec left {};
    if (::nanosleep(&time, &left) != 0) // a signal came
      slept += left.tv_nsec;
  }
}

error changed(const std::string& shown) {
  return {errc::changed, shown + " changed while it was read"};
}

/// Up to the buffer's size from an offset; 0 at the end.
result<std::size_t> read_at(int file, const std::string& shown, std::span<char> into, std::uint64_t offset) {
  while (true) {
    auto count = ::pread(file, into.data(), into.size(), static_cast<off_t>(offset));
    if (count >= 0)
      return static_cast<std::size_t>(count);
    if (errno != EINTR)
      return system_error(shown, "read", errno);
  }
}

class checked_file final : public byte_reader {
public:
  checked_file(descriptor file, std::string shown, std::uint64_t size, const digest& content)
    : file_(std::move(file)), shown_(std::move(shown)), size_(size), content_(content) {}

  result<std::size_t> read(std::span<char> into) override {
    auto got = read_at(file_.get(), shown_, into, done_);
    if (!got)
      return got;
    if (*got > size_ - done_ || (*got == 0 && done_ != size_))
      return error{errc::changed, shown_ + " changed since it was looked at"};
    if (*got == 0 && hasher_.finish() != content_)
      return error{errc::changed, shown_ + " changed since it was looked at"};
    hasher_.add({into.data(), *got});
    done_ += *got;
    return got;
  }

private:
  descriptor file_;
  std::string shown_;
  std::uint64_t size_, done_ = 0;
  digest content_;
  hasher hasher_;
};

} // namespace

std::vector<hole> find_holes(int file, const struct stat& status, std::size_t most) {
  std::vector<hole> holes;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (static_cast<std::uint64_t>(status.st_blocks) * 512 >= size)
    return holes;
  std::uint64_t at = 0;
  while (at < size && holes.size() < most) {
    auto data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno != ENXIO)
      return {}; // the file system does not know
    auto begin = data < 0 ? size : std::min(static_cast<std::uint64_t>(data), size);
    if (begin > at)
      holes.push_back({at, begin - at});
    if (begin == size)
      break;
    auto end = ::lseek(file, data, SEEK_HOLE);
    if (end <= data)
      return {};
    at = static_cast<std::uint64_t>(end);
  }
  return holes;
}

result<read_file> hash_file(int file, const std::string& shown, std::span<char> buffer, std::size_t most_holes) {
  read_file done;
  if (::fstat(file, &done.status) != 0)
    return system_error(shown, "read", errno);
  done.stamp = stamp_of(done.status);
  leave_tick_of(done.stamp.changed);
  done.read_at = now();
  done.holes = find_holes(file, done.status, most_holes);
  hasher sum;
  auto hole = done.holes.begin();
  std::uint64_t at = 0;
  while (at < done.stamp.size) {
    if (hole != done.holes.end() && hole->offset == at) {
      sum.add_zeros(hole->length);
      at += hole->length;
      ++hole;
      continue;
    }
    auto end = hole != done.holes.end() ? hole->offset : done.stamp.size;
    auto got = read_at(file, shown, buffer.first(std::min<std::uint64_t>(buffer.size(), end - at)), at);
    if (!got)
      return got.error();
    if (*got == 0)
      return changed(shown);
    sum.add({buffer.data(), *got});
    at += *got;
  }
  struct stat after {};
  if (::fstat(file, &after) != 0)
    return system_error(shown, "read", errno);
  if (stamp_of(after) != done.stamp)
    return changed(shown);
  done.content = sum.finish();
  return done;
}

std::unique_ptr<byte_reader>
read_checked(descriptor file, std::string shown, std::uint64_t size, const digest& content) {
  return std::make_unique<checked_file>(std::move(file), std::move(shown), size, content);
}

} // namespace davit::blobs
