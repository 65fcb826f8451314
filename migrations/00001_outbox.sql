-- +goose Up

-- One row per event. People read it as `outbox`, the view below.
--
-- A fresh row is compact: its status is null and it stands as its attempt does, 'sending' while that is open and 'created' once
-- it is settled; what it was sent with and what came of it is in the attempt's arrays, at its place. So the way of a batch that
-- goes well is one insert a row, and one update of one row for all of them. A row that goes another way is expanded first.
CREATE TABLE event (
    event_id           text COLLATE "C" PRIMARY KEY,
    object_type        text COLLATE "C" NOT NULL,       -- '' when the subject named none that is valid
    status             text,                    -- null: compact
    nth                integer,                 -- of a compact row: its place in the attempt's arrays, from 1
    payload            bytea,                   -- the event, byte for byte as received; null once created (unless kept)
    content_hash       bytea NOT NULL,          -- of subject and bytes; stays when the payload goes
    record_id          text,
    record_url         text,
    warnings           text,                    -- a JSON array as received
    result             bytea,                   -- the result as received, with --keep-result
    reason             text,                    -- why dead: see the check below; of an 'unknown' row: what it is dead for if it has no record
    error              text,                    -- the last error, in words
    attempts           integer NOT NULL DEFAULT 0,
    attempts_before    integer,                 -- how many of them were before its last replay; null: never replayed
    replayed_at        timestamptz,             -- when a person last had it sent again; its age counts from then
    attempt_id         uuid,                    -- the last call that the event was part of
    next_attempt_at    timestamptz,             -- when 'retry' or 'unknown' is due; null otherwise, and while a read is under way
    dead_at            timestamptz,             -- since when it is dead; null otherwise
    fingerprint        text COLLATE "C",        -- of the reason, alike for what is of one kind; null without one
    revision           integer,                 -- how often a person has edited the payload; null: never
    in_doubt           boolean NOT NULL DEFAULT false,  -- a call of its past may have created a record unseen
    misses             integer,                 -- how often a read has proven that an 'unknown' row has no record; null otherwise
    untold             integer,                 -- how often the answer to a read told nothing of an 'unknown' row; null: never. Such rows are asked about alone
    id_property        text,                    -- by what an 'unknown' row is asked about: the id property that its call was made with, or 'record id'; null: by nothing
    id_value           text COLLATE "C",        -- the value of that, where it is not the event's id: other events may have the same
    possible_duplicate boolean NOT NULL DEFAULT false,
    stream             text NOT NULL,
    stream_seq         bigint NOT NULL,
    received_at        timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT event_status CHECK (
        CASE WHEN status IS NULL THEN num_nonnulls(attempt_id, nth) = 2 AND num_nonnulls(payload, record_id, next_attempt_at, dead_at) = 0
        ELSE CASE status
            WHEN 'sending'   THEN attempt_id IS NOT NULL AND payload IS NOT NULL AND next_attempt_at IS NULL AND dead_at IS NULL
            WHEN 'created'   THEN record_id IS NOT NULL AND next_attempt_at IS NULL AND dead_at IS NULL
            WHEN 'retry'     THEN payload IS NOT NULL AND next_attempt_at IS NOT NULL AND dead_at IS NULL
            WHEN 'unknown'   THEN payload IS NOT NULL AND (next_attempt_at IS NOT NULL OR attempt_id IS NOT NULL) AND dead_at IS NULL
            WHEN 'dead'      THEN payload IS NOT NULL AND next_attempt_at IS NULL AND dead_at IS NOT NULL AND reason IS NOT NULL
            WHEN 'discarded' THEN next_attempt_at IS NULL AND dead_at IS NULL
            ELSE false
        END END),
    CONSTRAINT event_bare CHECK (status IS NULL OR nth IS NULL),
    -- So each row that becomes 'unknown' anew begins at 0, and the indexes below can tell it from 'retry'.
    CONSTRAINT event_misses CHECK (coalesce(status = 'unknown', false) = (misses IS NOT NULL)),
    CONSTRAINT event_reason CHECK (
        reason IN ('invalid_event', 'rejected', 'conflict', 'exhausted', 'unknown_outcome', 'id_reused'))
);

