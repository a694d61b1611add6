// Whether the engine that answers now is the process that answered before. No CAF in here.
#pragma once

#include "messages/engine.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// An event that an engine has told of, and since when it is known to be one process. An engine's memory of events ends
/// with its process: one that still remembers the event is the same.
struct engine_place {
  std::string engine;   ///< Its id.
  std::string reported; ///< The id that it reports.
  timestamp same_since;
  std::string container; ///< Whose creation it was.
  timestamp at;
};

template <class Inspector>
bool inspect(Inspector& f, engine_place& x) {
  return f.object(x).fields(f.field("engine", x.engine), f.field("reported", x.reported),
                            f.field("same_since", x.same_since), f.field("container", x.container),
                            f.field("at", x.at));
}

/// Follows one engine through its connections. Starts in doubt.
class engine_continuity {
public:
  /// Whether the engine may have been restarted since it was last known.
  bool in_doubt() const { return in_doubt_; }
  /// Names the process: since when it is known. While that is in doubt, a small number.
  std::uint64_t epoch() const {
    return in_doubt_ || !place_ ? doubts_ : static_cast<std::uint64_t>(place_->same_since.time_since_epoch().count());
  }
  std::optional<timestamp> same_since() const {
    return in_doubt_ || !place_ ? std::nullopt : std::optional{place_->same_since};
  }

  /// The engine may be restarted from now on: the epoch is another one until `prove` says that it is not.
  void doubt();

  /// Since when the engine must be asked for its events to prove that it is the same; none: nothing can prove it.
  std::optional<timestamp> asks_since(const std::string& engine) const;

  /// Ends the doubt. `remembered`: the creations that the engine remembers. True: it is the same process. `now`: by its
  /// own clock.
  bool prove(const std::string& engine, const std::string& reported, const std::vector<engine_event>& remembered,
             timestamp now);

  /// The engine that was seen last: its id, and the one that it reports; nothing: none was.
  std::optional<engine_place> place() const { return place_; }

  /// The engine tells of a creation.
  void saw(const engine_event& created);

  /// As it was kept by an agent that ran before; does nothing if there is no good file.
  void load(const std::filesystem::path& file);

  /// Keeps it for the next start. False: it could not be written.
  bool save(const std::filesystem::path& file) const;

private:
  std::optional<engine_place> place_; ///< Without a container: nothing was seen yet.
  std::uint64_t doubts_ = 0;
  bool in_doubt_ = true;
};

} // namespace davit
