// An object of a bucket, read by ranges.
#pragma once

#include "blobs/medium.hpp"
#include "shipping/s3_client.hpp"

namespace davit::shipping {

/// How much of an object a request asks for. Who reads on gets twice as much with each request, up to the most; who
/// jumps begins again with little. Pure.
class s3_window {
public:
  s3_window(std::uint64_t size, std::size_t most) : size_(size), most_(most) {}
  struct range {
    std::uint64_t begin = 0;
    std::size_t length = 0;
  };
  /// For so many bytes from there, which are within the object; never more than the most, and at least a byte.
  range next(std::uint64_t offset, std::size_t wanted);

private:
  std::uint64_t size_;
  std::size_t most_;
  std::uint64_t end_ = 0; ///< Of the last range.
  std::size_t last_ = 0;
};

class s3_reader final : public blobs::object_reader {
public:
  /// `key` is with the prefix. Asks S3 for size and ETag, by which further requests know that it is the same object.
  static blobs::result<std::unique_ptr<blobs::object_reader>> open(std::shared_ptr<s3_client> client, std::string key);

  std::uint64_t size() const override { return size_; }
  blobs::result<std::size_t> read(std::uint64_t offset, std::span<char> into) override;

private:
  s3_reader(std::shared_ptr<s3_client> client, std::string key, std::uint64_t size, std::string etag);
  blobs::result<void> fill(std::uint64_t offset, std::size_t wanted);

  std::shared_ptr<s3_client> client_;
  std::string key_;
  std::uint64_t size_;
  std::string etag_;
  s3_window window_;
  std::uint64_t begin_ = 0; ///< Of the bytes in the buffer.
  std::string buffer_;
};

} // namespace davit::shipping
