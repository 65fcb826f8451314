package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A list by time goes by when events came. Compact rows came when their call began; expanded ones have indexes, but for
// those that were discarded, which the audit names.

// place is where a row stands in a list by time.
type place struct {
	id string
	at time.Time
}

// newer is around each part: rows of an object type ($1) that came in a time ($2, $3), after a place ($4, $5) in the
// list, so many ($6).
const newer = `
SELECT event_id, received_at FROM (%s) e
WHERE ($1 = '' OR object_type = $1) AND received_at >= $2 AND received_at < $3
  AND ($4 = '' OR (received_at, event_id) < ($5, $4))
ORDER BY received_at DESC, event_id DESC LIMIT $6`

const heldBy = `SELECT e.event_id, e.object_type, e.received_at FROM attempt a CROSS JOIN LATERAL unnest(a.event_ids) AS held
  JOIN event e ON e.event_id = ANY (ARRAY[held]) WHERE a.closed_at IS NULL AND a.kind = `

var newestOf = map[Status][]string{
	Sending: {fmt.Sprintf(newer, heldBy+`'create'`)},
	Retry:   {fmt.Sprintf(newer, `SELECT * FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NULL`)},
	Unknown: {
		fmt.Sprintf(newer, `SELECT * FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL`),
		fmt.Sprintf(newer, heldBy+`'read'`),
	},
	Dead:    {fmt.Sprintf(newer, `SELECT * FROM event WHERE dead_at IS NOT NULL`)},
	Created: {fmt.Sprintf(newer, `SELECT * FROM event WHERE record_id IS NOT NULL AND status = 'created'`)},
	Discarded: {fmt.Sprintf(newer, `SELECT DISTINCT e.event_id, e.object_type, e.received_at FROM operator_action a
  JOIN operator_action_event d ON d.action_id = ANY (ARRAY[a.id])
  JOIN event e ON e.event_id = ANY (ARRAY[d.event_id]) AND e.status = 'discarded' WHERE a.action = 'discard'`)},
}

const (
	// The calls of compact rows, the last first, from one on.
	newestCalls = `
SELECT id, started_at FROM attempt WHERE compact_ids IS NOT NULL AND ($1 = '' OR object_type = $1)
  AND started_at >= $2 AND started_at < $3 AND ($4::timestamptz IS NULL OR (started_at, id) < ($4, $5))
ORDER BY started_at DESC, id DESC LIMIT $6`
	newestCompact = `
SELECT e.event_id, e.received_at FROM attempt a CROSS JOIN LATERAL unnest(a.compact_ids) AS held
JOIN event e ON e.event_id = ANY (ARRAY[held]) AND e.status IS NULL AND e.attempt_id = a.id
WHERE a.id = ANY($1::uuid[]) AND ($2 = '' OR (e.received_at, e.event_id) < ($3, $2))
ORDER BY e.received_at DESC, e.event_id DESC`
)

// ErrNoSuchPlace says that a list by time is to go on after an event that is not there (any more).
var ErrNoSuchPlace = errors.New("outbox: the event is not there after which the list is to go on")

// byTime is List for a list by time. It returns one row more than the page has, if there is one.
func (s *Reader) byTime(ctx context.Context, f ListFilter) (ids []string, err error) {
	var from time.Time
	if f.After != "" {
		err := s.pool.QueryRow(ctx, `SELECT received_at FROM event WHERE event_id = $1`, text(f.After)).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, ErrNoSuchPlace
		}
		if err != nil {
			return nil, err
		}
	}
	if f.Until.IsZero() {
		f.Until = time.Now().AddDate(100, 0, 0)
	}
	var list []place
	for status, parts := range newestOf {
		if f.Status != "" && f.Status != status {
			continue
		}
		for _, sql := range parts {
			rows, err := s.pool.Query(ctx, sql, planAnew, f.ObjectType, f.Since, f.Until, text(f.After), from, f.Limit+1)
			if err != nil {
				return nil, err
			}
			part, err := collectPlaces(rows)
			if err != nil {
				return nil, err
			}
			list = append(list, part...)
		}
	}
	if f.Status == "" || f.Status == Created {
		compact, err := s.compactByTime(ctx, f, from)
		if err != nil {
			return nil, err
		}
		list = append(list, compact...)
	}
	// A row that went on between two of the questions may be there twice.
	slices.SortFunc(list, func(a, b place) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.id, a.id)) })
	for _, p := range slices.Compact(list) {
		ids = append(ids, p.id)
	}
	return ids[:min(len(ids), f.Limit+1)], nil
}

// compactByTime looks at calls until they have given as many rows as are wanted.
func (s *Reader) compactByTime(ctx context.Context, f ListFilter, from time.Time) (list []place, err error) {
	until := f.Until
	if f.After != "" {
		until = minTime(until, from.Add(time.Microsecond)) // the call of the place itself has more
	}
	var last *time.Time
	var lastID uuid.UUID
	for looked := 0; len(list) <= f.Limit && looked < lookMost; {
		rows, err := s.pool.Query(ctx, newestCalls, planAnew, f.ObjectType, f.Since, until, last, lastID, f.Limit+1)
		if err != nil {
			return nil, err
		}
		var calls []uuid.UUID
		var id uuid.UUID
		var at time.Time
		if _, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error {
			calls, lastID = append(calls, id), id
			began := at
			last = &began
			return nil
		}); err != nil {
			return nil, err
		}
		for part := range slices.Chunk(calls, 100) {
			rows, err := s.pool.Query(ctx, newestCompact, planAnew, part, text(f.After), from)
			if err != nil {
				return nil, err
			}
			places, err := collectPlaces(rows)
			if err != nil {
				return nil, err
			}
			list, looked = append(list, places...), looked+len(places)
			if len(list) > f.Limit {
				return list, nil
			}
		}
		if len(calls) <= f.Limit {
			return list, nil
		}
	}
	return list, nil
}

func collectPlaces(rows pgx.Rows) ([]place, error) {
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (p place, err error) { return p, r.Scan(&p.id, &p.at) })
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
