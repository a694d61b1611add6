// What every actor of an agent is given at its start: settings and the few things that are shared.
#pragma once

#include "actors/agent_settings.hpp"

#include <caf/error.hpp>
#include <caf/make_message.hpp> // IWYU pragma: keep

#include <atomic>
#include <memory>
#include <string>

namespace davit::transport {
class io_runtime;
}

namespace davit::secrets {
class secret_box;
}

namespace davit::blobs {
class medium;
}

namespace davit::attestation {
class signing_key;
}

namespace davit {

class metrics;

/// Lives as long as the actor system. Constant once made, so that actors may share it.
struct agent_context {
  agent_settings settings;
  transport::io_runtime& io;
  std::shared_ptr<const davit::policy> policy;
  std::shared_ptr<davit::metrics> metrics;
  std::shared_ptr<const davit::secrets::secret_box> secrets;
  /// Where files lie; none: this agent keeps no files.
  std::shared_ptr<davit::blobs::medium> blobs = nullptr;
  /// Signs statements about tasks; none: this agent signs nothing.
  std::shared_ptr<const davit::attestation::signing_key> signer = nullptr;
  /// The agent ends, or can't be healed: nothing is accepted any more. For any thread; set by the supervisor alone.
  std::shared_ptr<std::atomic<bool>> ending = std::make_shared<std::atomic<bool>>(false);
  /// Some image is not for every owner, so the store is asked before one is used. For any thread; set by the store
  /// keeper alone, before it records the first such pull.
  std::shared_ptr<std::atomic<bool>> images_guarded = std::make_shared<std::atomic<bool>>(false);
  /// All actors run on the system's own scheduler, also those that block: for a simulation, which has one thread.
  bool one_thread = false;
};

using context_ptr = std::shared_ptr<const agent_context>;

/// An error with a sentence for people.
template <class Enum>
caf::error make_failure(Enum code, std::string text) {
  return caf::error{code, caf::make_message(std::move(text))};
}

/// The sentence of an error, or the error itself in words if it has none.
std::string text_of(const caf::error& e);

/// The kind, if the error is from an engine; `lost` if the connection's actor itself is gone.
engine_errc engine_code(const caf::error& e);

} // namespace davit
