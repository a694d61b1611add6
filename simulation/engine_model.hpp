// A Docker engine as davit needs to know it: containers, their logs, its events; and how it fails (engine-facts are in
// docs/testing.md). No actor, no thread: whoever owns it moves its time.
#pragma once

#include "messages/engine.hpp"
#include "messages/log.hpp"
#include "simulation/given.hpp"

#include <boost/system/result.hpp>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace davit::simulation {

struct engine_failure {
  engine_errc code = engine_errc::none;
  std::string text;
};

[[noreturn]] inline void throw_exception_from_error(const engine_failure& e, const boost::source_location&) {
  throw std::runtime_error(e.text);
}

template <class T>
using answer = boost::system::result<T, engine_failure>;

/// What a container's command does; it is the words of the command: see `words_of`.
struct script {
  std::int64_t code = 0;
  nanoseconds takes{0};
  std::uint32_t lines = 0;
  bool obeys = true; ///< SIGTERM ends it, with 143.
  std::string tag;   ///< Its lines begin with it.
};

std::vector<std::string> words_of(const script& what);

struct container {
  std::string id, name;
  std::map<std::string, std::string> labels;
  script does;
  enum class state { created, running, ended } is = state::created;
  std::int64_t code = 0;
  nanoseconds made{0}, started{0}, finished{0}, ends_at{0};
  std::uint32_t printed = 0;      ///< Lines that its command has written.
  std::vector<log_record> kept;   ///< Lines that the engine has.
  std::vector<log_record> unread; ///< Lines that wait in its pipes while the engine is away.
  std::uint32_t lost = 0;         ///< Lines that the engine will never have.
  nanoseconds last_stamp{0};
};

class engine_model {
public:
  using later = std::function<void(nanoseconds when, std::function<void()> what)>;

  /// `at`: runs something at a time, before what comes later.
  engine_model(std::string name, bool live_restore, later at);

  const std::string& name() const { return name_; }
  bool live_restore() const { return live_restore_; }
  std::uint64_t epoch() const { return epoch_; } ///< Grows with each process.
  nanoseconds up_since() const { return up_since_; }
  bool up() const { return up_; }
  bool frozen() const { return frozen_; }

  // -- what clients ask
  answer<std::string> create(const container_plan& plan);
  answer<bool> start(const std::string& which);
  answer<container_status> inspect(const std::string& which) const;
  /// `then` is called when it does not run any more.
  answer<bool> stop(const std::string& which, nanoseconds grace, std::function<void()> then);
  answer<std::string> remove(const std::string& which);
  answer<std::string> rename(const std::string& which, const std::string& name);
  std::vector<container_summary> list(const std::vector<std::string>& labels) const;
  std::vector<engine_event> history(const std::string& which, std::chrono::system_clock::time_point since) const;
  container* find(const std::string& which);
  const container* find(const std::string& which) const;

  /// Called once: at its next line, or at its end; or when the engine has gone.
  void on_change(const std::string& id, std::function<void()> what);

  // -- what happens to it
  void go_down(bool kills_containers);
  void come_up();
  void freeze() { frozen_ = true; }
  void thaw();
  /// Called when it is thawed, or at once.
  void when_thawed(std::function<void()> what);

  // -- what is true
  const std::map<std::string, container>& containers() const { return containers_; } ///< By id.
  /// Called at each start of a command, at each end, and when a container is removed.
  std::function<void(const container&)> on_start, on_end, on_remove;

private:
  void print(container& one);
  void end(container& one, std::int64_t code);
  void changed(const std::string& id);
  void tell(const std::string& action, const container& one);
  void schedule_line(const std::string& id);
  void keep(container& one, log_record line);

  std::string name_;
  bool live_restore_;
  later at_;
  bool up_ = true, frozen_ = false;
  std::uint64_t epoch_ = 1, made_ = 0;
  nanoseconds up_since_{0};
  std::map<std::string, container> containers_;
  std::deque<engine_event> events_;
  std::multimap<std::string, std::function<void()>> waiting_; ///< By id.
  std::vector<std::function<void()>> thaws_;
};

} // namespace davit::simulation
