// Objects as files of one folder, which belongs to one process at a time, or to some that share it.
#pragma once

#include "blobs/descriptor.hpp"
#include "blobs/medium.hpp"

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

namespace davit::blobs {

/// The folder has mode 0700, its files 0600, whatever the umask. An object `...ef` lies at `e/f/KEY`: the last digits
/// of a UUIDv7 are random. It is written at `incoming/KEY.N`, synced, renamed, and its folder synced.
class directory_medium final : public medium {
public:
  /// `shared`: other processes may have the folder open in the same way. The first of them removes what was left.
  enum class sharing : std::uint8_t { alone, shared };

  /// Makes the folder if it is not there (those above it must be), locks it, and removes what writes that were not
  /// committed have left. An error if another process has locked it.
  static result<std::unique_ptr<directory_medium>> open_folder(const std::string& folder, sharing how = sharing::alone);

  result<std::unique_ptr<object_writer>> create(std::string_view key) override;
  result<std::unique_ptr<object_reader>> open(std::string_view key) override;
  result<void> remove(std::string_view key) override;
  result<object_page> list(std::string_view from, std::size_t limit) override;

private:
  class writer;
  class reader;
  directory_medium(std::string folder, descriptor top) : folder_(std::move(folder)), top_(std::move(top)) {}
  result<void> make_ready(sharing how);
  result<void> lock_folder(sharing how, bool& first);
  result<void> clear_incoming();
  result<void> publish(const std::string& temporary, const std::string& key);
  result<descriptor> open_leaf(const std::string& key);
  result<void> list_leaf(const std::string& leaf, std::string_view after, std::size_t limit, object_page& page);

  std::string folder_;
  descriptor top_, incoming_, lock_;
  std::mutex mutex_;                ///< Of what follows.
  std::array<bool, 256> durable_{}; ///< Leaves whose folders were synced by this process.
  std::uint64_t writers_ = 0;
};

} // namespace davit::blobs
