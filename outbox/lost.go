package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// AskBy is, in SQL, by what a row of event AS o is asked about when its last call is not the outbox's to know: what an
// `unknown` row is asked about by already, else today's property (a parameter, null for none), else that of the last
// call that is known. It wants attempt AS a beside it.
func AskBy(today string) string {
	return `CASE WHEN o.misses IS NOT NULL AND o.id_property IS NOT NULL THEN o.id_property
    ELSE coalesce(` + today + `, a.id_property, nullif(o.id_property, '` + ByRecordID + `')) END`
}

// What a row was refused for while it was in doubt is still what it is dead for if it has no record. What a read has
// proven before does not count.
var putInDoubt = `
WITH chosen AS (
  SELECT o.event_id, ` + AskBy("u.property") + ` AS ask
  FROM unnest($1::text[], $2::text[]) AS u(event_id, property) JOIN event o ON o.event_id = ANY (ARRAY[u.event_id])
  LEFT JOIN attempt a ON a.id = o.attempt_id AND a.kind = 'create'
  WHERE o.next_attempt_at IS NOT NULL OR o.dead_at IS NOT NULL FOR UPDATE OF o SKIP LOCKED),
doubted AS (
  UPDATE event o SET in_doubt = true, id_property = chosen.ask,
    id_value = CASE WHEN o.id_property = chosen.ask THEN o.id_value END,
    status = CASE WHEN o.dead_at IS NULL THEN 'unknown' ELSE 'dead' END,
    misses = CASE WHEN o.dead_at IS NULL THEN 0 END,
    next_attempt_at = CASE WHEN o.dead_at IS NULL THEN now() END,
    reason = CASE WHEN o.dead_at IS NULL THEN o.reason ELSE 'unknown_outcome' END,
    fingerprint = CASE WHEN o.dead_at IS NULL THEN o.fingerprint
      ELSE ` + fingerprint("o.object_type", "'unknown_outcome'", "$4::text") + ` END,
    error = CASE WHEN o.error = $3::text OR starts_with(o.error, $3::text || '; before that: ') THEN o.error
      ELSE concat_ws('; before that: ', $3::text, nullif(o.error, '')) END,
    updated_at = now()
  FROM chosen WHERE o.event_id = ANY (ARRAY[chosen.event_id])
  RETURNING o.event_id),
told AS (
  INSERT INTO outbox_error (event_id, message) SELECT event_id, $3::text FROM doubted)
SELECT event_id FROM doubted`

// Doubted is a row that is put in doubt. Property is today's id property of its object type, "" for none.
type Doubted struct{ EventID, Property string }

// Doubt puts `retry`, `unknown` and dead rows in doubt, as part of a transaction, for what words say: a call that the
// outbox knows nothing of, because it lost commits, may have made their records. What waited is `unknown` then, due at
// once, and asked about twice as all that is in doubt; without an id property to ask by it is parked or sent again, as
// workers are told to. What is dead is so as `unknown_outcome`. It returns the ids of those that it did so with,
// sorted: what is in a call or locked is left alone.
func Doubt(ctx context.Context, tx pgx.Tx, list []Doubted, words string) (eventIDs []string, err error) {
	words = text(words)
	ids, properties := make([]string, len(list)), make([]*string, len(list))
	for i := range list {
		ids[i] = list[i].EventID
		if list[i].Property != "" {
			properties[i] = &list[i].Property
		}
	}
	rows, err := tx.Query(ctx, putInDoubt, ids, properties, words, causeOf(nil, words))
	if err == nil {
		eventIDs, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: doubt: %w", err)
	}
	slices.Sort(eventIDs)
	return eventIDs, nil
}

// DoubtNewUntil has workers put events in doubt that are new to the outbox and were published before then, as part of a
// transaction.
func DoubtNewUntil(ctx context.Context, tx pgx.Tx, until time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO doubt (until) VALUES ($1) ON CONFLICT (one) DO UPDATE SET until = excluded.until`,
		until)
	if err != nil {
		return fmt.Errorf("outbox: doubt: %w", err)
	}
	return nil
}

// NewInDoubt tells until when events have to have been published to be put in doubt when they are new; zero if none
// are.
func (s *Batches) NewInDoubt(ctx context.Context) (until time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT until FROM doubt`).Scan(&until)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("outbox: doubt: %w", err)
	}
	return until, nil
}

// The order is that of insertCompact.
const insertInDoubt = `
INSERT INTO event (event_id, object_type, status, payload, content_hash, stream, stream_seq, error,
  in_doubt, misses, id_property, next_attempt_at)
SELECT u.event_id, u.object_type, 'unknown', u.payload, u.hash, u.stream, u.seq, $7, true, 0, u.id_property, now()
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int8[], $8::text[]) WITH ORDINALITY
  AS u(event_id, object_type, payload, hash, stream, seq, id_property, n)
ORDER BY u.event_id COLLATE "C", u.n
ON CONFLICT (event_id) DO NOTHING`

// lostBefore is what a row says that was put in doubt as it came.
const lostBefore = "new to an outbox that lost commits: it may have been sent before"

// Accept keeps events in doubt without a call: `unknown`, due at once, to be asked about by their object types' id
// properties. An id that is there already, or was under its former name, is left as it is, and one with other content
// is told of, as by InsertDead. fresh is how many were not there.
func (s *Batches) Accept(ctx context.Context, events []Event, idProperty map[string]string) (fresh int, reused []int,
	err error) {
	known, err := s.formerly(ctx, len(events), func(i int) *Event { return &events[i] })
	if err != nil {
		return 0, nil, err
	}
	if events = without(events, known); len(events) > 0 {
		fresh, reused, err = s.accept(ctx, events, idProperty)
	}
	return fresh, amid(reused, known), err
}

func (s *Batches) accept(ctx context.Context, events []Event, idProperty map[string]string) (fresh int, reused []int,
	err error) {
	c := columnsOf(len(events), func(i int) *Event { return &events[i] })
	types, properties := make([]string, len(events)), make([]*string, len(events))
	for i := range events {
		types[i] = text(events[i].ObjectType)
		if p := idProperty[events[i].ObjectType]; p != "" {
			properties[i] = &p
		}
	}
	tag, err := s.pool.Exec(ctx, insertInDoubt, c.ids, types, c.payloads, c.hashes, c.streams, c.seqs, lostBefore,
		properties)
	if err != nil {
		return 0, nil, fmt.Errorf("outbox: accept: %w", err)
	}
	if fresh = int(tag.RowsAffected()); fresh == len(events) {
		return fresh, nil, nil
	}
	standing, _, err := s.stand(ctx, uuid.Nil, c)
	if err != nil {
		return 0, nil, fmt.Errorf("outbox: accept: %w", err)
	}
	if standing == nil { // a row that was in the way went in between
		again, reused, err := s.accept(ctx, events, idProperty)
		return fresh + again, reused, err
	}
	for i, st := range standing {
		if st == Reused {
			reused = append(reused, i)
		}
	}
	return fresh, reused, nil
}
