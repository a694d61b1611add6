#include "actors/metrics.hpp"

#include <caf/actor_system.hpp>
#include <caf/telemetry/metric_registry.hpp>

#include <array>

namespace davit {

namespace {

// From a call that is answered from memory to a slow pull.
constexpr std::array request_buckets{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                     0.25,  0.5,    1.0,   2.5,  5.0,   10.0, 30.0};
constexpr std::array phase_buckets{0.005, 0.01, 0.025, 0.05, 0.1,  0.25,  0.5,   1.0,
                                   2.5,   5.0,  10.0,  30.0, 60.0, 300.0, 1800.0};

caf::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

} // namespace

metrics::metrics(caf::actor_system& system) {
  auto& registry = system.metrics();
  accepted_ = registry.counter_singleton("davit", "tasks-accepted", "Tasks that the store has accepted.", "1", true);
  finished_ = registry.counter_family("davit", "tasks-total", {"outcome"}, "Attempts that ended, by outcome.");
  tasks_ = registry.gauge_family("davit", "tasks", {"state"}, "Tasks that are not finished, by state.");
  phases_ = registry.histogram_family<double>("davit", "attempt-phase", {"phase"}, phase_buckets,
                                              "Time that attempts spent in each phase.", "seconds");
  engine_up_ = registry.gauge_family("davit", "engine-up", {"engine"}, "1 while the engine answers.");
  requests_ = registry.histogram_family<double>("davit", "engine-request", {"engine", "call"}, request_buckets,
                                                "Time until the engine answered.", "seconds");
  reconnects_
    = registry.counter_family("davit", "engine-connects", {"engine"}, "Connections made to the engine.", "1", true);
  pulls_ = registry.counter_family("davit", "image-pulls", {"result"}, "Image pulls, by result.", "1", true);
  restarts_ = registry.counter_family("davit", "actor-restarts", {"actor"}, "Actors that failed and were restarted.",
                                      "1", true);
  suspended_ = registry.gauge_family("davit", "suspended", {"subtree"},
                                     "1 while a part of the agent has failed repeatedly and waits for a retry.");
  http_
    = registry.counter_family("davit", "http-requests", {"status"}, "Answers of the HTTP API, by status.", "1", true);
  http_limited_ = registry.counter_family("davit", "http-limited", {"limit"},
                                          "Requests of the HTTP API that a limit has refused.", "1", true);
  http_open_ = registry.gauge_singleton("davit", "http-connections", "Connections to the HTTP API.");
  http_closed_ = registry.counter_singleton("davit", "http-connections-closed",
                                            "Connections to the HTTP API closed in favour of new ones.", "1", true);
  http_turned_away_ = registry.counter_singleton("davit", "http-connections-refused",
                                                 "Connections to the HTTP API that found no place.", "1", true);
  log_bytes_ = registry.counter_singleton("davit", "log", "Bytes of output that were written to logs.", "bytes", true);
  log_dropped_
    = registry.counter_singleton("davit", "log-dropped", "Bytes of output over the log limit.", "bytes", true);
  orphans_ = registry.counter_singleton("davit", "orphans-removed", "Containers of this agent that no attempt owned.",
                                        "1", true);
  images_removed_ = registry.counter_singleton("davit", "images-removed",
                                               "Images removed because the engine's disk was short.", "1", true);
  volumes_removed_ = registry.counter_singleton("davit", "volumes-removed",
                                                "Named volumes removed because they were unused for long.", "1", true);
  file_bytes_ = registry.counter_family("davit", "files", {"direction"},
                                        "Bytes of files that came over the API (upload) or went (download), that went "
                                        "into containers (input) or came out (output).",
                                        "bytes", true);
  caches_
    = registry.counter_family("davit", "caches", {"result"},
                              "Caches of tasks, by what they were: hit, partial or miss at the start; kept or not_kept "
                              "after a success.",
                              "1", true);
  outputs_
    = registry.counter_family("davit", "outputs", {"state"}, "Outputs of tasks, by what became of them.", "1", true);
  prepared_ = registry.counter_family("davit", "prepared-trees", {"result"},
                                      "Large trees of tasks that an engine could have ready: it had (hit), or they "
                                      "were unpacked (miss).",
                                      "1", true);
  prepared_bytes_ = registry.counter_singleton(
    "davit", "prepared-size", "Bytes of the trees that engines were given to have ready.", "bytes", true);
  blobs_ = registry.gauge_singleton("davit", "blobs", "Blobs that are kept, of all owners together.");
  blob_bytes_ = registry.gauge_singleton("davit", "blobs-size", "Bytes of blobs that are kept.", "bytes");
  resumed_ = registry.counter_singleton("davit", "attempts-resumed",
                                        "Running or ended containers that were recovered after a restart.", "1", true);
  adopted_ = registry.counter_singleton("davit", "attempts-adopted", "Attempts adopted from agents that were gone.",
                                        "1", true);
  memory_kills_ = registry.counter_singleton(
    "davit", "attempts-memory-kills", "Attempts in which the kernel killed a process because of the memory limit.", "1",
    true);
  commits_ = registry.histogram_singleton<double>("davit", "store-commit", request_buckets,
                                                  "Duration of a store commit, with its sync.", "seconds");
  disk_free_ = registry.gauge_singleton("davit", "disk-free", "Free space in the agent's data directory.", "bytes");
  sink_bytes_
    = registry.counter_family("davit", "sink", {"sink"}, "Bytes of output that a sink has taken.", "bytes", true);
  sink_dropped_ = registry.counter_family("davit", "sink-dropped", {"sink"},
                                          "Bytes of logs that a sink will never get, with their records' headers "
                                          "if they were not read yet.",
                                          "bytes", true);
  sink_failures_
    = registry.counter_family("davit", "sink-failures", {"sink"}, "Deliveries to a sink that failed.", "1", true);
  sink_backlog_
    = registry.gauge_family("davit", "sink-backlog", {"sink"}, "Output that waits to be sent to a sink.", "bytes");
  sandboxes_ = registry.gauge_family("davit", "sandboxes", {"engine"}, "Containers that run and wait for a task.");
  starts_ = registry.counter_family("davit", "attempt-starts", {"start"},
                                    "Attempts that started, warm (in a waiting sandbox) or cold.", "1", true);
  queue_wait_ = registry.histogram_singleton<double>("davit", "queue-wait", phase_buckets,
                                                     "Time from the moment a task can run to its claim.", "seconds");
  task_start_ = registry.histogram_singleton<double>(
    "davit", "task-start", phase_buckets, "Time from a task's acceptance to the start of its first container.",
    "seconds");
  registry.gauge_family("davit", "build-info", {"version"}, "Always 1; the version is in the label.")
    ->get_or_add({{"version", DAVIT_VERSION}})
    ->value(1);
}

void metrics::files_moved(std::string_view direction, std::uint64_t bytes) {
  file_bytes_->get_or_add({{"direction", view(direction)}})->inc(static_cast<std::int64_t>(bytes));
}

void metrics::cache_asked(std::string_view what) {
  caches_->get_or_add({{"result", view(what)}})->inc();
}

void metrics::output_collected(std::string_view state) {
  outputs_->get_or_add({{"state", view(state)}})->inc();
}

void metrics::prepared(std::string_view result) {
  prepared_->get_or_add({{"result", view(result)}})->inc();
}

void metrics::tree_prepared(std::uint64_t bytes) {
  prepared_bytes_->inc(static_cast<std::int64_t>(bytes));
}

void metrics::blobs_kept(std::int64_t blobs, std::int64_t bytes) {
  blobs_->value(blobs);
  blob_bytes_->value(bytes);
}

void metrics::sandboxes(std::string_view engine, std::int64_t waiting) {
  sandboxes_->get_or_add({{"engine", view(engine)}})->value(waiting);
}

void metrics::attempt_started(bool warm) {
  starts_->get_or_add({{"start", warm ? "warm" : "cold"}})->inc();
}

void metrics::task_finished(std::string_view outcome) {
  finished_->get_or_add({{"outcome", view(outcome)}})->inc();
}

void metrics::attempt_phase(std::string_view phase, double seconds) {
  phases_->get_or_add({{"phase", view(phase)}})->observe(seconds);
}

void metrics::engine_state(std::string_view engine, bool up) {
  engine_up_->get_or_add({{"engine", view(engine)}})->value(up ? 1 : 0);
}

void metrics::engine_request(std::string_view engine, std::string_view call, double seconds) {
  requests_->get_or_add({{"engine", view(engine)}, {"call", view(call)}})->observe(seconds);
}

void metrics::engine_reconnected(std::string_view engine) {
  reconnects_->get_or_add({{"engine", view(engine)}})->inc();
}

void metrics::image_pulled(bool good) {
  pulls_->get_or_add({{"result", good ? "pulled" : "failed"}})->inc();
}

void metrics::actor_restarted(std::string_view actor) {
  restarts_->get_or_add({{"actor", view(actor)}})->inc();
}

void metrics::suspended(std::string_view subtree, bool now) {
  suspended_->get_or_add({{"subtree", view(subtree)}})->value(now ? 1 : 0);
}

void metrics::tasks_in_state(std::int64_t queued, std::int64_t starting, std::int64_t running) {
  tasks_->get_or_add({{"state", "queued"}})->value(queued);
  tasks_->get_or_add({{"state", "starting"}})->value(starting);
  tasks_->get_or_add({{"state", "running"}})->value(running);
}

void metrics::http_request(int status) {
  http_->get_or_add({{"status", view(std::to_string(status))}})->inc();
}

void metrics::http_limited(std::string_view limit) {
  http_limited_->get_or_add({{"limit", view(limit)}})->inc();
}

void metrics::http_connections(std::size_t open, std::uint64_t closed, std::uint64_t turned_away) {
  http_open_->value(static_cast<std::int64_t>(open));
  http_closed_->inc(static_cast<std::int64_t>(closed));
  http_turned_away_->inc(static_cast<std::int64_t>(turned_away));
}

void metrics::orphan_removed() {
  orphans_->inc();
}

void metrics::image_removed() {
  images_removed_->inc();
}

void metrics::volume_removed() {
  volumes_removed_->inc();
}

void metrics::memory_kill() {
  memory_kills_->inc();
}

void metrics::attempt_resumed() {
  resumed_->inc();
}

void metrics::attempt_adopted() {
  adopted_->inc();
}

void metrics::store_committed(double seconds) {
  commits_->observe(seconds);
}

void metrics::sink_sent(std::string_view sink, std::uint64_t bytes) {
  sink_bytes_->get_or_add({{"sink", view(sink)}})->inc(static_cast<std::int64_t>(bytes));
}

void metrics::sink_dropped(std::string_view sink, std::uint64_t bytes) {
  sink_dropped_->get_or_add({{"sink", view(sink)}})->inc(static_cast<std::int64_t>(bytes));
}

void metrics::sink_failed(std::string_view sink) {
  sink_failures_->get_or_add({{"sink", view(sink)}})->inc();
}

void metrics::sink_backlog(std::string_view sink, std::int64_t bytes) {
  sink_backlog_->get_or_add({{"sink", view(sink)}})->value(bytes);
}

void metrics::queue_wait(double seconds) {
  queue_wait_->observe(seconds);
}

void metrics::task_start(double seconds) {
  task_start_->observe(seconds);
}

void metrics::disk_free(std::int64_t bytes) {
  disk_free_->value(bytes);
}

} // namespace davit
