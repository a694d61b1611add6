// What a thread of the API does to send files: it reads blobs and waits for the client. It blocks.
#pragma once

#include "actors/owner_blobs.hpp"
#include "transport/exchange.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace davit::api {

/// A part of a blob: `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT` (RFC 9110, 14.1.2).
struct byte_range {
  std::uint64_t first = 0, end = 0; ///< From, and behind.
};

/// What the header asks for of so many bytes. None: everything, also where the header is something else than one range.
/// An empty range: what it asks for is not there.
std::optional<byte_range> range_of(std::string_view header, std::uint64_t size);

/// The entries below a folder of the tree, by their paths in it; or of a file, it alone. None: there is nothing.
std::optional<blobs::tree> subtree(const blobs::tree& all, const std::string& path);

/// A client that is written to, piece by piece, by a thread that waits until each has gone out.
class waiting_writer {
public:
  waiting_writer(transport::exchange_ptr client, std::shared_ptr<std::atomic<bool>> ending)
    : client_(std::move(client)), ending_(std::move(ending)) {}

  std::uint64_t bytes() const { return bytes_; } ///< That have gone out.

  /// False: the client has gone, or the agent ends.
  bool write(std::string piece);

private:
  struct state {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<bool> written;
  };

  transport::exchange_ptr client_;
  std::shared_ptr<std::atomic<bool>> ending_;
  std::uint64_t bytes_ = 0;
};

/// Writes a part of a blob. An error: it could not be read; the answer is not whole.
blobs::result<void>
send_part(blobs::packed_source& from, const blobs::digest& content, byte_range part, waiting_writer& to);

/// Writes a whole blob, which is checked by its digest.
blobs::result<void> send_blob(blobs::packed_source& from, const blobs::digest& content, waiting_writer& to);

/// Writes a tree as a tar.
blobs::result<void> send_tar(blobs::packed_source& from, const blobs::tree& all, waiting_writer& to);

} // namespace davit::api
