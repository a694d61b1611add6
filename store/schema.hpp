// The database's schema, as the steps that lead to it. A step that was released is never changed.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace davit::store {

/// What is said of a database that a later davit has made.
inline std::string newer_schema(long long version, long long newest) {
  return "its schema has version " + std::to_string(version) + ", this davit knows " + std::to_string(newest)
       + " at most; run a newer davit, or restore the backup from before the upgrade";
}

/// Step n brings a database from version n to n + 1.
using schema_steps = std::vector<std::vector<std::string_view>>;

inline const schema_steps& sqlite_schema() {
  static const schema_steps steps{
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
      "CREATE TABLE label (name TEXT NOT NULL, value TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (name, value, "
      "task)) WITHOUT ROWID",
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
      "CREATE TABLE image (engine_id TEXT NOT NULL, name TEXT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY "
      "(engine_id, name)) WITHOUT ROWID",
      "CREATE INDEX task_finished ON task (finished_at) WHERE state = 'finished'",
    },
    {
      // A task's secrets, sealed: a JSON object. The spec has none of it.
      "ALTER TABLE task ADD COLUMN secrets TEXT NOT NULL DEFAULT ''",
    },
    {
      // Who has submitted it, and its place among the owners: each has its turn, however many tasks another has.
      "ALTER TABLE task ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
      "ALTER TABLE task ADD COLUMN fair BIGINT NOT NULL DEFAULT 0",
      "DROP INDEX task_queue",
      "CREATE INDEX task_queue ON task (priority DESC, fair, id) WHERE state = 'queued'",
      "CREATE TABLE owner (name TEXT PRIMARY KEY, fair BIGINT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE dedupe (name TEXT PRIMARY KEY, task TEXT NOT NULL) WITHOUT ROWID",
      "CREATE INDEX dedupe_task ON dedupe (task)",
      "INSERT INTO dedupe SELECT dedupe_key, id FROM task WHERE dedupe_key IS NOT NULL",
      R"(CREATE TABLE agent (
           name TEXT PRIMARY KEY, home TEXT NOT NULL, incarnation TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL, address TEXT NOT NULL,
           engines TEXT NOT NULL, started_at BIGINT NOT NULL, heartbeat_at BIGINT NOT NULL, lease_until BIGINT NOT NULL) WITHOUT ROWID)",
      "CREATE TABLE log (task TEXT NOT NULL, number BIGINT NOT NULL, block BIGINT NOT NULL, blocks BIGINT NOT NULL, "
      "bytes TEXT NOT NULL, PRIMARY KEY (task, number, block)) WITHOUT ROWID",
    },
    {
      // Whether davit has pulled the image itself: only then it may remove it.
      "ALTER TABLE image ADD COLUMN pulled BIGINT NOT NULL DEFAULT 1",
      "CREATE INDEX image_name ON image (name)",
    },
    {
      // When the next retry is due, however long the queue is.
      "CREATE INDEX task_due ON task (not_before) WHERE state = 'queued' AND not_before > 0",
    },
    {
      // A claim begins from the placements that its engines can take, and passes over nothing else. What waits for its
      // next attempt is not ready.
      "ALTER TABLE task ADD COLUMN ready BIGINT NOT NULL DEFAULT 1",
      "UPDATE task SET ready = 0 WHERE state = 'queued' AND not_before > 0",
      "CREATE INDEX task_ready ON task (pinned, placement, priority DESC, fair, id) WHERE state = 'queued' AND ready = "
      "1",
      "DROP INDEX task_due",
      "CREATE INDEX task_due ON task (not_before) WHERE state = 'queued' AND ready = 0",
    },
    {
      // An index is written whenever a task changes its state: those above tell of the queue, one more of what runs is
      // enough.
      "DROP INDEX task_queue",
      "DROP INDEX task_active",
      "CREATE INDEX task_running ON task (owner) WHERE state IN ('starting', 'running')",
    },
    {
      // Each owner has keys of its own.
      R"(UPDATE dedupe SET name = COALESCE((SELECT t.owner FROM task t WHERE t.id = dedupe.task), '') || '
' || name)",
    },
    {
      // A claim goes from owner to owner where some may have no more tasks run, however many they have queued.
      "CREATE INDEX task_waiting ON task (owner, pinned, placement, priority DESC, fair, id) WHERE state = 'queued' "
      "AND "
      "ready = 1",
    },
    {
      // Images that came by a pull with a task's own credentials, and the owners who may use them (empty: all); and
      // such pulls that are not known to have ended.
      "CREATE TABLE image_grant (engine_id TEXT NOT NULL, repository TEXT NOT NULL, image_id TEXT NOT NULL, owner TEXT "
      "NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (engine_id, repository, image_id, owner)) WITHOUT ROWID",
      "CREATE INDEX image_grant_id ON image_grant (engine_id, image_id)",
      "CREATE TABLE image_pull (engine_id TEXT NOT NULL, repository TEXT NOT NULL, image TEXT NOT NULL, attempt TEXT "
      "NOT "
      "NULL, at BIGINT NOT NULL, PRIMARY KEY (engine_id, repository, image, attempt)) WITHOUT ROWID",
    },
    {
      // When each owner's named volumes on an engine were used last; and until when one counts as being removed.
      "CREATE TABLE volume (engine_id TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, used_at BIGINT NOT NULL, "
      "removing_until BIGINT NOT NULL, PRIMARY KEY (engine_id, owner, name)) WITHOUT ROWID",
    },
    {
      // A spec may be megabytes long (stdin). A table WITHOUT ROWID compares whole rows with the id that it looks for;
      // here the id has an index of its own, and the long texts come last: who doesn't ask for them doesn't read them.
      // How long they are stands before them.
      // A column that is added later lies behind them: make the table anew, as here, if many rows are searched by it.
      R"(CREATE TABLE task_rows (
           id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, priority BIGINT NOT NULL,
           placement TEXT NOT NULL, pinned TEXT NOT NULL, owner TEXT NOT NULL, fair BIGINT NOT NULL,
           ready BIGINT NOT NULL DEFAULT 1, created_at BIGINT NOT NULL, not_before BIGINT NOT NULL,
           queue_until BIGINT NOT NULL, cancel_requested BIGINT NOT NULL, attempts BIGINT NOT NULL, outcome TEXT,
           exit_code BIGINT, finished_at BIGINT, message TEXT NOT NULL,
           spec_bytes BIGINT GENERATED ALWAYS AS (LENGTH(CAST(spec AS BLOB)) + LENGTH(CAST(secrets AS BLOB))) STORED,
           secrets TEXT NOT NULL, spec TEXT NOT NULL))",
      "INSERT INTO task_rows (id, name, state, priority, placement, pinned, owner, fair, ready, created_at, not_before,"
      " queue_until, cancel_requested, attempts, outcome, exit_code, finished_at, message, secrets, spec)"
      " SELECT id, name, state, priority, placement, pinned, owner, fair, ready, created_at, not_before,"
      " queue_until, cancel_requested, attempts, outcome, exit_code, finished_at, message, secrets, spec FROM task"
      " ORDER BY id",
      "DROP TABLE task",
      "ALTER TABLE task_rows RENAME TO task",
      "CREATE INDEX task_queue_until ON task (queue_until) WHERE state = 'queued' AND queue_until > 0",
      "CREATE INDEX task_finished ON task (finished_at) WHERE state = 'finished'",
      "CREATE INDEX task_ready ON task (pinned, placement, priority DESC, fair, id) WHERE state = 'queued' AND ready = "
      "1",
      "CREATE INDEX task_due ON task (not_before) WHERE state = 'queued' AND ready = 0",
      "CREATE INDEX task_running ON task (owner) WHERE state IN ('starting', 'running')",
      "CREATE INDEX task_waiting ON task (owner, pinned, placement, priority DESC, fair, id) WHERE state = 'queued' "
      "AND ready = 1",
      // For a list of an owner's tasks, which alone says that the owner is not empty: what waits has better ones.
      "CREATE INDEX task_owner ON task (owner, id) WHERE owner <> ''",
    },
    {
      // The blobs of each owner and the packs that they lie in; the trees that the owner keeps, and the tasks that use
      // them; and what each owner has. A tree's blobs are in its manifest.
      "CREATE TABLE blob (owner TEXT NOT NULL, digest TEXT NOT NULL, pack TEXT NOT NULL, place BIGINT NOT NULL, "
      "size BIGINT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY (owner, digest)) WITHOUT ROWID",
      "CREATE TABLE blob_pack (id TEXT PRIMARY KEY, owner TEXT NOT NULL, agent TEXT NOT NULL, incarnation TEXT NOT "
      "NULL, state TEXT NOT NULL, blobs BIGINT NOT NULL, begun_at BIGINT NOT NULL) WITHOUT ROWID",
      "CREATE INDEX blob_pack_left ON blob_pack (id) WHERE state <> 'there' OR blobs = 0",
      "CREATE TABLE blob_tree (owner TEXT NOT NULL, digest TEXT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY "
      "(owner, digest)) WITHOUT ROWID",
      "CREATE TABLE blob_use (task TEXT NOT NULL, owner TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (task, "
      "owner, digest)) WITHOUT ROWID",
      "CREATE INDEX blob_use_tree ON blob_use (owner, digest)",
      "CREATE TABLE blob_owner (name TEXT PRIMARY KEY, bytes BIGINT NOT NULL, blobs BIGINT NOT NULL) WITHOUT ROWID",
    },
    {
      // What became of an attempt's outputs: a JSON array.
      "ALTER TABLE attempt ADD COLUMN outputs TEXT NOT NULL DEFAULT '[]'",
    },
    {
      // The caches that each owner keeps, each a tree; what an attempt did with its own, a JSON array; what a success
      // is found by, and the attempt (TASK/NUMBER) whose success is another one's answer.
      "CREATE TABLE blob_cache (owner TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT "
      "NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL, task TEXT NOT NULL, created_at BIGINT NOT NULL, used_at "
      "BIGINT NOT NULL, PRIMARY KEY (owner, scope, name)) WITHOUT ROWID",
      "CREATE INDEX blob_cache_tree ON blob_cache (owner, digest)",
      "ALTER TABLE attempt ADD COLUMN caches TEXT NOT NULL DEFAULT '[]'",
      "ALTER TABLE attempt ADD COLUMN memo TEXT NOT NULL DEFAULT ''",
      "ALTER TABLE attempt ADD COLUMN answer_of TEXT NOT NULL DEFAULT ''",
      "CREATE INDEX attempt_memo ON attempt (memo) WHERE memo <> ''",
      "CREATE INDEX attempt_answer ON attempt (answer_of) WHERE answer_of <> ''",
      // When only a cache was made of it; trees whose manifests were lost; and packs that can't be read.
      "ALTER TABLE blob ADD COLUMN cached_at BIGINT NOT NULL DEFAULT 0",
      "ALTER TABLE blob_tree ADD COLUMN cached_at BIGINT NOT NULL DEFAULT 0",
      "ALTER TABLE blob_tree ADD COLUMN lost BIGINT NOT NULL DEFAULT 0",
      "CREATE INDEX blob_pack_doubted ON blob_pack (owner) WHERE state = 'doubted'",
    },
  };
  return steps;
}

