#include "blobs/frames.hpp"

#include "blobs/bytes.hpp"

#include <algorithm>
#include <cstring>

namespace davit::blobs {

result<void> frame_reader::feed(std::string_view piece, blob_sink& to) {
  while (!piece.empty()) {
    if (header_ < header_bytes) {
      auto count = std::min(header_bytes - header_, piece.size());
      std::memcpy(buffer_.data() + header_, piece.data(), count);
      header_ += count;
      piece.remove_prefix(count);
      if (header_ < header_bytes)
        return {};
      std::memcpy(expected_.bytes.data(), buffer_.data(), expected_.bytes.size());
      byte_cursor rest{{buffer_.data() + expected_.bytes.size(), 8}};
      rest.take(size_);
      left_ = size_;
    } else {
      auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size()));
      hasher_.add(piece.substr(0, count));
      if (auto written = to.write(piece.substr(0, count)); !written)
        return written;
      left_ -= count;
      piece.remove_prefix(count);
    }
    if (left_ == 0)
      if (auto ended = end_blob(to); !ended)
        return ended;
  }
  return {};
}

result<void> frame_reader::end_blob(blob_sink& to) {
  header_ = 0;
  if (auto content = hasher_.finish(); content != expected_)
    return error{errc::damaged,
                 "the bytes that were sent for blob " + to_text(expected_) + " have the digest " + to_text(content)};
  ++blobs_;
  bytes_ += size_;
  return to.end(expected_, size_);
}

std::string frame_header(const digest& content, std::uint64_t size) {
  std::string header{reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size()};
  append_integer(header, size);
  return header;
}

} // namespace davit::blobs
