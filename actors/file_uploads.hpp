// Uploads of blobs that come in pieces.
#pragma once

#include "actors/file_transfer.hpp"
#include "blobs/frames.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <memory>

namespace davit {

/// One upload. Its functions block; one thread at a time, whichever.
class file_upload {
public:
  /// `under_way`: bytes of all uploads of the owner that are not committed.
  file_upload(context_ptr context, std::string owner, uuid incarnation,
              std::shared_ptr<std::atomic<std::uint64_t>> under_way = nullptr);
  ~file_upload();
  file_upload(const file_upload&) = delete;
  file_upload& operator=(const file_upload&) = delete;

  const std::string& owner() const { return owner_; }
  std::uint64_t offset() const { return offset_; }

  /// The bytes begin at `offset`. Those that have come are passed over. `conflict`: they begin behind what has come.
  caf::expected<std::uint64_t> append(const transfer& with, std::uint64_t offset, std::string_view bytes);

  /// Its blobs are there. `refused`: the last one is not whole.
  caf::expected<upload_summary> commit(const transfer& with);

  /// It is not gone on with.
  void abandon(const transfer& with);

private:
  caf::expected<void> keep_quota(std::size_t more);
  void release();

  /// The writer asks the store by whichever thread runs it.
  class borrowed_thread;

  context_ptr context_;
  std::string owner_;
  std::uint64_t offset_ = 0;
  std::shared_ptr<std::atomic<std::uint64_t>> under_way_;
  std::uint64_t counted_ = 0;                 ///< In it.
  std::uint64_t kept_ = 0, asked_at_ = ~0ull; ///< What the owner had when the upload was so long.
  blobs::frame_reader frames_;
  const transfer* with_ = nullptr; ///< Of the call that is under way.
  std::unique_ptr<blob_writer> writer_;
  std::optional<caf::error> failed_;
};

/// The uploads of all owners. The keeper's own thread alone.
class upload_table {
public:
  using clock = std::chrono::steady_clock;

  struct entry {
    std::shared_ptr<file_upload> upload;
    bool busy = false; ///< A thread works at it.
    clock::time_point used;
  };

  /// How long an upload stands still before it makes room for another of its owner.
  static constexpr std::chrono::seconds stale_after{20};

  /// `busy`: the owner has as many as it may have.
  caf::expected<uuid> add(std::shared_ptr<file_upload> upload, clock::time_point now);
  /// An owner's that nobody works at; it is marked as busy. `missing`, `conflict`.
  caf::expected<std::shared_ptr<file_upload>> take(const std::string& owner, const uuid& id);
  void give_back(const uuid& id, clock::time_point now);
  void remove(const uuid& id) { all_.erase(id); }
  /// `missing`: the owner has none of this name.
  caf::expected<const entry*> find(const std::string& owner, const uuid& id) const;
  /// Takes out what nobody has gone on with since, and what had to make room.
  std::vector<std::shared_ptr<file_upload>> lapse(clock::time_point since);
  /// Of an owner: see file_upload.
  std::shared_ptr<std::atomic<std::uint64_t>> under_way(const std::string& owner);

private:
  std::map<uuid, entry> all_;
  std::vector<std::shared_ptr<file_upload>> stale_;                            ///< That had to make room.
  std::map<std::string, std::weak_ptr<std::atomic<std::uint64_t>>> under_way_; ///< By owner.
};

} // namespace davit
