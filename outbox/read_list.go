package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ListFilter chooses rows to list. The zero value chooses all.
type ListFilter struct {
	Status     Status // "" for any
	ObjectType string // "" for any
	After      string // only ids after this one: the page before's Next
	Limit      int    // rows at most; 0 means 50

	// ByTime lists what came last first, and only what came from Since on and before Until, where they are not zero. A
	// page goes on After an event that is there, else it is ErrNoSuchPlace.
	ByTime       bool
	Since, Until time.Time
}

// Page is a part of a list, in the order of event ids, or of time.
type Page struct {
	Records []Record `json:"events"`
	Next    string   `json:"next,omitempty"` // what the next page comes After; "" if there is none
	Looked  int      `json:"-"`              // how many rows were looked at, where no index has what was asked for; else 0
}

// lookMost bounds the rows that one page looks at to find those that it lists: some tenths of a second.
const lookMost = 100_000

// What is not on its way or dead has no index but its id's: `created` would pay for one with every event. So it is
// looked for among all, in the order of ids.
const (
	listSending = `
SELECT held FROM attempt, unnest(event_ids) AS held
WHERE closed_at IS NULL AND kind = 'create' AND ($1 = '' OR object_type = $1) AND held > $2 ORDER BY held LIMIT $3`
	// MATERIALIZED: the planner would rather walk the ids of all rows, and meet few of these.
	listRetry = `
WITH these AS MATERIALIZED (
  SELECT event_id FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NULL AND ($1 = '' OR object_type = $1))
SELECT event_id FROM these WHERE event_id > $2 ORDER BY event_id LIMIT $3`
	listUnknown = `
WITH these AS MATERIALIZED (
  SELECT event_id FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL AND ($1 = '' OR object_type = $1)
  UNION
  SELECT held FROM attempt, unnest(event_ids) AS held WHERE closed_at IS NULL AND kind = 'read' AND ($1 = '' OR object_type = $1))
SELECT event_id FROM these WHERE event_id > $2 ORDER BY event_id LIMIT $3`
	listDead = `
WITH these AS MATERIALIZED (
  SELECT event_id FROM event WHERE dead_at IS NOT NULL AND ($1 = '' OR object_type = $1))
SELECT event_id FROM these WHERE event_id > $2 ORDER BY event_id LIMIT $3`
	listLooking = `
WITH looked AS MATERIALIZED (
  SELECT event_id, object_type, status FROM outbox WHERE event_id > $2 ORDER BY event_id LIMIT $3)
SELECT ARRAY(SELECT event_id FROM looked WHERE ($1 = '' OR object_type = $1) AND ($4 = '' OR status = $4) ORDER BY event_id),
  coalesce((SELECT max(event_id) FROM looked), ''), (SELECT count(*) FROM looked)`
)

// List returns a page of rows, as they are now. A row whose status changes while it is listed may be left out. A page
// of `created` or `discarded` rows, or of an object type in any status, may have fewer rows than Limit although there
// is a Next: it does not look at more than some 100,000 rows.
func (s *Reader) List(ctx context.Context, f ListFilter) (Page, error) {
	if f.Limit == 0 {
		f.Limit = 50
	}
	var p Page
	var ids []string
	var err error
	switch {
	case f.ByTime:
		ids, err = s.byTime(ctx, f)
	case f.Status == Sending:
		ids, err = s.listed(ctx, listSending, f)
	case f.Status == Retry:
		ids, err = s.listed(ctx, listRetry, f)
	case f.Status == Unknown:
		ids, err = s.listed(ctx, listUnknown, f)
	case f.Status == Dead:
		ids, err = s.listed(ctx, listDead, f)
	default:
		ids, err = s.look(ctx, f, &p)
	}
	if err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	if len(ids) > f.Limit {
		ids = ids[:f.Limit]
		p.Next = ids[f.Limit-1]
	}
	if p.Records, err = s.records(ctx, ids, f); err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	if f.ByTime {
		slices.SortFunc(p.Records, func(a, b Record) int {
			return cmp.Or(b.ReceivedAt.Compare(a.ReceivedAt), cmp.Compare(b.EventID, a.EventID))
		})
	}
	return p, nil
}

// listed returns one id more than the page has, if there is one.
func (s *Reader) listed(ctx context.Context, sql string, f ListFilter) ([]string, error) {
	rows, err := s.pool.Query(ctx, sql, f.ObjectType, text(f.After), f.Limit+1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// look goes through all rows, in steps that grow while it finds little.
func (s *Reader) look(ctx context.Context, f ListFilter, p *Page) (ids []string, err error) {
	after := text(f.After)
	for step := 2 * (f.Limit + 1); len(ids) <= f.Limit; step = min(4*step, 10_000) {
		if p.Looked >= lookMost {
			p.Next = after
			return ids, nil
		}
		var found []string
		var looked int
		err := s.pool.QueryRow(ctx, listLooking, planAnew, f.ObjectType, after, step, string(f.Status)).Scan(&found, &after, &looked)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
		p.Looked += looked
		if looked < step {
			break
		}
	}
	return ids, nil
}

// records returns the rows of these ids that are what the filter asks for, in the order of ids.
func (s *Reader) records(ctx context.Context, ids []string, f ListFilter) ([]Record, error) {
	rows, err := s.pool.Query(ctx, `SELECT`+recordColumns+` FROM outbox
WHERE event_id = ANY($1::text[]) AND ($2 = '' OR status = $2) AND ($3 = '' OR object_type = $3) ORDER BY event_id`,
		planAnew, ids, string(f.Status), f.ObjectType)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRecord)
}
