// Files on their way to where they belong: complete before anybody sees them.
#pragma once

#include "blobs/descriptor.hpp"
#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace davit {

/// A hidden folder in another one, whose files are renamed from here to there: both lie on the same file system. It
/// goes with the object, and what is still in it too.
class staging_folder {
public:
  /// `shown` names the folder in errors.
  static blobs::result<staging_folder> make_in(int folder, const std::string& shown);
  staging_folder(staging_folder&&) noexcept = default;
  staging_folder& operator=(staging_folder&&) = delete;
  ~staging_folder();

  int get() const { return open_.get(); }
  /// A name that nothing in it has.
  std::string next_name() { return std::to_string(++names_); }

private:
  staging_folder(blobs::descriptor parent, blobs::descriptor open, std::string name)
    : parent_(std::move(parent)), open_(std::move(open)), name_(std::move(name)) {}

  blobs::descriptor parent_, open_;
  std::string name_;
  std::uint64_t names_ = 0;
};

/// The files of an archive, each under a name of its own in a staging folder, with its holes.
class staged_files final : public blobs::blob_sink {
public:
  staged_files(staging_folder& in, std::string shown) : in_(in), shown_(std::move(shown)) {}

  blobs::result<void> write(std::string_view piece) override;
  blobs::result<void> skip(std::uint64_t zeros) override;
  blobs::result<void> end(const blobs::digest& content, std::uint64_t size) override;

  /// The name of a file that is as the entry says, and that was not taken before. Empty: there is none.
  std::string take(const blobs::tree_entry& entry);

private:
  struct staged {
    std::string name;
    std::vector<blobs::hole> holes;
  };
  blobs::result<void> begin();

  staging_folder& in_;
  std::string shown_;
  blobs::descriptor file_;
  staged open_;
  std::uint64_t at_ = 0;
  std::unordered_multimap<blobs::digest, staged> files_;
};

/// Gives a file its mode and its time. Set-id bits are left out.
blobs::result<void>
set_attributes(int folder, const std::string& name, const blobs::tree_entry& entry, const std::string& shown);

} // namespace davit