-- misses tells 'retry' from 'unknown' here: an index that named status would be written to whenever that changes.
CREATE INDEX event_retry ON event (object_type, next_attempt_at) WHERE next_attempt_at IS NOT NULL AND misses IS NULL;
CREATE INDEX event_unknown ON event (object_type, next_attempt_at) WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL;
CREATE INDEX event_dead ON event (dead_at, event_id) WHERE dead_at IS NOT NULL;
CREATE INDEX event_dead_type ON event (object_type, dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX event_group ON event (fingerprint, dead_at, event_id) WHERE dead_at IS NOT NULL;

-- No two rows have one record. The record ids of compact rows stand in their attempts, where an index would cost a batch too much: those
-- are looked up by whoever else would have the record (outbox/doc.go).
CREATE UNIQUE INDEX event_record ON event (object_type, record_id) WHERE record_id IS NOT NULL;
-- For lists by time. Compact rows came when their attempt began.
CREATE INDEX event_came ON event (received_at) WHERE record_id IS NOT NULL;
CREATE INDEX event_claim ON event (object_type, id_value) WHERE id_value IS NOT NULL;

-- One row per call. While it is open it names its events; its rows are found through them and not through an index on
-- event.attempt_id, which every insert would pay for.
CREATE TABLE attempt (
    id             uuid PRIMARY KEY,
    parent_id      uuid,                        -- the refused call that this one is a part of
    kind           text NOT NULL CHECK (kind IN ('create', 'read')),
    object_type    text NOT NULL,
    worker         text NOT NULL,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'settled', 'expired')),
    lease_until    timestamptz NOT NULL,
    id_property    text,                        -- that its inputs were sent with; null: none
    event_ids      text[] COLLATE "C",          -- the rows that it holds; null once closed
    payloads       bytea[],                     -- of its compact rows, by their places; null once it is closed
    compact_ids    text[] COLLATE "C",          -- once it is settled: the rows that it held, if they were compact until then; else null
    record_ids     text[],                      -- of those: null for a row that was expanded then
    record_urls    text[],                      -- likewise; null if none has one
    followed       text[] COLLATE "C",          -- the rows that it held when it was closed, if somebody followed; else null
    inputs         integer NOT NULL,            -- how many rows it began with
    created        integer,
    rejected       integer,
    not_applied    integer,
    unknown        integer,
    http_status    integer,                     -- 0: no answer
    success        boolean,                     -- the CRM answered what it was asked
    correlation_id text,
    detail         text,
    started_at     timestamptz NOT NULL DEFAULT now(),
    closed_at      timestamptz,

    CONSTRAINT attempt_closed CHECK ((state = 'open') = (closed_at IS NULL)),
    -- Nobody would come back to a row that a closed attempt still held.
    CONSTRAINT attempt_lets_go CHECK ((state = 'open') = (event_ids IS NOT NULL)),
    CONSTRAINT attempt_adds_up CHECK (
        state <> 'settled' OR coalesce(inputs = created + rejected + not_applied + unknown, false)),
    CONSTRAINT attempt_places CHECK (
        (payloads IS NULL OR cardinality(payloads) = cardinality(event_ids))
        AND (compact_ids IS NULL) = (record_ids IS NULL)
        AND (compact_ids IS NULL OR cardinality(compact_ids) = cardinality(record_ids)))
);
-- An open attempt's ids stay beside it, uncompressed, and go when it is closed.
ALTER TABLE attempt SET (toast_tuple_target = 8160);
ALTER TABLE attempt ALTER event_ids SET STORAGE EXTERNAL;
-- Payloads lie elsewhere. They are compressed together, and so to a third or less, by LZ4, which costs less than to write and to remove
-- so many more bytes. A server that was built without it keeps them as they are: its own way to compress would cost more than all else.
-- +goose StatementBegin
DO $$ BEGIN
    EXECUTE 'ALTER TABLE attempt ALTER payloads SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
    ALTER TABLE attempt ALTER payloads SET STORAGE EXTERNAL;
END $$;
-- +goose StatementEnd

-- The rows as operators and dashboards read them.
CREATE VIEW outbox AS
SELECT e.event_id, e.object_type,
    coalesce(e.status, CASE a.state WHEN 'open' THEN 'sending' ELSE 'created' END) AS status,
    coalesce(e.payload, a.payloads[e.nth]) AS payload, e.content_hash,
    coalesce(e.record_id, a.record_ids[e.nth]) AS record_id,
    coalesce(e.record_url, a.record_urls[e.nth]) AS record_url,
    e.warnings, e.result, e.reason, e.error,
    e.attempts + coalesce((a.state = 'settled')::integer, 0) AS attempts,
    e.attempts_before, e.replayed_at, e.attempt_id, e.next_attempt_at, e.dead_at, e.fingerprint, e.revision, e.in_doubt, e.misses,
    e.possible_duplicate, e.stream, e.stream_seq, e.received_at,
    coalesce(a.closed_at, e.updated_at) AS updated_at
FROM event e LEFT JOIN attempt a ON e.status IS NULL AND a.id = e.attempt_id;

