package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// balance is what comes of holding against each other, by name, what was published, what the outbox says and which records
// there are.
type balance struct {
	Published          int            `json:"published"` // confirmed by JetStream
	Created            int            `json:"created"`
	Dead               int            `json:"dead"`
	DeadBy             map[string]int `json:"dead_by_reason"`
	Lost               int            `json:"lost"`       // published, but neither a record nor a dead letter
	Duplicates         int            `json:"duplicates"` // records beyond the first of an event
	PossibleDuplicates int            `json:"possible_duplicates"`
	Removed            int            `json:"removed,omitempty"` // created rows that retention has removed
	WrongRecords       int            `json:"wrong_record_ids"`  // created rows whose record id is no record's, or another row's too
	DeadWithRecord     map[string]int `json:"dead_with_record"`  // dead letters whose record exists, by reason
	Denied             int            `json:"denied"`            // those of them whose reason says that it does not
	ClaimedTwice       int            `json:"claimed_twice"`     // rows beyond the first with one record id
	Undecided          int            `json:"undecided"`         // rows that are neither created nor dead nor discarded
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

// line is a row of the outbox, as far as the comparison wants to know it.
type line struct {
	id, status, reason, record string
	possible                   bool
	updated                    time.Time
}

// compare calls look, unless it is nil, with each row that it reads.
func (p *parts) compare(ctx context.Context, published int, look func(*line)) (b balance, err error) {
	conn, err := pgx.Connect(ctx, p.stack.DatabaseURL())
	if err != nil {
		return b, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	records := p.stack.CRM.Count(objectType, counted)
	named := p.named()
	ids := p.recordIDs()
	claimed := make([]bool, len(ids)) // by a row
	settled := make([]bool, published)
	there := make([]bool, published) // in the outbox
	b = balance{Published: published, DeadBy: map[string]int{}, DeadWithRecord: map[string]int{}}
	rows, err := conn.Query(ctx, `SELECT event_id, status, coalesce(reason, ''), coalesce(record_id, ''), possible_duplicate, updated_at FROM outbox`)
	if err != nil {
		return b, err
	}
	var l line
	_, err = pgx.ForEachRow(rows, []any{&l.id, &l.status, &l.reason, &l.record, &l.possible, &l.updated}, func() error {
		if look != nil {
			look(&l)
		}
		n, ours := eventNumber(l.id)
		ours = ours && n < published
		if ours {
			there[n] = true
		}
		exists := ours && records[dealName(n)] > 0 || named[l.id] > 0
		switch outbox.Status(l.status) {
		case outbox.Created:
			b.Created++
			if ours {
				settled[n] = exists // a row that says so is not enough
			}
			id, _ := strconv.ParseInt(l.record, 10, 64)
			at, found := slices.BinarySearch(ids, id)
			if !found || claimed[at] {
				b.WrongRecords++
			} else {
				claimed[at] = true
			}
		case outbox.Dead:
			b.Dead++
			b.DeadBy[l.reason]++
			if ours {
				settled[n] = true
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
		return nil
	})
	if err != nil {
		return b, err
	}
	if err := conn.QueryRow(ctx, claimedTwice).Scan(&b.ClaimedTwice); err != nil {
		return b, err
	}
	for n, ok := range settled {
		switch {
		case ok:
		case p.forgets && !there[n] && records[dealName(n)] > 0:
			b.Removed++
		default:
			b.Lost++
		}
	}
	for _, n := range records {
		b.Duplicates += max(n-1, 0)
	}
	return b, nil
}

// named counts records by the event whose id they have in the id property; it is nil where the account has no such
// property.
func (p *parts) named() map[string]int {
	if !p.hasIDProperty {
		return nil
	}
	return p.stack.CRM.Count(objectType, idProperty)
}

// recordIDs are the ids of all records, in order.
func (p *parts) recordIDs() []int64 {
	ids := make([]int64, 0, p.stack.CRM.Len(objectType))
	for r := range p.stack.CRM.Records(objectType) {
		id, _ := strconv.ParseInt(r.ID, 10, 64) // they are numbers
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
