// Docker's multiplexed stream: frames of stdout and stderr behind headers of eight bytes.
// Source: Docker Engine API reference, "Attach to a container", stream format.
#pragma once

#include "transport/error.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

namespace davit::transport {

class demultiplexer {
public:
  /// A piece of a frame. `stream`: 0 stdin, 1 stdout, 2 stderr, 3 an error of the engine itself. `last`: the frame ends
  /// with this piece. An empty frame gives one empty piece.
  struct piece {
    std::uint8_t stream;
    std::string_view bytes;
    bool last;
  };

  /// Takes all of `bytes`; keeps nothing but a partial header, whatever length a frame claims.
  result<void> feed(std::string_view bytes, const std::function<void(piece)>& sink);

  /// True between frames: the one place where a stream may end.
  bool at_boundary() const noexcept { return header_size_ == 0 && remaining_ == 0; }

private:
  std::array<unsigned char, 8> header_{};
  std::size_t header_size_ = 0;
  std::uint32_t remaining_ = 0;
  bool in_frame_ = false;
};

} // namespace davit::transport
