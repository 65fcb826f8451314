package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"crmintake/outbox/internal/pgwire"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Attempts with their payloads, whose rows are compact.
const openAttempts = `
INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs, payloads, id_property)
SELECT a.id, 'create', a.object_type, a.worker, now() + a.lease * interval '1 microsecond',
  ($7::text[])[a.first:a.last], a.last - a.first + 1, ($8::bytea[])[a.first:a.last], a.id_property
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int8[], $5::int[], $6::int[], $9::text[])
  AS a(id, object_type, worker, lease, first, last, id_property)`

// The rows come in the order of event ids: that keeps two workers with overlapping batches from waiting for each other.
const insertCompact = `
INSERT INTO event (event_id, object_type, content_hash, attempt_id, nth, stream, stream_seq)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::uuid[]), unnest($5::int[]), unnest($6::text[]), unnest($7::int8[])`

const insertAttempt = `
INSERT INTO attempt AS a (id, kind, object_type, worker, lease_until, event_ids, inputs, id_property)
VALUES ($1, 'create', $2, $3, now() + $4::interval, $5::text[], cardinality($5::text[]), nullif($6, ''))
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until WHERE a.state = 'open'`

// Nothing goes under an attempt that was closed meanwhile. The order is that of insertCompact.
const insertSending = `
INSERT INTO event (event_id, object_type, status, payload, content_hash, attempt_id, stream, stream_seq)
SELECT u.event_id, $2, 'sending', u.payload, u.hash, $1, u.stream, u.seq
FROM unnest($3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::int8[]) WITH ORDINALITY AS u(event_id, payload, hash, stream, seq, n)
WHERE EXISTS (SELECT FROM attempt WHERE id = $1 AND state = 'open')
ORDER BY u.event_id COLLATE "C", u.n
ON CONFLICT (event_id) DO NOTHING`

// Intend commits that the events are about to be sent in one call, and says of each whether it is ours to send: that
// and no other may be sent. The attempt holds the rows that are ours; when none is, there is no attempt. An id may be
// there twice: the first of them can be ours. ErrLeaseLost means that the attempt, intended before, was closed, and
// that events of it are not in the outbox.
func (s *Batches) Intend(ctx context.Context, a Attempt, events []Event) ([]IntentResult, error) {
	known, err := s.formerly(ctx, len(events), func(i int) *Event { return &events[i] })
	if err != nil {
		return nil, err
	}
	in := &intent{attempt: a, events: without(events, known)}
	if len(in.events) > 0 {
		if err := s.intents.do(ctx, in); err != nil {
			return nil, fmt.Errorf("outbox: intent: %w", err)
		}
	}
	for _, at := range known {
		in.standing = slices.Insert(in.standing, at, Duplicate)
	}
	return in.standing, nil
}

// intent is a call of Intend.
type intent struct {
	attempt  Attempt
	events   []Event
	standing []IntentResult
	clashes  bool // some of its events are there already, as the commit of it alone has shown
}

// bytes is about what an intent adds to a transaction.
func (in *intent) bytes() (n int) {
	for i := range in.events {
		n += len(in.events[i].Payload)
	}
	return n
}

// intendTogether commits intents of events none of which is there already, in one transaction and one round trip: a
// plain insert, which costs the server two thirds of one that skips what is there. Else it ends with errApart, and
// nothing is changed.
func (s *Batches) intendTogether(ctx context.Context, wait lockWait, group []*intent) error {
	// Attempts are locked in the order of their ids, as everywhere.
	slices.SortFunc(group, func(a, b *intent) int { return bytes.Compare(a.attempt.ID[:], b.attempt.ID[:]) })
	n := 0
	for _, in := range group {
		n += len(in.events)
	}
	first, last, rows := make([]int, len(group)), make([]int, len(group)), make([]compactRow, 0, n)
	for i, in := range group {
		events := in.events
		if byID := func(a, b Event) int { return cmp.Compare(a.ID, b.ID) }; !slices.IsSortedFunc(events, byID) {
			events = slices.SortedFunc(slices.Values(events), byID)
		}
		first[i], last[i] = len(rows)+1, len(rows)+len(events)
		for k := range events {
			rows = append(rows, compactRow{&events[k], &in.attempt, k + 1})
		}
	}
	opening := openingOf(group, first, last, slices.Clone(rows))
	slices.SortFunc(rows, func(a, b compactRow) int { return cmp.Compare(a.ID, b.ID) })
	err := s.pipeline(ctx, wait.statement(), opening, insertionOf(rows))
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == uniqueViolation {
		group[0].clashes = len(group) == 1
		return errApart
	}
	if err == nil {
		for _, in := range group {
			in.standing = make([]IntentResult, len(in.events)) // all of them Inserted
		}
	}
	return err
}