CREATE INDEX attempt_started ON attempt (started_at) WHERE compact_ids IS NOT NULL;
CREATE INDEX attempt_open ON attempt (lease_until) WHERE closed_at IS NULL;
CREATE INDEX attempt_followed ON attempt (closed_at) WHERE followed IS NOT NULL;

-- Append-only: each error of each attempt, as received.
CREATE TABLE outbox_error (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text COLLATE "C" NOT NULL,  -- as in event: else no join could use the index
    attempt_id uuid,
    category   text,
    message    text NOT NULL,
    property   text,                            -- the property that the error is about, if it tells
    rule       text,                            -- the rule that was broken, in the CRM's words, such as INVALID_OPTION
    raw        bytea,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_error_event ON outbox_error (event_id, id);
CREATE INDEX outbox_error_attempt ON outbox_error (attempt_id); -- for retention: an attempt stays for as long as errors of it do

-- What the fleet does not call: everything ('*') or an object type. trial_at is when one worker may try it again.
CREATE TABLE pause (
    object_type text PRIMARY KEY,
    cause       text NOT NULL CHECK (cause IN ('credential', 'answer', 'breaker', 'operator')),
    reason      text NOT NULL,
    paused_by   text,                           -- the worker that met it, or the person who wants it
    since       timestamptz NOT NULL DEFAULT now(),
    trial_at    timestamptz,
    trials      integer NOT NULL DEFAULT 0,     -- of a breaker's: how many have failed

    CONSTRAINT pause_trial CHECK ((cause = 'operator') = (trial_at IS NULL))    -- only a person lifts what a person paused
);

-- The calls that the fleet makes, per account, and what it has learned of what the account allows. See outbox/quota_ledger.go.
CREATE TABLE quota (
    account          text PRIMARY KEY,
    calls            timestamptz[] NOT NULL DEFAULT '{}',   -- of the last moments; the last ones are still to be made
    blocked_until    timestamptz NOT NULL DEFAULT '-infinity',
    blocked_why      text,
    resumed_at       timestamptz,                   -- when a person last ended such a wait
    limit_calls      integer NOT NULL DEFAULT 0,    -- as configured: so many calls
    limit_window     interval NOT NULL DEFAULT '0', -- in any such time
    effective        integer NOT NULL DEFAULT 0,    -- what the fleet makes of them: less the reserve, what others use, and caution
    owed             double precision NOT NULL DEFAULT 0,   -- calls that were given back, to be made up for
    header_max       integer,                       -- as the newest answer told
    header_remaining integer,
    header_at        timestamptz,
    others           double precision NOT NULL DEFAULT 0,   -- calls in the window that are not the fleet's
    others_at        timestamptz,
    share            double precision NOT NULL DEFAULT 1,   -- of the limit, after a refusal that the headers do not explain
    share_at         timestamptz,
    refused          integer NOT NULL DEFAULT 0,    -- calls in a row
    day              date,
    day_ends         timestamptz,
    day_used         integer NOT NULL DEFAULT 0,    -- by the fleet
    day_limit        integer NOT NULL DEFAULT 0,    -- what the fleet may use, as configured; 0 for any number
    day_max          integer,                       -- the account's, as the newest answer told
    day_remaining    integer,
    day_at           timestamptz,
    changed_at       timestamptz                    -- a clock behind it was set back
);
-- The row is written some twenty times a second: nothing of it is to go elsewhere.
ALTER TABLE quota SET (toast_tuple_target = 8160);
ALTER TABLE quota ALTER calls SET STORAGE EXTERNAL;

-- The workers of the fleet, as they last said that they are there.
CREATE TABLE worker (
    name              text PRIMARY KEY,
    started_at        timestamptz NOT NULL DEFAULT now(),
    seen_at           timestamptz NOT NULL DEFAULT now(),
    batch_size        integer NOT NULL,
    events_per_second double precision NOT NULL,    -- what it could create with no quota; 0 while that is not known
    told              json NOT NULL DEFAULT '{}'    -- its settings, and what is in its way: outbox.Told
);

-- Append-only: what persons did, who, when and why.
CREATE TABLE operator_action (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator text NOT NULL,
    action   text NOT NULL,                     -- edit, discard, restore, replay…
    reason   text,
    filter   jsonb,                             -- which events were meant
    detail   jsonb,                             -- what else belongs to it, such as what an edit set
    events   bigint NOT NULL,                   -- to how many events it was done
    skipped  bigint NOT NULL DEFAULT 0,         -- how many of those meant had changed meanwhile, and were left alone
    at       timestamptz NOT NULL DEFAULT now()
);

-- For the count of what was discarded, which is asked for every few seconds.
CREATE INDEX operator_action_discard ON operator_action (action, events) WHERE action IN ('discard', 'restore');

-- Which events an action was done to.
CREATE TABLE operator_action_event (
    event_id  text COLLATE "C",
    action_id bigint REFERENCES operator_action,
    PRIMARY KEY (event_id, action_id)
);

-- The payloads of events that a person edited: 0 is the original, and outbox.revision the one that is in force.
CREATE TABLE outbox_revision (
    event_id  text COLLATE "C",
    revision  integer,
    payload   bytea NOT NULL,
    action_id bigint REFERENCES operator_action, -- null for the original
    PRIMARY KEY (event_id, revision)
);

-- Bulk replays: dead events that a person has sent again, by and by, by whichever worker is at it.
CREATE TABLE replay_job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action_id       bigint REFERENCES operator_action,  -- who asked for it, when, why and of which events
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'cancelled', 'done')),
    allow_duplicate boolean NOT NULL,
    rate            double precision CHECK (rate BETWEEN 0.00001 AND 1000000), -- events a second; null: as the fleet takes them
    events          bigint NOT NULL,                    -- how many it began with
    replayed        bigint NOT NULL DEFAULT 0,          -- how many of them it has sent again
    skipped         bigint NOT NULL DEFAULT 0,          -- had changed meanwhile, or can't be sent at all
    held            bigint NOT NULL DEFAULT 0,          -- may have a record already, and stay dead
    next_at         timestamptz NOT NULL DEFAULT now(), -- when it goes on
    failures        integer NOT NULL DEFAULT 0,         -- steps in a row that failed
    failure         text,                               -- why the last of them did
    started_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,

    CONSTRAINT replay_job_ended CHECK ((state IN ('cancelled', 'done')) = (ended_at IS NOT NULL)),
    CONSTRAINT replay_job_adds_up CHECK (
        CASE state WHEN 'done' THEN replayed + skipped + held = events ELSE replayed + skipped + held <= events END)
);
CREATE INDEX replay_job_running ON replay_job (next_at) WHERE state = 'running';