inline const schema_steps& postgresql_schema() {
  static const schema_steps steps{
    {
      // What is finished moves to a partition of its own, so that the queue stays small and its dead rows few.
      R"(CREATE TABLE task (
           id TEXT COLLATE "C" NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, priority BIGINT NOT NULL,
           placement TEXT NOT NULL, pinned TEXT NOT NULL, owner TEXT NOT NULL, fair BIGINT NOT NULL, spec TEXT NOT NULL, secrets TEXT NOT NULL,
           created_at BIGINT NOT NULL, not_before BIGINT NOT NULL, queue_until BIGINT NOT NULL, cancel_requested BIGINT NOT NULL, attempts BIGINT NOT NULL,
           outcome TEXT, exit_code BIGINT, message TEXT NOT NULL, finished_at BIGINT, PRIMARY KEY (id, state)) PARTITION BY LIST (state))",
      R"(CREATE TABLE task_hot PARTITION OF task FOR VALUES IN ('queued', 'starting', 'running')
           WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0))",
      "CREATE TABLE task_finished PARTITION OF task FOR VALUES IN ('finished')",
      // Matches the claim's ORDER BY, so that a claim reads what it takes and no more.
      "CREATE INDEX task_queue ON task_hot (priority DESC, fair, id) WHERE state = 'queued'",
      "CREATE INDEX task_queue_until ON task_hot (queue_until) WHERE state = 'queued' AND queue_until > 0",
      "CREATE INDEX task_finished_at ON task_finished (finished_at)",
      "CREATE TABLE owner (name TEXT PRIMARY KEY, fair BIGINT NOT NULL) WITH (fillfactor = 50)",
      "CREATE TABLE dedupe (name TEXT PRIMARY KEY, task TEXT COLLATE \"C\" NOT NULL)",
      "CREATE INDEX dedupe_task ON dedupe (task)",
      "CREATE TABLE label (name TEXT NOT NULL, value TEXT NOT NULL, task TEXT COLLATE \"C\" NOT NULL, PRIMARY KEY "
      "(name, value, task))",
      "CREATE INDEX label_task ON label (task)",
      R"(CREATE TABLE attempt (
           task TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, agent TEXT NOT NULL, incarnation TEXT NOT NULL,
           engine TEXT NOT NULL, engine_id TEXT NOT NULL, container TEXT NOT NULL, image_id TEXT NOT NULL,
           created_at BIGINT, started_at BIGINT, finished_at BIGINT, phases TEXT NOT NULL,
           outcome TEXT, exit_code BIGINT, message TEXT NOT NULL, evidence TEXT NOT NULL,
           PRIMARY KEY (task, number)) WITH (fillfactor = 70))",
      "CREATE INDEX attempt_open ON attempt (agent, engine_id) WHERE outcome IS NULL",
      R"(CREATE TABLE event (
           sequence BIGSERIAL PRIMARY KEY, task TEXT COLLATE "C" NOT NULL, attempt BIGINT NOT NULL, at BIGINT NOT NULL,
           kind TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT, message TEXT NOT NULL))",
      "CREATE INDEX event_task ON event (task, sequence)",
      "CREATE TABLE image (engine_id TEXT NOT NULL, name TEXT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY "
      "(engine_id, name))",
      R"(CREATE TABLE agent (
           name TEXT PRIMARY KEY, home TEXT NOT NULL, incarnation TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL, address TEXT NOT NULL,
           engines TEXT NOT NULL, started_at BIGINT NOT NULL, heartbeat_at BIGINT NOT NULL, lease_until BIGINT NOT NULL) WITH (fillfactor = 50))",
      // Finished attempts' logs, for every agent to serve; compressed already. Base64, since that is what every driver
      // passes on unharmed.
      R"(CREATE TABLE log (
           task TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, block BIGINT NOT NULL, blocks BIGINT NOT NULL, bytes TEXT NOT NULL,
           PRIMARY KEY (task, number, block)))",
      "ALTER TABLE log ALTER COLUMN bytes SET STORAGE EXTERNAL",
    },
    {
      // Whether davit has pulled the image itself: only then it may remove it.
      "ALTER TABLE image ADD COLUMN pulled BIGINT NOT NULL DEFAULT 1",
      "CREATE INDEX image_name ON image (name)",
    },
    {
      // When the next retry is due, however long the queue is.
      "CREATE INDEX task_due ON task_hot (not_before) WHERE state = 'queued' AND not_before > 0",
    },
    {
      // A claim begins from the placements that its engines can take, and passes over nothing else. What waits for its
      // next attempt is not ready.
      "ALTER TABLE task ADD COLUMN ready BIGINT NOT NULL DEFAULT 1",
      "UPDATE task SET ready = 0 WHERE state = 'queued' AND not_before > 0",
      "CREATE INDEX task_ready ON task_hot (pinned, placement, priority DESC, fair, id) WHERE state = 'queued' AND "
      "ready = 1",
      "DROP INDEX task_due",
      "CREATE INDEX task_due ON task_hot (not_before) WHERE state = 'queued' AND ready = 0",
    },
    {
      // Each owner has keys of its own.
      R"(UPDATE dedupe SET name = COALESCE((SELECT t.owner FROM task t WHERE t.id = dedupe.task), '') || '
' || name)",
    },
    {
      // A claim goes from owner to owner where some may have no more tasks run, however many they have queued.
      "CREATE INDEX task_waiting ON task_hot (owner, pinned, placement, priority DESC, fair, id) WHERE state = "
      "'queued' AND "
      "ready = 1",
    },
    {
      // Images that came by a pull with a task's own credentials, and the owners who may use them (empty: all); and
      // such pulls that are not known to have ended.
      "CREATE TABLE image_grant (engine_id TEXT NOT NULL, repository TEXT NOT NULL, image_id TEXT NOT NULL, owner TEXT "
      "NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (engine_id, repository, image_id, owner))",
      "CREATE INDEX image_grant_id ON image_grant (engine_id, image_id)",
      "CREATE TABLE image_pull (engine_id TEXT NOT NULL, repository TEXT NOT NULL, image TEXT NOT NULL, attempt TEXT "
      "NOT "
      "NULL, at BIGINT NOT NULL, PRIMARY KEY (engine_id, repository, image, attempt))",
    },
    {
      // When each owner's named volumes on an engine were used last; and until when one counts as being removed.
      "CREATE TABLE volume (engine_id TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, used_at BIGINT NOT NULL, "
      "removing_until BIGINT NOT NULL, PRIMARY KEY (engine_id, owner, name))",
    },
    {
      // A list of an owner's tasks, which alone says that the owner is not empty, does not pass over all others'. Of
      // many tasks this takes longer than a statement may.
      "SET LOCAL statement_timeout = 0",
      "CREATE INDEX task_owner ON task (owner, id) WHERE owner <> ''",
    },
    {
      // The blobs of each owner and the packs that they lie in; the trees that the owner keeps, and the tasks that use
      // them; and what each owner has. A tree's blobs are in its manifest.
      "CREATE TABLE blob (owner TEXT COLLATE \"C\" NOT NULL, digest TEXT COLLATE \"C\" NOT NULL, pack TEXT COLLATE "
      "\"C\" NOT NULL, place BIGINT NOT NULL, "
      "size BIGINT NOT NULL, used_at BIGINT NOT NULL, PRIMARY KEY (owner, digest))",
      "CREATE TABLE blob_pack (id TEXT COLLATE \"C\" PRIMARY KEY, owner TEXT NOT NULL, agent TEXT NOT NULL, "
      "incarnation TEXT NOT "
      "NULL, state TEXT NOT NULL, blobs BIGINT NOT NULL, begun_at BIGINT NOT NULL)",
      "CREATE INDEX blob_pack_left ON blob_pack (id) WHERE state <> 'there' OR blobs = 0",
      "CREATE TABLE blob_tree (owner TEXT COLLATE \"C\" NOT NULL, digest TEXT COLLATE \"C\" NOT NULL, used_at BIGINT "
      "NOT NULL, PRIMARY KEY "
      "(owner, digest))",
      "CREATE TABLE blob_use (task TEXT COLLATE \"C\" NOT NULL, owner TEXT COLLATE \"C\" NOT NULL, digest TEXT COLLATE "
      "\"C\" NOT NULL, PRIMARY KEY (task, "
      "owner, digest))",
      "CREATE INDEX blob_use_tree ON blob_use (owner, digest)",
      "CREATE TABLE blob_owner (name TEXT COLLATE \"C\" PRIMARY KEY, bytes BIGINT NOT NULL, blobs BIGINT NOT NULL)",
    },
    {
      // What became of an attempt's outputs: a JSON array.
      "ALTER TABLE attempt ADD COLUMN outputs TEXT NOT NULL DEFAULT '[]'",
    },
    {
      // The caches that each owner keeps, each a tree; what an attempt did with its own, a JSON array; what a success
      // is found by, and the attempt (TASK/NUMBER) whose success is another one's answer.
      "SET LOCAL statement_timeout = 0",
      "CREATE TABLE blob_cache (owner TEXT COLLATE \"C\" NOT NULL, scope TEXT COLLATE \"C\" NOT NULL, name TEXT "
      "COLLATE \"C\" NOT NULL, digest TEXT COLLATE \"C\" NOT "
      "NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL, task TEXT NOT NULL, created_at BIGINT NOT NULL, used_at "
      "BIGINT NOT NULL, PRIMARY KEY (owner, scope, name))",
      "CREATE INDEX blob_cache_tree ON blob_cache (owner, digest)",
      "ALTER TABLE attempt ADD COLUMN caches TEXT NOT NULL DEFAULT '[]'",
      "ALTER TABLE attempt ADD COLUMN memo TEXT NOT NULL DEFAULT ''",
      "ALTER TABLE attempt ADD COLUMN answer_of TEXT COLLATE \"C\" NOT NULL DEFAULT ''",
      "CREATE INDEX attempt_memo ON attempt (memo) WHERE memo <> ''",
      "CREATE INDEX attempt_answer ON attempt (answer_of) WHERE answer_of <> ''",
      // When only a cache was made of it; trees whose manifests were lost; and packs that can't be read.
      "ALTER TABLE blob ADD COLUMN cached_at BIGINT NOT NULL DEFAULT 0",
      "ALTER TABLE blob_tree ADD COLUMN cached_at BIGINT NOT NULL DEFAULT 0",
      "ALTER TABLE blob_tree ADD COLUMN lost BIGINT NOT NULL DEFAULT 0",
      "CREATE INDEX blob_pack_doubted ON blob_pack (owner) WHERE state = 'doubted'",
    },
  };
  return steps;
}

} // namespace davit::store
