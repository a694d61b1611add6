// Files between an owner's blobs and a container: what a thread of the file keeper does. It blocks.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/container_user.hpp"
#include "actors/file_limits.hpp"
#include "actors/owner_blobs.hpp"
#include "messages/actors.hpp"
#include "transport/byte_channel.hpp"

#include <caf/blocking_actor.hpp>
#include <caf/expected.hpp>

#include <atomic>
#include <mutex>

namespace davit {

/// What stops a transfer from outside. Thread-safe.
class transfer_stop {
public:
  void stop();
  bool stopped() const { return stopped_; }
  /// Fails when this is stopped, now or later, until another one is watched.
  void watch(std::shared_ptr<transport::byte_channel> channel);

private:
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_; ///< Of what follows.
  std::shared_ptr<transport::byte_channel> channel_;
};

struct transfer {
  caf::blocking_actor* self = nullptr;
  context_ptr context;
  store_actor store;
  engine_actor engine;
  std::shared_ptr<transfer_stop> stop;
  uuid incarnation;
};

/// Asks the store keeper.
catalogue_access catalogue_of(caf::blocking_actor* self, store_actor store);

/// The error of blobs as one that actors send.
caf::error to_caf(const blobs::error& e);

/// A tree that was unpacked: so many files, folders and links, so many bytes.
struct unpacked_tree {
  tree_place place;
  std::uint64_t entries = 0, bytes = 0;
  /// It went through no link of the image, nothing of it into what is mounted in its place, and no file has two names,
  /// which an overlay would part when it is written to.
  bool plain = true;
};

struct filled_files {
  std::string image_id;             ///< The container's.
  std::vector<unpacked_tree> trees; ///< Those of the order's places that were not ready.
};

/// Unpacks the inputs and the caches, one after another, but those that the container was made with. Errors:
/// files_errc, or the engine's.
caf::expected<filled_files> fill(const transfer& with, const fill_order& order);

/// Unpacks one into the order's container. Without a tree: gives the folder to its user. `done` is added to.
caf::expected<void> fill_place(const transfer& with, const fill_order& order, const task_input& input,
                               const container_status& container, const container_user& who, owner_blobs& owner,
                               unpacked_tree& done);

/// Collects the outputs, and counts the tests in their reports, whose texts stay as they are (output_tests.hpp); then
/// the caches. An error: the engine's connection failed, or what is kept can't be written now, and all is to be done
/// again; other troubles are told by the outputs and caches.
caf::expected<collected_files> collect(const transfer& with, const collect_order& order);

/// The folder that an output's path names, and the pattern for what is in it; without `*`, `?` and `[`: no pattern.
std::pair<std::string, std::string> split_pattern(const std::string& path);

/// What is wrong with an output's path as a pattern; empty: nothing.
std::string wrong_pattern(const std::string& path);

} // namespace davit
