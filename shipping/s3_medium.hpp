// Objects in a bucket of S3, which any number of processes share.
#pragma once

#include "blobs/medium.hpp"
#include "shipping/s3_settings.hpp"

#include <chrono>

namespace davit::shipping {

class s3_client;

/// An object lies at `PREFIX/KEY`. That a key is used twice is not noticed: the last object counts. What is in doubt
/// after an error of commit() can appear some seconds later. Writers and readers may outlive the medium.
///
/// Each call takes the time of its requests: with the usual settings 30 seconds of trying again, and the time that the
/// last request needs to fail.
class s3_medium final : public blobs::medium {
public:
  /// Checks the settings, and asks nobody: whether the bucket can be used is what the first call says. `get` is
  /// std::getenv, or a test's: region and credentials are looked for there. It is called by several threads at once.
  static blobs::result<std::unique_ptr<s3_medium>>
  open_bucket(const s3_settings& settings, std::function<const char*(const char*)> get);

  blobs::result<std::unique_ptr<blobs::object_writer>> create(std::string_view key) override;
  blobs::result<std::unique_ptr<blobs::object_reader>> open(std::string_view key) override;
  blobs::result<void> remove(std::string_view key) override;
  /// Ordered by key. What is below the prefix and has no key is left out.
  blobs::result<blobs::object_page> list(std::string_view from, std::size_t limit) override;

  /// Ends the uploads of objects below the prefix that were begun at least so long ago, by the server's clock, and were
  /// not committed: their writers are gone, or are refused from now on. How many there were. Servers keep the parts of
  /// such uploads, and charge for them, until they are ended.
  blobs::result<std::size_t> abort_uploads(std::chrono::seconds older_than) override;

private:
  explicit s3_medium(std::shared_ptr<s3_client> client) : client_(std::move(client)) {}
  std::string name_of(std::string_view key) const;
  /// The key of an object's name; empty: it is not the name of an object.
  std::string_view key_of(std::string_view name) const;

  std::shared_ptr<s3_client> client_;
};

} // namespace davit::shipping
