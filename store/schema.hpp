// The database's schema, as the steps that lead to it. A step that was released is never changed.
#pragma once

#include <array>
#include <string_view>
#include <vector>

namespace davit::store {

/// Step n brings a database from version n to n + 1.
inline const std::vector<std::vector<std::string_view>>& schema_steps() {
  static const std::vector<std::vector<std::string_view>> steps{
    {
      // Times are nanoseconds since 1970 in UTC; enums are the names that the API uses.
      R"(CREATE TABLE task (
           id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, priority BIGINT NOT NULL,
           placement TEXT NOT NULL, pinned TEXT NOT NULL, spec TEXT NOT NULL, created_at BIGINT NOT NULL,
           not_before BIGINT NOT NULL, cancel_requested BIGINT NOT NULL, attempts BIGINT NOT NULL,
           outcome TEXT, exit_code BIGINT, message TEXT NOT NULL, finished_at BIGINT, dedupe_key TEXT UNIQUE) WITHOUT ROWID)",
      // Matches the claim's ORDER BY, so that a claim reads what it takes and no more.
      "CREATE INDEX task_queue ON task (priority DESC, id) WHERE state = 'queued'",
      "CREATE INDEX task_active ON task (state) WHERE state <> 'finished'",
      "CREATE TABLE label (name TEXT NOT NULL, value TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (name, value, task)) WITHOUT ROWID",
      R"(CREATE TABLE attempt (
           task TEXT NOT NULL, number BIGINT NOT NULL, agent TEXT NOT NULL, incarnation TEXT NOT NULL,
           engine TEXT NOT NULL, engine_id TEXT NOT NULL, container TEXT NOT NULL, image_id TEXT NOT NULL,
           created_at BIGINT, started_at BIGINT, finished_at BIGINT, phases TEXT NOT NULL,
           outcome TEXT, exit_code BIGINT, message TEXT NOT NULL, evidence TEXT NOT NULL,
           PRIMARY KEY (task, number)) WITHOUT ROWID)",
      "CREATE INDEX attempt_open ON attempt (agent) WHERE outcome IS NULL",
      R"(CREATE TABLE event (
           sequence INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL, attempt BIGINT NOT NULL, at BIGINT NOT NULL,
           kind TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT, message TEXT NOT NULL))",
      "CREATE INDEX event_task ON event (task, sequence)",
    },
    {
      // Until when a queued task may wait; 0: as long as it takes.
      "ALTER TABLE task ADD COLUMN queue_until BIGINT NOT NULL DEFAULT 0",
      "CREATE INDEX task_queue_until ON task (queue_until) WHERE state = 'queued' AND queue_until > 0",
      "CREATE INDEX label_task ON label (task)",
      // The images that davit itself has pulled, and when each was used last.
      "CREATE TABLE image (engine_id TEXT NOT NULL, name TEXT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY (engine_id, name)) WITHOUT ROWID",
      "CREATE INDEX task_finished ON task (finished_at) WHERE state = 'finished'",
    },
    {
      // A task's secrets, sealed: a JSON object. The spec has none of it.
      "ALTER TABLE task ADD COLUMN secrets TEXT NOT NULL DEFAULT ''",
    },
  };
  return steps;
}

} // namespace davit::store
