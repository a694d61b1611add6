// An object on its way into a bucket: one request if it is small, else the parts of a multipart upload.
#pragma once

#include "blobs/medium.hpp"
#include "shipping/s3_client.hpp"

namespace davit::shipping {

/// Of the next part, if so many bytes are in those before: as many times the least as make 1/1350 of the
/// object./// So 10 000 parts, the most that S3 allows, hold the 5 TiB that it allows for an object.
std::uint64_t s3_part_size(std::uint64_t least, std::uint64_t sent);

/// Nothing is visible before commit() has asked S3 for it: S3 shows an object as a whole or not at all.
class s3_writer final : public blobs::object_writer {
public:
  /// `key` is with the prefix.
  s3_writer(std::shared_ptr<s3_client> client, std::string key);
  /// Ends an upload that was not committed. If S3 can't be reached for that, its parts are left: s3_medium's
  /// abort_uploads() removes them.
  ~s3_writer() override;

  blobs::result<void> write(std::string_view piece) override;
  blobs::result<void> commit() override;

private:
  s3_request request(std::string method, std::string_view body = {}) const;
  blobs::result<void> begin();
  blobs::result<void> send_part();
  blobs::result<void> complete();
  bool is_there() const;

  std::shared_ptr<s3_client> client_;
  std::string key_;
  std::string buffer_;
  std::string upload_; ///< Its id. Empty: none was begun.
  std::vector<std::string> etags_;
  std::uint64_t sent_ = 0; ///< Bytes in the parts that S3 has.
  bool usable_ = true, open_ = false;
};

} // namespace davit::shipping
