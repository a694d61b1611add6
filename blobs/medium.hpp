// Where objects lie: a folder, or a bucket of S3. Names and bytes, and nothing about what they mean.
#pragma once

#include "blobs/error.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace davit::blobs {

/// An object that is being written. Nobody sees it before `commit` has returned, and if that never happens there will
/// be no object: dropping the writer abandons it. One thread at a time.
class object_writer {
public:
  virtual ~object_writer() = default;
  /// Appends a piece of any size. Pieces of some 100 KiB are quick. After an error only dropping the writer is left.
  virtual result<void> write(std::string_view piece) = 0;
  /// Makes the object visible as a whole. When this returns, it survives a power cut. After an error the object may be
  /// there or not: if in doubt, remove the key.
  virtual result<void> commit() = 0;
};

/// An object that is read. It may be removed meanwhile: then each read gives its bytes or `missing`, never others.
/// One thread at a time.
class object_reader {
public:
  virtual ~object_reader() = default;
  virtual std::uint64_t size() const = 0;
  /// Fills the whole buffer with what begins at the offset; less only at the end of the object. Each call may be a
  /// request to a server.
  virtual result<std::size_t> read(std::uint64_t offset, std::span<char> into) = 0;
};

struct object_info {
  std::string key;
  std::uint64_t size = 0;
  std::chrono::system_clock::time_point committed; ///< By the medium's clock.
};

struct object_page {
  std::vector<object_info> objects;
  std::string next; ///< Where the next page begins; empty: this is the last page.
};

/// Keys are UUIDs in text, which the caller makes and never uses twice: 36 characters, lower-case. All calls block, and
/// may be made by several threads at once.
class medium {
public:
  virtual ~medium() = default;
  virtual result<std::unique_ptr<object_writer>> create(std::string_view key) = 0;
  /// `missing` if there is no such object.
  virtual result<std::unique_ptr<object_reader>> open(std::string_view key) = 0;
  /// An object that is not there is no error. A power cut may bring an object back that was removed just before.
  virtual result<void> remove(std::string_view key) = 0;
  /// Up to so many objects, in an order of the medium's own; `from` is empty or the `next` of another page. What is
  /// there from the first page to the last is listed exactly once; what comes or goes meanwhile, once or never.
  virtual result<object_page> list(std::string_view from, std::size_t limit) = 0;
  /// Ends what writers that are gone have left in a place where others can't see it, if it is at least so old; how
  /// many.
  virtual result<std::size_t> abort_uploads(std::chrono::seconds) { return std::size_t{0}; }
};

/// Whether it is a UUID as keys are.
bool is_object_key(std::string_view text);

} // namespace davit::blobs
