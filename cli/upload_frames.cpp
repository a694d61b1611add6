#include "cli/upload_frames.hpp"

#include "blobs/bytes.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace davit {

std::uint64_t frame_stream::size() const {
  std::uint64_t sum = 0;
  for (const auto& one : blobs_)
    sum += frame_head + one.size;
  return sum;
}

std::string frame_stream::head() const {
  const auto& one = blobs_[next_];
  std::string bytes{reinterpret_cast<const char*>(one.content.bytes.data()), one.content.bytes.size()};
  blobs::append_integer(bytes, one.size);
  return bytes;
}

blobs::result<void> frame_stream::seek(std::uint64_t offset) {
  if (offset == at_)
    return {};
  at_ = offset;
  file_.reset();
  next_ = 0;
  in_frame_ = offset;
  while (next_ < blobs_.size() && in_frame_ >= frame_head + blobs_[next_].size)
    in_frame_ -= frame_head + blobs_[next_++].size;
  return {};
}

blobs::result<void> frame_stream::open_file() {
  const auto& one = blobs_[next_];
  auto opened = files_.open(*one.file);
  if (!opened)
    return opened.error();
  file_ = std::move(*opened);
  std::vector<char> buffer(64 << 10);
  for (auto left = in_frame_ - frame_head; left != 0;) {
    auto got = file_->read(std::span{buffer}.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, 64 << 10))));
    if (!got)
      return got.error();
    if (*got == 0)
      return blobs::error{blobs::errc::changed, "a file changed while it was read"};
    left -= *got;
  }
  return {};
}

blobs::result<std::size_t> frame_stream::read_content(std::span<char> into) {
  const auto& one = blobs_[next_];
  auto done = in_frame_ - frame_head;
  if (!one.file) {
    auto count = std::min<std::uint64_t>(into.size(), one.size - done);
    std::memcpy(into.data(), manifest_.data() + done, static_cast<std::size_t>(count));
    return static_cast<std::size_t>(count);
  }
  if (!file_)
    if (auto opened = open_file(); !opened)
      return opened.error();
  auto got = file_->read(into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), one.size - done))));
  if (!got)
    return got;
  if (*got == 0)
    return blobs::error{blobs::errc::changed, "a file changed while it was read"};
  if (done + *got == one.size) { // the end says whether it was the file
    char more = 0;
    if (auto ended = file_->read({&more, 1}); !ended)
      return ended;
    file_.reset();
  }
  return got;
}

blobs::result<std::size_t> frame_stream::read(std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size() && next_ < blobs_.size()) {
    auto rest = into.subspan(done);
    std::size_t count = 0;
    if (in_frame_ < frame_head) {
      auto bytes = head().substr(static_cast<std::size_t>(in_frame_));
      count = std::min(bytes.size(), rest.size());
      std::memcpy(rest.data(), bytes.data(), count);
    } else if (in_frame_ - frame_head < blobs_[next_].size) {
      auto got = read_content(rest);
      if (!got)
        return got;
      count = *got;
    }
    done += count;
    at_ += count;
    in_frame_ += count;
    if (in_frame_ == frame_head + blobs_[next_].size) {
      ++next_;
      in_frame_ = 0;
    }
  }
  return done;
}

blobs::result<std::string> frame_stream::take(std::size_t most) {
  std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(most, size() - at_)), '\0');
  auto got = read(bytes);
  if (!got)
    return got.error();
  bytes.resize(*got);
  return bytes;
}

} // namespace davit
