\set id random(1, 1000000000)
BEGIN;
SELECT CAST(pg_advisory_xact_lock(1684109940, hashtext('engine' || :client_id)) AS TEXT);
SELECT quote_literal(id) AS id FROM task WHERE state = 'queued' AND cancel_requested = 0 AND not_before <= 9000000000000000000 ORDER BY priority DESC, fair, id LIMIT 1 FOR UPDATE SKIP LOCKED \gset
UPDATE task SET state = 'starting', attempts = 1 WHERE id = :id AND state = 'queued';
INSERT INTO attempt (task, number, agent, incarnation, engine, engine_id, container, image_id, created_at, phases, message, evidence) VALUES (:id, 1, 'a', 'b', 'e', 'engine-1', '', '', 1, '{}', '', '{}');
SELECT CAST(pg_advisory_xact_lock(1684109940, hashtext('events')) AS TEXT);
INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES (:id, 1, 1, 'claimed', 'starting', NULL, '');
COMMIT;
BEGIN;
UPDATE attempt SET container = '0123456789abcdef', image_id = 'sha256:1', started_at = 1 WHERE task = :id AND number = 1 AND incarnation = 'b' AND outcome IS NULL;
UPDATE task SET state = 'running' WHERE id = :id;
SELECT CAST(pg_advisory_xact_lock(1684109940, hashtext('events')) AS TEXT);
INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES (:id, 1, 1, 'started', 'running', NULL, '');
COMMIT;
BEGIN;
UPDATE attempt SET finished_at = 1, outcome = 'succeeded', exit_code = 0, message = '', phases = '{"queue":0.1,"run":0.1}', evidence = '{"inspect":"{}"}' WHERE task = :id AND number = 1 AND incarnation = 'b' AND outcome IS NULL;
INSERT INTO image (engine_id, name, used_at, pulled) VALUES ('engine-1', 'alpine:3.20', 1, 0) ON CONFLICT (engine_id, name) DO UPDATE SET used_at = excluded.used_at;
UPDATE task SET state = 'finished', outcome = 'succeeded', exit_code = 0, message = '', finished_at = 1 WHERE id = :id;
SELECT CAST(pg_advisory_xact_lock(1684109940, hashtext('events')) AS TEXT);
INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES (:id, 1, 1, 'finished', 'finished', 'succeeded', '');
COMMIT;
