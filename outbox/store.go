package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrLeaseLost says that an attempt was closed by somebody else because its lease had run out: its rows are theirs now.
var ErrLeaseLost = errors.New("outbox: the attempt's lease ran out and its rows were taken over")

// Store is the outbox.
type Store struct{ pool *pgxpool.Pool }

// Open connects. maxConns bounds the connections that are used at once.
func Open(ctx context.Context, databaseURL string, maxConns int) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err) // pgx leaves the password out
	}
	cfg.MaxConns = int32(maxConns)
	cfg.ConnConfig.RuntimeParams["application_name"] = "crmintake"
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return &Store{pool}, nil
}

// Close ends all connections, when what uses them is done.
func (s *Store) Close() { s.pool.Close() }

// NewAttemptID returns an id that sorts by time.
func NewAttemptID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

const insertAttempt = `
INSERT INTO attempt AS a (id, kind, object_type, worker, lease_until, event_ids, inputs)
VALUES ($1, 'create', $2, $3, now() + $4::interval, $5::text[], cardinality($5::text[]))
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until WHERE a.closed_at IS NULL`

const insertSending = `
INSERT INTO outbox (event_id, object_type, status, payload, content_hash, attempt_id, stream, stream_seq)
SELECT u.event_id, $2, 'sending', u.payload, u.hash, $1, u.stream, u.seq
FROM unnest($3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::int8[]) AS u(event_id, payload, hash, stream, seq)
ON CONFLICT (event_id) DO NOTHING`

// Intend commits that the events are about to be sent in one call, and says of each whether it is ours to send. Events
// must be sorted by id, each id once. When none is ours, the attempt is gone again.
func (s *Store) Intend(ctx context.Context, a Attempt, events []Event) ([]Standing, error) {
	n := len(events)
	ids, payloads, hashes := make([]string, n), make([][]byte, n), make([][]byte, n)
	streams, seqs := make([]string, n), make([]int64, n)
	for i := range events {
		e := &events[i]
		ids[i], payloads[i], hashes[i] = e.ID, notNil(e.Payload), e.ContentHash[:]
		streams[i], seqs[i] = e.Stream, int64(e.StreamSeq)
	}
	var b pgx.Batch // one implicit transaction, one round trip
	b.Queue(insertAttempt, a.ID, a.ObjectType, a.Worker, a.Lease, ids)
	b.Queue(insertSending, a.ID, a.ObjectType, ids, payloads, hashes, streams, seqs)
	r := s.pool.SendBatch(ctx, &b)
	_, err := r.Exec()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("outbox: intent: %w", err)
	}
	tag, err := r.Exec()
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: intent: %w", err)
	}
	standing := make([]Standing, n)
	if int(tag.RowsAffected()) == n {
		return standing, nil
	}
	return standing, s.stand(ctx, a.ID, events, ids, standing)
}

const selectStanding = `
SELECT o.event_id, o.content_hash, o.attempt_id = $1 AND o.status = 'sending'
FROM outbox o WHERE o.event_id = ANY($2::text[])`

// stand looks up whose the rows are that an intent did not insert.
func (s *Store) stand(ctx context.Context, attempt uuid.UUID, events []Event, ids []string, standing []Standing) error {
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	rows, err := s.pool.Query(ctx, selectStanding, attempt, ids)
	if err != nil {
		return fmt.Errorf("outbox: intent: %w", err)
	}
	var id string
	var hash []byte
	var ours bool
	some := false
	_, err = pgx.ForEachRow(rows, []any{&id, &hash, &ours}, func() error {
		i := at[id]
		switch {
		case ours:
			some = true
		case string(hash) == string(events[i].ContentHash[:]):
			standing[i] = Duplicate
		default:
			standing[i] = Reused
		}
		return nil
	})
	if err == nil && !some {
		_, err = s.pool.Exec(ctx, `DELETE FROM attempt WHERE id = $1 AND closed_at IS NULL`, attempt)
	}
	if err != nil {
		return fmt.Errorf("outbox: intent: %w", err)
	}
	return nil
}

const insertDead = `
WITH dead AS (
  INSERT INTO outbox (event_id, object_type, status, payload, content_hash, stream, stream_seq, reason, error, dead_at)
  SELECT u.event_id, u.object_type, 'dead', u.payload, u.hash, u.stream, u.seq, u.reason, u.error, now()
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int8[], $7::text[], $8::text[])
    AS u(event_id, object_type, payload, hash, stream, seq, reason, error)
  ORDER BY u.event_id
  ON CONFLICT (event_id) DO NOTHING
  RETURNING event_id, reason, error)
INSERT INTO outbox_error (event_id, category, message) SELECT event_id, reason, error FROM dead`

// Bury keeps events that can't be sent as dead letters. An id that is there already is left as it is.
func (s *Store) Bury(ctx context.Context, dead []Burial) error {
	n := len(dead)
	ids, types, reasons, msgs, streams := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	payloads, hashes, seqs := make([][]byte, n), make([][]byte, n), make([]int64, n)
	for i := range dead {
		d := &dead[i]
		ids[i], types[i], reasons[i], msgs[i], streams[i] = d.ID, text(d.ObjectType), string(d.Reason), text(d.Error), d.Stream
		payloads[i], hashes[i], seqs[i] = notNil(d.Payload), d.ContentHash[:], int64(d.StreamSeq)
	}
	if _, err := s.pool.Exec(ctx, insertDead, ids, types, payloads, hashes, streams, seqs, reasons, msgs); err != nil {
		return fmt.Errorf("outbox: bury: %w", err)
	}
	return nil
}

// Renew starts an attempt's lease anew, or returns ErrLeaseLost.
func (s *Store) Renew(ctx context.Context, a Attempt) error {
	tag, err := s.pool.Exec(ctx, `UPDATE attempt SET lease_until = now() + $2::interval WHERE id = $1 AND closed_at IS NULL`, a.ID, a.Lease)
	if err != nil {
		return fmt.Errorf("outbox: renew: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrLeaseLost
	}
	return nil
}

// notNil keeps an empty payload from becoming a NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