-- What a replay job has still to do. A row that is not as it was seen then is left alone: so what dies again is not
-- replayed again by the same job, nor by another that was made before.
CREATE TABLE replay_event (
    job_id      bigint REFERENCES replay_job,
    object_type text COLLATE "C",
    event_id    text COLLATE "C",
    seen        timestamptz NOT NULL,           -- the row's updated_at when the job was made
    PRIMARY KEY (job_id, object_type, event_id)
);

-- What became of the events of a replay.
CREATE INDEX operator_action_event_action ON operator_action_event (action_id);

-- Until when somebody follows outcomes: one row, or none. Only then do closed attempts tell which rows they held, which
-- would cost 40 bytes of WAL an event.
CREATE TABLE follow (
    one   boolean PRIMARY KEY CHECK (one),
    until timestamptz NOT NULL
);

-- Events that are new to the outbox are asked about before they are sent, if they were published before this: the outbox lost commits, and
-- may have known them. One row, or none.
CREATE TABLE doubt (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    until timestamptz NOT NULL
);

-- How far retention has come in each table that it makes smaller: see outbox/retention.go.
CREATE TABLE retention (
    relation text PRIMARY KEY CHECK (relation IN ('event', 'attempt')),
    page     bigint NOT NULL DEFAULT 0,         -- where the next step begins
    due_at   timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO retention (relation) VALUES ('event'), ('attempt');

-- What became of the last inputs of each object type that had some rejected: a row for each call and reason. What is not
-- rejected counts under the reason ''.
CREATE TABLE breaker (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_type text NOT NULL,
    call        uuid NOT NULL,
    reason      text NOT NULL,
    inputs      integer NOT NULL CHECK (inputs > 0),
    UNIQUE (object_type, call, reason)
);

-- What the fleet shares of a grant: the access token, and the refresh token that came with it. Sealed with a key that is
-- made of what only the workers' configuration has, and under a name that tells nothing.
CREATE TABLE credential (
    name       text PRIMARY KEY,
    sealed     bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON credential FROM PUBLIC;

-- The migration that a program must know to work with this schema: see migrations/doc.go.
CREATE TABLE compatible (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    since bigint NOT NULL
);
INSERT INTO compatible (since) VALUES (1);

-- +goose Down
DROP TABLE compatible;
DROP TABLE credential;
DROP TABLE breaker;
DROP TABLE retention;
DROP TABLE doubt;
DROP TABLE follow;
DROP INDEX operator_action_event_action;
DROP TABLE replay_event;
DROP TABLE replay_job;
DROP TABLE outbox_revision;
DROP TABLE operator_action_event;
DROP TABLE operator_action;
DROP TABLE worker;
DROP TABLE quota;
DROP TABLE pause;
DROP TABLE outbox_error;
DROP VIEW outbox;
DROP TABLE attempt;
DROP TABLE event;