// uniqueViolation is the SQLSTATE of a key that is there already.
const uniqueViolation = "23505"

// compactRow is an event at its place in an attempt.
type compactRow struct {
	*Event
	attempt *Attempt
	nth     int
}

// openingOf is openAttempts for intents whose rows are those from first to last, counted from 1.
func openingOf(group []*intent, first, last []int, rows []compactRow) pgwire.Statement {
	n := len(group)
	return pgwire.Statement{SQL: openAttempts, Params: []pgwire.Param{
		pgwire.UUIDArray(n, func(i int) uuid.UUID { return group[i].attempt.ID }),
		pgwire.TextArray(n, func(i int) string { return group[i].attempt.ObjectType }),
		pgwire.TextArray(n, func(i int) string { return group[i].attempt.Worker }),
		pgwire.Int8Array(n, func(i int) uint64 { return uint64(group[i].attempt.Lease.Microseconds()) }),
		pgwire.Int4Array(n, func(i int) int { return first[i] }),
		pgwire.Int4Array(n, func(i int) int { return last[i] }),
		pgwire.TextArray(len(rows), func(i int) string { return rows[i].ID }),
		pgwire.ByteaArray(len(rows), func(i int) []byte { return rows[i].Payload }),
		pgwire.NullableTextArray(n, func(i int) string { return group[i].attempt.IDProperty }),
	}}
}

func insertionOf(rows []compactRow) pgwire.Statement {
	n := len(rows)
	return pgwire.Statement{SQL: insertCompact, Params: []pgwire.Param{
		pgwire.TextArray(n, func(i int) string { return rows[i].ID }),
		pgwire.TextArray(n, func(i int) string { return rows[i].attempt.ObjectType }),
		pgwire.ByteaArray(n, func(i int) []byte { return rows[i].ContentHash[:] }),
		pgwire.UUIDArray(n, func(i int) uuid.UUID { return rows[i].attempt.ID }),
		pgwire.Int4Array(n, func(i int) int { return rows[i].nth }),
		pgwire.TextArray(n, func(i int) string { return rows[i].Stream }),
		pgwire.Int8Array(n, func(i int) uint64 { return rows[i].StreamSeq }),
	}}
}

func (s *Batches) intendAlone(ctx context.Context, in *intent) error {
	if !in.clashes {
		if err := s.intendTogether(ctx, waitLong, []*intent{in}); err != errApart && !ofTheData(err) {
			return err
		}
	}
	var err error
	in.standing, err = s.insert(ctx, in.attempt, in.events)
	return err
}

