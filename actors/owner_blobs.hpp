// An owner's blobs, for a thread that may block: what the medium holds, and what the catalogue in the store knows.
#pragma once

#include "blobs/frames.hpp"
#include "blobs/packed_source.hpp"
#include "store/blob_catalogue.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// Runs a piece of work on the catalogue, and returns when it is committed. The work may be run more than once.
using catalogue_access = std::function<store::result<void>(std::function<store::result<void>(store::blob_catalogue&)>)>;

/// Who writes packs, and how much the owner may have.
struct blob_writing {
  std::string owner;
  std::string agent;
  uuid incarnation;
  std::uint64_t quota = ~0ull;
  store::blob_purpose purpose = store::blob_purpose::task;
};

/// A store's error as one of blobs.
blobs::error to_blob_error(const store::error& e);

/// Of one thread at a time. Errors are sentences for whoever owns the blobs.
class owner_blobs {
public:
  owner_blobs(std::shared_ptr<blobs::medium> medium, catalogue_access catalogue, std::string owner)
    : medium_(std::move(medium)), catalogue_(std::move(catalogue)), owner_(std::move(owner)) {}

  const std::string& owner() const { return owner_; }

  /// Those of `wanted` that are there can be read. A pack that turns out to be lost is written down as doubted, so that
  /// its blobs are sent again. A medium that is away loses nothing.
  blobs::result<std::unique_ptr<blobs::packed_source>> source(const std::vector<blobs::digest>& wanted);

  /// `missing`: there is no such tree, or its manifest is lost.
  blobs::result<blobs::tree> tree(const blobs::digest& name, const blobs::tree_limits& limits = {});

  /// Keeps a tree whose blobs are there, its manifest too; else answers with those that are missing, each once.
  blobs::result<std::vector<blobs::digest>>
  keep(const blobs::digest& name, const blobs::tree& value, store::blob_purpose purpose = store::blob_purpose::task);

private:
  std::shared_ptr<blobs::medium> medium_;
  catalogue_access catalogue_;
  std::string owner_;
};

/// Takes blobs in, and writes them into packs: a new one each 256 MiB or 50 000 blobs. Those that the owner has already
/// in packs that nobody doubts are not kept again. What `finish` was not called for is abandoned. One thread at a time.
class blob_writer final : public blobs::blob_sink {
public:
  blob_writer(std::shared_ptr<blobs::medium> medium, catalogue_access catalogue, blob_writing how)
    : medium_(std::move(medium)), catalogue_(std::move(catalogue)), how_(std::move(how)) {}
  blob_writer(const blob_writer&) = delete;
  blob_writer& operator=(const blob_writer&) = delete;
  ~blob_writer() override;

  blobs::result<void> write(std::string_view piece) override;
  blobs::result<void> end(const blobs::digest& content, std::uint64_t size) override;
  /// From now on all blobs are there, and durable. `full` if the owner would have more than it may.
  blobs::result<void> finish();
  /// What went wrong here, if anything did; and not with those who brought the blobs.
  const std::optional<blobs::error>& failure() const { return failure_; }

private:
  blobs::result<void> noted(blobs::result<void> done);
  blobs::result<void> begin_pack();
  blobs::result<void> end_pack();
  blobs::result<void> end_without(const std::vector<blobs::digest>& lacking);
  blobs::result<void> tell_end();
  void abandon() noexcept;

  std::shared_ptr<blobs::medium> medium_;
  catalogue_access catalogue_;
  blob_writing how_;
  std::string key_;
  std::optional<blobs::pack_writer> pack_;
  std::optional<blobs::error> failure_;
};

} // namespace davit
