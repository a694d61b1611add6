// davit's own metrics, in CAF's registry, so that one endpoint serves both. Names: docs/operations.md.
#pragma once

#include "actors/owner_totals.hpp"

#include <caf/fwd.hpp>
#include <caf/telemetry/counter.hpp>
#include <caf/telemetry/gauge.hpp>
#include <caf/telemetry/histogram.hpp>
#include <caf/telemetry/metric_family_impl.hpp>

#include <string>
#include <string_view>

namespace davit {

/// Thread-safe.
class metrics {
public:
  explicit metrics(caf::actor_system& system);

  void task_accepted(const std::string& owner) {
    accepted_->inc();
    owners_.accepted(owner);
  }
  void task_finished(std::string_view outcome);
  /// The same of an attempt, of a task whose owner is known.
  void task_finished(const std::string& owner, std::string_view outcome, std::uint64_t log_bytes) {
    task_finished(outcome);
    owners_.ended(owner, std::string{outcome}, log_bytes);
  }
  /// What an owner's tasks came to: in no family of these metrics.
  owner_totals of_owner(const std::string& owner) const { return owners_.of(owner); }
  void attempt_phase(std::string_view phase, double seconds);
  void engine_state(std::string_view engine, bool up);
  void engine_request(std::string_view engine, std::string_view call, double seconds);
  void engine_reconnected(std::string_view engine);
  void image_pulled(bool good);
  void actor_restarted(std::string_view actor);
  void log_written(std::uint64_t bytes) { log_bytes_->inc(static_cast<std::int64_t>(bytes)); }
  void log_dropped(std::uint64_t bytes) { log_dropped_->inc(static_cast<std::int64_t>(bytes)); }
  void tasks_in_state(std::int64_t queued, std::int64_t starting, std::int64_t running);
  void http_request(int status);
  /// A request was refused by this limit.
  void http_limited(std::string_view limit);
  /// Connections that are open; and, since the last call, those that were closed in favour of others or not let in.
  void http_connections(std::size_t open, std::uint64_t closed, std::uint64_t turned_away);
  void orphan_removed();
  void image_removed();
  void volume_removed();
  void attempt_resumed();
  /// The kernel has killed a process of an attempt's container for its memory limit; once for an attempt.
  void memory_kill();
  void attempt_adopted();
  void store_committed(double seconds);
  /// Of a sink: bytes that were sent; also with 0, so that the sink is seen.
  void sink_sent(std::string_view sink, std::uint64_t bytes);
  void sink_dropped(std::string_view sink, std::uint64_t bytes);
  void sink_failed(std::string_view sink);
  void sink_backlog(std::string_view sink, std::int64_t bytes);
  /// From acceptance, or from when a retry was due, to the claim.
  void queue_wait(double seconds);
  /// From acceptance to the start of the first container.
  void task_start(double seconds);
  void disk_free(std::int64_t bytes);
  /// For a subtree of the supervisor: whether it has failed repeatedly and waits for a retry.
  void suspended(std::string_view subtree, bool now);
  /// Bytes of files: `upload` and `download` over the API, `input` and `output` between blobs and containers.
  void files_moved(std::string_view direction, std::uint64_t bytes);
  /// What a task's cache was: `hit`, `partial` or `miss`; and `kept` or `not_kept` after a success.
  void cache_asked(std::string_view what);
  /// What became of an output.
  void output_collected(std::string_view state);
  /// Whether a task found a large tree ready on its engine: `hit` or `miss`.
  void prepared(std::string_view result);
  /// An engine has one more tree ready, which takes so many bytes.
  void tree_prepared(std::uint64_t bytes);
  /// Of all owners together.
  void blobs_kept(std::int64_t blobs, std::int64_t bytes);
  /// Of an engine: sandboxes that wait for tasks.
  void sandboxes(std::string_view engine, std::int64_t waiting);
  /// An attempt has begun: in a sandbox, or in a container made for it.
  void attempt_started(bool warm);

private:
  template <class T>
  using family = caf::telemetry::metric_family_impl<T>;
  using counter = caf::telemetry::int_counter;
  using gauge = caf::telemetry::int_gauge;
  using histogram = caf::telemetry::dbl_histogram;

  owner_book owners_;
  counter* accepted_;
  family<counter>* finished_;
  family<gauge>* tasks_;
  family<histogram>* phases_;
  family<gauge>* engine_up_;
  family<histogram>* requests_;
  family<counter>* reconnects_;
  family<counter>* pulls_;
  family<counter>* restarts_;
  family<gauge>* suspended_;
  family<counter>* http_;
  family<counter>* http_limited_;
  gauge* http_open_;
  counter* http_closed_;
  counter* http_turned_away_;
  counter* log_bytes_;
  counter* log_dropped_;
  counter* orphans_;
  counter* images_removed_;
  counter* volumes_removed_;
  counter* resumed_;
  counter* adopted_;
  counter* memory_kills_;
  histogram* commits_;
  gauge* disk_free_;
  family<counter>* sink_bytes_;
  family<counter>* sink_dropped_;
  family<counter>* sink_failures_;
  family<gauge>* sink_backlog_;
  family<gauge>* sandboxes_;
  family<counter>* file_bytes_;
  family<counter>* outputs_;
  family<counter>* caches_;
  family<counter>* prepared_;
  counter* prepared_bytes_;
  gauge* blobs_;
  gauge* blob_bytes_;
  family<counter>* starts_;
  histogram* queue_wait_;
  histogram* task_start_;
};

} // namespace davit