// insert is for an intent some of which may be there already.
func (s *Batches) insert(ctx context.Context, a Attempt, events []Event) ([]IntentResult, error) {
	c := columnsOf(len(events), func(i int) *Event { return &events[i] })
	var b pgx.Batch // one implicit transaction, one round trip
	b.Queue(string(waitLong))
	b.Queue(insertAttempt, a.ID, a.ObjectType, a.Worker, a.Lease, slices.Sorted(slices.Values(c.ids)), a.IDProperty)
	b.Queue(insertSending, a.ID, a.ObjectType, c.ids, c.payloads, c.hashes, c.streams, c.seqs)
	r := s.pool.SendBatch(ctx, &b)
	var attempt, inserted pgconn.CommandTag
	_, err := r.Exec()
	if err == nil {
		attempt, err = r.Exec()
	}
	if err == nil {
		inserted, err = r.Exec()
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	if int(inserted.RowsAffected()) == len(events) {
		return make([]IntentResult, len(events)), nil
	}
	standing, held, err := s.stand(ctx, a.ID, c)
	switch {
	case err != nil:
	case standing == nil && attempt.RowsAffected() == 0:
		return nil, ErrLeaseLost
	case standing == nil:
		return s.insert(ctx, a, events) // a row that was in the way went in between, so its event has a place now
	case len(held) == 0:
		_, err = s.pool.Exec(ctx, `DELETE FROM attempt WHERE id = $1 AND state = 'open'`, a.ID)
	case len(held) < len(events):
		_, err = s.pool.Exec(ctx, `
UPDATE attempt SET event_ids = $2::text[], inputs = cardinality($2::text[]) WHERE id = $1 AND state = 'open'`, a.ID, held)
	}
	if err != nil {
		return nil, err
	}
	return standing, nil
}

const selectStanding = `
SELECT o.event_id, o.content_hash,
  coalesce(o.attempt_id = $1 AND coalesce(o.status = 'sending', EXISTS (SELECT FROM attempt WHERE id = $1 AND state = 'open')), false)
FROM event o WHERE o.event_id = ANY($2::text[])`

// stand looks up whose the rows are that were not inserted; held are the ids of those that are the attempt's, sorted. A
// nil standing means that the outbox does not have one of the events.
func (s *Batches) stand(ctx context.Context, attempt uuid.UUID, c columns) (standing []IntentResult, held []string, err error) {
	rows, err := s.pool.Query(ctx, selectStanding, attempt, c.ids)
	if err != nil {
		return nil, nil, err
	}
	type row struct {
		hash string
		ours bool
	}
	kept := make(map[string]row, len(c.ids))
	var id string
	var hash []byte
	var ours bool
	_, err = pgx.ForEachRow(rows, []any{&id, &hash, &ours}, func() error {
		kept[id] = row{string(hash), ours}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	standing = make([]IntentResult, len(c.ids))
	for i, id := range c.ids {
		k, found := kept[id]
		switch {
		case !found:
			return nil, nil, nil
		case k.hash != string(c.hashes[i]):
			standing[i] = Reused
		case !k.ours:
			standing[i] = Duplicate
		default:
			held = append(held, id)
			kept[id] = row{hash: k.hash} // ours once
		}
	}
	slices.Sort(held)
	return standing, held, nil
}

var insertDead = `
WITH dead AS (
  INSERT INTO event (event_id, object_type, status, payload, content_hash, stream, stream_seq, reason, error, dead_at, fingerprint)
  SELECT u.event_id, u.object_type, 'dead', u.payload, u.hash, u.stream, u.seq, u.reason, u.error, now(),
    ` + fingerprint("u.object_type", "u.reason", "u.cause") + `
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int8[], $7::text[], $8::text[], $9::text[]) WITH ORDINALITY
    AS u(event_id, object_type, payload, hash, stream, seq, reason, error, cause, n)
  ORDER BY u.event_id COLLATE "C", u.n
  ON CONFLICT (event_id) DO NOTHING
  RETURNING event_id, reason, error)
INSERT INTO outbox_error (event_id, category, message) SELECT event_id, reason, error FROM dead`

// InsertDead keeps events that can't be sent as dead letters. An id that is there already is left as it is: with the
// same content it is the same event, in whatever status; those with other content are not kept, and their indexes
// returned, sorted. They are to be buried again under another id. An id may be there twice: the first of them is kept.
func (s *Batches) InsertDead(ctx context.Context, dead []DeadLetter) (reused []int, err error) {
	known, err := s.formerly(ctx, len(dead), func(i int) *Event { return &dead[i].Event })
	if err != nil {
		return nil, err
	}
	if dead = without(dead, known); len(dead) > 0 {
		reused, err = s.insertDead(ctx, dead)
	}
	return amid(reused, known), err
}

func (s *Batches) insertDead(ctx context.Context, dead []DeadLetter) (reused []int, err error) {
	n := len(dead)
	c := columnsOf(n, func(i int) *Event { return &dead[i].Event })
	types, reasons, errors, causes := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i := range dead {
		types[i], reasons[i], errors[i] = text(dead[i].ObjectType), string(dead[i].Reason), text(dead[i].Error)
		causes[i] = text(causeOf(nil, dead[i].Error))
	}
	tag, err := s.pool.Exec(ctx, insertDead, c.ids, types, c.payloads, c.hashes, c.streams, c.seqs, reasons, errors, causes)
	if err != nil {
		return nil, fmt.Errorf("outbox: bury: %w", err)
	}
	if int(tag.RowsAffected()) == n {
		return nil, nil
	}
	standing, _, err := s.stand(ctx, uuid.Nil, c)
	if err != nil {
		return nil, fmt.Errorf("outbox: bury: %w", err)
	}
	if standing == nil {
		return s.insertDead(ctx, dead) // a row that was in the way went in between
	}
	for i, st := range standing {
		if st == Reused {
			reused = append(reused, i)
		}
	}
	return reused, nil
}

// columns are events as the arrays that unnest takes.
type columns struct {
	ids, streams     []string
	payloads, hashes [][]byte
	seqs             []int64
}

func columnsOf(n int, event func(int) *Event) columns {
	c := columns{make([]string, n), make([]string, n), make([][]byte, n), make([][]byte, n), make([]int64, n)}
	for i := range n {
		e := event(i)
		c.ids[i], c.streams[i], c.seqs[i] = e.ID, e.Stream, int64(e.StreamSeq)
		c.payloads[i], c.hashes[i] = e.Payload, e.ContentHash[:]
		if e.Payload == nil {
			c.payloads[i] = []byte{} // not a NULL
		}
	}
	return c
}
