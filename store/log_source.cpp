#include "store/log_source.hpp"

#include "store/log_record.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace davit::store {

log_source log_source::of_plain(std::string_view bytes) {
  log_source result;
  result.memory_ = bytes;
  return result;
}

std::optional<log_source> log_source::of_packed(std::string_view bytes) {
  auto result = of_plain(bytes);
  result.compressed_ = true;
  return result.read_table() ? std::optional{std::move(result)} : std::nullopt;
}

log_result<std::optional<log_source>> log_source::open(const std::filesystem::path& path) {
  log_source result;
  result.path_ = path.string() + ".log";
  result.file_ = file{::open(result.path_.c_str(), O_RDONLY | O_CLOEXEC)};
  if (result.file_)
    return std::optional{std::move(result)};
  result.path_ += ".zst";
  result.file_ = file{::open(result.path_.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!result.file_)
    return errno == ENOENT ? log_result<std::optional<log_source>>{std::nullopt} : system_error(result.path_, "open");
  result.compressed_ = true;
  if (!result.read_table())
    return log_error{log_errc::damaged, result.path_ + ": its seek table is damaged"};
  return std::optional{std::move(result)};
}

log_result<std::size_t> log_source::read(char* into, std::size_t size, std::uint64_t offset) {
  if (!compressed_) {
    auto count = stored(into, size, offset);
    if (count < 0)
      return system_error(path_, "read");
    return static_cast<std::size_t>(count);
  }
  std::size_t done = 0;
  while (done < size) {
    auto frame = std::find_if(frames_.begin(), frames_.end(),
                              [&](const auto& one) { return offset + done < one.raw_begin + one.raw_size; });
    if (frame == frames_.end())
      break;
    if (!load(*frame))
      return log_error{log_errc::damaged, path_ + ": a block is damaged"};
    auto at = offset + done - frame->raw_begin;
    auto count = std::min<std::uint64_t>(size - done, frame->raw_size - at);
    std::memcpy(into + done, block_.data() + at, count);
    done += count;
  }
  return done;
}

std::uint64_t log_source::size() const {
  if (compressed_)
    return frames_.empty() ? 0 : frames_.back().raw_begin + frames_.back().raw_size;
  return stored_size();
}

std::int64_t log_source::stored(char* into, std::size_t size, std::uint64_t offset) const {
  if (file_)
    return read_at(file_.fd, into, size, offset);
  return offset < memory_.size() ? static_cast<std::int64_t>(memory_.copy(into, size, offset)) : 0;
}

std::uint64_t log_source::stored_size() const {
  struct stat info {};
  return !file_ ? memory_.size() : ::fstat(file_.fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

bool log_source::read_table() {
  auto frames = read_seek_table(
    [this](char* into, std::size_t size, std::uint64_t at) { return stored(into, size, at); }, stored_size());
  if (frames)
    frames_ = std::move(*frames);
  return frames.has_value();
}

bool log_source::load(const packed_frame& one) {
  if (loaded_ == one.begin && !block_.empty())
    return true;
  std::vector<char> packed(one.size);
  if (stored(packed.data(), packed.size(), one.begin) != static_cast<std::int64_t>(packed.size()))
    return false;
  block_.resize(one.raw_size);
  loaded_ = one.begin;
  auto whole = unpack_block({packed.data(), packed.size()}, block_);
  if (!whole)
    block_.clear();
  return whole;
}

log_result<log_page>
read_page(log_source& from, const std::string& name, std::uint64_t offset, std::uint32_t max_bytes) {
  log_page page;
  page.next = offset;
  std::vector<char> buffer(std::min<std::size_t>(std::clamp<std::size_t>(max_bytes, 4096, 4 * block_bytes),
                                                 from.size() + record_header_bytes));
  while (true) {
    auto got = from.read(buffer.data(), buffer.size(), page.next);
    if (!got)
      return got.error();
    std::string_view rest{buffer.data(), *got};
    record_view record;
    std::size_t needed = 0;
    auto found = get_record(rest, record, needed);
    for (; found == record_found::whole; found = get_record(rest, record, needed)) {
      if (record.stream == log_stream::none) {
        page.finished = true;
        return page;
      }
      page.records.push_back({record.stream, record.at, std::string{record.bytes}});
      rest.remove_prefix(record.size());
      page.next += record.size();
      page.ends.push_back(page.next);
    }
    if (found == record_found::damaged && page.records.empty()) // what is whole before it comes first
      return log_error{log_errc::damaged, name + ": no record begins at offset " + std::to_string(page.next)};
    if (!page.records.empty() || *got < buffer.size() || needed <= buffer.size())
      return page;
    buffer.resize(needed); // a record that is longer than a page comes alone
  }
}

} // namespace davit::store
