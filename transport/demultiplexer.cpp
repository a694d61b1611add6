#include "transport/demultiplexer.hpp"

#include <algorithm>

namespace davit::transport {

result<void> demultiplexer::feed(std::string_view bytes, const std::function<void(piece)>& sink) {
  while (!bytes.empty()) {
    if (!in_frame_) {
      auto count = std::min(bytes.size(), header_.size() - header_size_);
      std::copy_n(bytes.begin(), count, header_.begin() + static_cast<std::ptrdiff_t>(header_size_));
      header_size_ += count;
      bytes.remove_prefix(count);
      if (header_size_ < header_.size())
        return {};
      if (header_[0] > 3 || header_[1] != 0 || header_[2] != 0 || header_[3] != 0)
        return error{engine_errc::protocol, 0, "the stream is not multiplexed: a frame's header is malformed"};
      remaining_ = std::uint32_t{header_[4]} << 24 | std::uint32_t{header_[5]} << 16 | std::uint32_t{header_[6]} << 8
                 | std::uint32_t{header_[7]};
      in_frame_ = true;
      header_size_ = 0;
      if (remaining_ == 0) {
        in_frame_ = false;
        sink({header_[0], {}, true});
      }
      continue;
    }
    auto count = std::min<std::size_t>(bytes.size(), remaining_);
    remaining_ -= static_cast<std::uint32_t>(count);
    in_frame_ = remaining_ != 0;
    sink({header_[0], bytes.substr(0, count), !in_frame_});
    bytes.remove_prefix(count);
  }
  return {};
}

} // namespace davit::transport
