// Files between an owner's blobs and a container: what a thread of the file keeper does. It blocks.
#pragma once

#include "actors/agent_context.hpp"
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

/// Inputs that were unpacked.
struct filled_inputs {
  std::string image_id; ///< The container's.
  std::uint64_t entries = 0, bytes = 0;
  /// They went through no link of the image, and an image's layer can hold them: it has no other name for a file that
  /// stays the same file when it is written to, and its own meaning for names that begin with `.wh.`.
  bool plain = true;

  void add(const blobs::tree& tree);
};

/// Unpacks the inputs and the caches, one after another. Errors: files_errc, or the engine's.
caf::expected<filled_inputs> fill(const transfer& with, const fill_order& order);

/// Collects the outputs, and counts the tests in their reports, whose texts stay as they are (output_tests.hpp); then
/// the caches. An error: the engine's connection failed, or what is kept can't be written now, and all is to be done
/// again; other troubles are told by the outputs and caches.
caf::expected<collected_files> collect(const transfer& with, const collect_order& order);

/// The folder that an output's path names, and the pattern for what is in it; without `*`, `?` and `[`: no pattern.
std::pair<std::string, std::string> split_pattern(const std::string& path);

/// What is wrong with an output's path as a pattern; empty: nothing.
std::string wrong_pattern(const std::string& path);

} // namespace davit
