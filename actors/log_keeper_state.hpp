// The log keeper's room: its state, and what its parts ask of each other.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/unsent_logs.hpp"
#include "messages/actors.hpp"
#include "store/attempt_log.hpp"
#include "store/log_journal.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/stateful_actor.hpp>

#include <deque>
#include <map>
#include <set>

namespace davit::log_keeping {

/// Somebody who asked for a page.
struct reader {
  log_query query;
  caf::typed_response_promise<log_page> promise;
  std::string sink; ///< Its name, if it is one.
};

/// A reader that has seen all there is and waits for more.
struct waiting_reader {
  reader who;
  std::chrono::steady_clock::time_point until;
};

struct open_log {
  std::unique_ptr<store::log_writer> writer;
  std::uint64_t source = 0;        ///< The reader whose batches are taken; none behind one that was not written.
  std::set<std::string> read_by{}; ///< The sinks that have read it to its end.
};

/// Who asked for the logs since a time, and what was found by now.
struct log_scan {
  caf::typed_response_promise<std::vector<attempt_key>> promise;
  timestamp since;
  int folder = 0; ///< The next one to be looked through.
  std::set<attempt_key> found;
};

struct state {
  static inline const char* name = "log_keeper";

  context_ptr context;
  std::map<attempt_key, open_log> open;
  /// Of those, and until when; also some that are gone.
  std::deque<std::pair<attempt_key, std::chrono::steady_clock::time_point>> in_memory;
  unsent_logs unsent;
  std::multimap<attempt_key, waiting_reader> readers;
  std::deque<log_scan> scans;
  std::deque<std::pair<attempt_key, store::log_compressor>> to_compress;
  std::deque<attempt_key> to_ship; ///< To the store that all agents share.
  bool shipping = false;
  std::map<attempt_key, std::vector<reader>> fetching; ///< From there; who waits for what.
  store_actor store;
  std::map<std::string, sink_actor> sinks;
  std::uint64_t last_source = 0;
  std::set<attempt_key> unwritable; ///< Whose last batch could not be written.
  std::unique_ptr<store::log_journal> journal;
  /// Durable with the next commit.
  std::vector<std::pair<caf::typed_response_promise<log_summary>, log_summary>> ended;
  bool ticking = false;

  explicit state(log_actor::stateful_pointer<state>) {}
  ~state();

  std::filesystem::path path_of(const attempt_key& key) const {
    return store::log_path(context->settings.log_folder(), key);
  }

  /// Whether anything of the log is kept by this agent.
  bool is_here(const attempt_key& key) const;
};

using self_pointer = log_actor::stateful_pointer<state>;

caf::error to_caf(const store::log_error& e);

/// Has `tick_atom` come when there is something to do.
void keep_ticking(self_pointer self);

// -- readers (log_keeper_readers.cpp)
// ------------------------------------------------------------------------------------

/// A page of what is here of a log.
store::log_result<log_page> page_of(self_pointer self, const log_query& query);

/// Answers the reader, or has it wait: of what is here.
void give_or_wait(self_pointer self, reader who);

/// Gives the log's readers what has come.
void serve(self_pointer self, const attempt_key& key);

/// Answers a reader, whatever it takes.
void read(self_pointer self, reader who);

/// Lets readers go whose time is over.
void let_go(self_pointer self);

/// The outcome is stored, and with it the log.
void release(self_pointer self, const attempt_key& key);

std::vector<log_extent> sizes_of(self_pointer self, const std::vector<attempt_key>& keys);

caf::result<std::vector<attempt_key>> find_since(self_pointer self, timestamp since);

/// Goes on with what `find_since` has begun, for a few milliseconds.
void scan_step(self_pointer self);

// -- the store (log_keeper_store.cpp)
// ------------------------------------------------------------------------------------

/// Puts finished logs into the store, one after the other, where every agent can serve them.
void ship(self_pointer self);

/// Answers a reader of a log that is not here: it may be in the store.
void fetch(self_pointer self, reader who);

} // namespace davit::log_keeping
