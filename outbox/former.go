package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// formerStream tells whether the outbox has rows whose ids are places of a stream in the form of older programs. Where
// there are none, nothing is looked up.
type formerStream struct {
	asked time.Time
	any   bool
}

// formerLook is how long an answer holds: older programs may be working still, but what they had in hand comes again
// only after the ack wait.
const formerLook = time.Second

// In the order of bytes ':' is behind the digits.
const selectFormerPlaces = `
SELECT EXISTS (SELECT FROM event WHERE event_id >= $1::text || ':0' AND event_id < $1::text || '::')`

// A message is older than its row, and younger than the rows of a stream before its own that had another one at its
// place: by clocks that are as far apart as they may be (doc.go).
const selectFormer = `
SELECT u.n - 1 FROM unnest($1::text[], $2::bytea[], $3::text[], $4::int8[], $5::timestamptz[]) WITH ORDINALITY
  AS u(id, hash, stream, seq, published, n)
JOIN event e ON e.event_id = u.id AND e.content_hash = u.hash AND e.stream = u.stream AND e.stream_seq = u.seq
  AND e.received_at >= u.published - interval '3 minutes'`

// formerly finds those of the events that the outbox has from the same message, under the ids of older programs.
func (s *Batches) formerly(ctx context.Context, n int, event func(int) *Event) (known []int, err error) {
	var which []int
	var c struct {
		ids, streams []string
		hashes       [][]byte
		seqs         []int64
		published    []time.Time
	}
	for i := range n {
		e := event(i)
		if e.Former == nil {
			continue
		}
		if strings.HasPrefix(e.Former.ID, e.Stream+":") {
			if any, err := s.hasFormerPlaces(ctx, e.Stream); err != nil {
				return nil, err
			} else if !any {
				continue
			}
		}
		which = append(which, i)
		c.ids, c.streams = append(c.ids, e.Former.ID), append(c.streams, e.Stream)
		c.hashes = append(c.hashes, e.Former.ContentHash[:])
		c.seqs, c.published = append(c.seqs, int64(e.StreamSeq)), append(c.published, e.Published)
	}
	if which == nil {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, selectFormer, c.ids, c.hashes, c.streams, c.seqs, c.published)
	if err == nil {
		known, err = pgx.CollectRows(rows, pgx.RowTo[int])
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: what older programs kept: %w", err)
	}
	for k, at := range known {
		known[k] = which[at]
	}
	slices.Sort(known)
	return known, nil
}

func (s *Batches) hasFormerPlaces(ctx context.Context, stream string) (bool, error) {
	if known, ok := s.former.Load(stream); ok && time.Since(known.(formerStream).asked) < formerLook {
		return known.(formerStream).any, nil
	}
	look := formerStream{asked: time.Now()}
	if err := s.pool.QueryRow(ctx, selectFormerPlaces, stream).Scan(&look.any); err != nil {
		return false, fmt.Errorf("outbox: what older programs kept: %w", err)
	}
	s.former.Store(stream, look)
	return look.any, nil
}

// without leaves out the indexes, which are sorted.
func without[T any](list []T, indexes []int) []T {
	if len(indexes) == 0 {
		return list
	}
	rest := make([]T, 0, len(list)-len(indexes))
	for i, one := range list {
		if _, found := slices.BinarySearch(indexes, i); !found {
			rest = append(rest, one)
		}
	}
	return rest
}

// amid turns indexes into a list that others were left out of into those of the whole list. Both are sorted.
func amid(indexes, left []int) []int {
	for k := range indexes {
		for _, at := range left {
			if at <= indexes[k] {
				indexes[k]++
			}
		}
	}
	return indexes
}
