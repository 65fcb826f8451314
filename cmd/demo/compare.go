package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// balance is what comes of holding against each other, by name, what was published, what the outbox says and which
// records there are.
type balance struct {
	Published          int            `json:"published"` // confirmed by JetStream
	Created            int            `json:"created"`
	Dead               int            `json:"dead"`
	DeadBy             map[string]int `json:"dead_by_reason"`
	Lost               int            `json:"lost"`       // published, but neither a record nor a dead letter
	Duplicates         int            `json:"duplicates"` // records beyond the first of an event
	PossibleDuplicates int            `json:"possible_duplicates"`
	Removed            int            `json:"removed,omitempty"` // created rows that retention has removed
	// created rows whose record id is no record's, or another row's too
	WrongRecords   int            `json:"wrong_record_ids"`
	DeadWithRecord map[string]int `json:"dead_with_record"` // dead letters whose record exists, by reason
	Denied         int            `json:"denied"`           // those of them whose reason says that it does not
	ClaimedTwice   int            `json:"claimed_twice"`    // rows beyond the first with one record id
	Undecided      int            `json:"undecided"`        // rows that are neither created nor dead nor discarded
}

// good is true if nothing was lost, doubled, denied, claimed twice or left undecided.
func (b balance) good() bool {
	return b.Published == b.Created+b.Dead+b.Removed && b.Lost == 0 && b.Duplicates == 0 && b.WrongRecords == 0 &&
		b.Denied == 0 && b.ClaimedTwice == 0 && b.Undecided == 0
}

// denies says whether a dead letter's reason says that its event has no record. One in doubt says that it may have
// one, and one of a reused id speaks of another event's.
func denies(reason string) bool {
	switch outbox.Reason(reason) {
	case outbox.Rejected, outbox.Conflict, outbox.Exhausted, outbox.InvalidEvent:
		return true
	}
	return false
}

// claimedTwice counts the rows of an object type beyond the first that name one record.
const claimedTwice = `
SELECT coalesce(sum(n - 1), 0)::bigint FROM (
    SELECT count(*) AS n FROM outbox WHERE record_id IS NOT NULL GROUP BY object_type, record_id HAVING count(*) > 1) x`

// books is what the CRM has of a series, and what was seen of it in the outbox.
type books struct {
	series
	records map[string]int // by counted value
	named   map[string]int // by the event whose id they have in an id property
	ids     []int64        // of all records, in order
	claimed []bool         // by a row, each id
	settled []bool         // each event
	there   []bool         // in the outbox
}

func (p *parts) booksOf(s series) *books {
	ids := p.recordIDs(s.objectType)
	return &books{series: s, records: p.stack.CRM.Count(s.objectType, s.counted), named: p.named(s.objectType), ids: ids,
		claimed: make([]bool, len(ids)), settled: make([]bool, s.published), there: make([]bool, s.published)}
}

// compare judges all events together.
func (p *parts) compare(ctx context.Context, all ...series) (b balance, err error) {
	conn, err := pgx.Connect(ctx, p.stack.DatabaseURL())
	if err != nil {
		return b, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	b = balance{DeadBy: map[string]int{}, DeadWithRecord: map[string]int{}}
	byType := map[string]*books{}
	for _, s := range all {
		byType[s.objectType] = p.booksOf(s)
		b.Published += s.published
	}
	rows, err := conn.Query(ctx, `
SELECT event_id, object_type, status, coalesce(reason, ''), coalesce(record_id, ''), possible_duplicate FROM outbox`)
	if err != nil {
		return b, err
	}
	var l line
	_, err = pgx.ForEachRow(rows, []any{&l.id, &l.objectType, &l.status, &l.reason, &l.record, &l.possible}, func() error {
		a := byType[l.objectType]
		if a == nil {
			return fmt.Errorf("the outbox has events of %s, of which none was published", l.objectType)
		}
		b.take(a, &l)
		return nil
	})
	if err != nil {
		return b, err
	}
	if err := conn.QueryRow(ctx, claimedTwice).Scan(&b.ClaimedTwice); err != nil {
		return b, err
	}
	for _, a := range byType {
		b.close(a, p.forgets)
	}
	return b, nil
}

// line is a row of the outbox, as far as the comparison wants to know it.
type line struct {
	id, objectType, status, reason, record string
	possible                               bool
}

// take counts a row.
func (b *balance) take(a *books, l *line) {
	n, ours := a.number(l.id)
	if ours {
		a.there[n] = true
	}
	exists := ours && a.records[a.value(n)] > 0 || a.named[l.id] > 0
	switch outbox.Status(l.status) {
	case outbox.Created:
		b.Created++
		if ours {
			a.settled[n] = exists // a row that says so is not enough
		}
		id, _ := strconv.ParseInt(l.record, 10, 64)
		at, found := slices.BinarySearch(a.ids, id)
		if !found || a.claimed[at] {
			b.WrongRecords++
		} else {
			a.claimed[at] = true
		}
	case outbox.Dead:
		b.Dead++
		b.DeadBy[l.reason]++
		if ours {
			a.settled[n] = true
		}
		if exists {
			b.DeadWithRecord[l.reason]++
			if denies(l.reason) {
				b.Denied++
			}
		}
	case outbox.Discarded:
	default:
		b.Undecided++
	}
	if l.possible {
		b.PossibleDuplicates++
	}
}

// close counts what no row tells of. Where created rows are forgotten, an event without a row may have its record.
func (b *balance) close(a *books, forgets bool) {
	for n, ok := range a.settled {
		switch {
		case ok:
		case forgets && !a.there[n] && a.records[a.value(n)] > 0:
			b.Removed++
		default:
			b.Lost++
		}
	}
	for _, n := range a.records {
		b.Duplicates += max(n-1, 0)
	}
}

// named counts records by the event whose id they have in an id property, whichever of them it is; it is empty where
// the account has none.
func (p *parts) named(objectType string) map[string]int {
	by := map[string]int{}
	for _, property := range p.idProperties[objectType] {
		for id, n := range p.stack.CRM.Count(objectType, property) {
			by[id] += n
		}
	}
	return by
}

// recordIDs are the ids of all records of an object type, in order.
func (p *parts) recordIDs(objectType string) []int64 {
	ids := make([]int64, 0, p.stack.CRM.Len(objectType))
	for r := range p.stack.CRM.Records(objectType) {
		id, _ := strconv.ParseInt(r.ID, 10, 64) // they are numbers
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
