package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Group is the dead events that have one fingerprint: one object type, one reason and one cause.
type Group struct {
	Fingerprint string        `json:"group"`
	Events      int64         `json:"events"`
	FirstSeen   time.Time     `json:"first_seen"` // when the first of them died
	LastSeen    time.Time     `json:"last_seen"`
	ObjectType  string        `json:"object_type"`
	Reason      outbox.Reason `json:"reason"`
	Category    string        `json:"category,omitempty"`
	Property    string        `json:"property,omitempty"`
	Rule        string        `json:"rule,omitempty"`
	Example     string        `json:"example"` // the id of the one that died last
	Error       string        `json:"error"`   // its error, in words
	Advice      string        `json:"advice" db:"-"`
}

// Groups is an overview of dead events.
type Groups struct {
	List        []Group `json:"groups"`       // those with the most events first
	TotalGroups int64   `json:"total_groups"` // how many there are, listed or not
	TotalEvents int64   `json:"total_events"`
}

// deciding is the error of a row o that its fingerprint was made of: see outbox.
const deciding = `
  SELECT e.category, e.property, e.rule FROM outbox_error e
  WHERE e.event_id = o.event_id AND e.attempt_id IS NOT DISTINCT FROM o.attempt_id
  ORDER BY e.property IS NULL AND e.rule IS NULL, e.message = '', e.id LIMIT 1`

func groupsSQL(where string) string {
	return `
WITH g AS (
  SELECT fingerprint, count(*) AS events, min(dead_at) AS first, max(dead_at) AS last FROM event o
  WHERE ` + where + ` GROUP BY fingerprint),
top AS (
  SELECT *, count(*) OVER () AS total_groups, (sum(events) OVER ())::int8 AS total_events FROM g
  ORDER BY events DESC, fingerprint LIMIT @limit)
SELECT top.total_groups, top.total_events, coalesce(top.fingerprint, ''),
  top.events, top.first, top.last, coalesce(o.object_type, ''),
  coalesce(o.reason, ''), coalesce(e.category, ''), coalesce(e.property, ''), coalesce(e.rule, ''),
  coalesce(o.event_id, ''), coalesce(o.error, '')
FROM top
LEFT JOIN LATERAL (
  SELECT o.* FROM event o WHERE ` + where + ` AND o.fingerprint = top.fingerprint
    ORDER BY o.dead_at DESC, o.event_id DESC LIMIT 1) o ON true
LEFT JOIN LATERAL (` + deciding + `) e ON true
ORDER BY top.events DESC, top.fingerprint`
}

// Groups says of which kinds the events are that the filter chooses, up to limit of them. A *FilterError tells of a
// filter that can't be meant.
func (o *DeadLetters) Groups(ctx context.Context, f Filter, limit int) (Groups, error) {
	if err := f.Validate(); err != nil {
		return Groups{}, err
	}
	return groups(ctx, o.pool, f, limit)
}

func groups(ctx context.Context, db querier, f Filter, limit int) (Groups, error) {
	args := pgx.NamedArgs{"limit": limit}
	rows, err := db.Query(ctx, groupsSQL(f.where(args)), args)
	if err != nil {
		return Groups{}, fmt.Errorf("operator: groups: %w", err)
	}
	all := Groups{List: []Group{}}
	var g Group
	_, err = pgx.ForEachRow(rows, []any{&all.TotalGroups, &all.TotalEvents, &g.Fingerprint, &g.Events, &g.FirstSeen,
		&g.LastSeen, &g.ObjectType,
		&g.Reason, &g.Category, &g.Property, &g.Rule, &g.Example, &g.Error}, func() error {
		g.Advice = Advice(g.Reason, g.Property, g.Rule)
		all.List = append(all.List, g)
		return nil
	})
	if err != nil {
		return Groups{}, fmt.Errorf("operator: groups: %w", err)
	}
	return all, nil
}

// Plan is what an operation is about to be done to. Who holds it may show it, have it confirmed, and then have it done.
type Plan struct {
	Filter Filter `json:"filter"` // with AsOf and Seen
	Groups
	// NotDead are those of Filter.EventIDs that the outbox has, and that are not dead: nothing is to be done to them.
	NotDead int64 `json:"not_dead"`
}

// UnknownEventError says that the outbox has no such event.
type UnknownEventError struct{ EventID string }

func (e *UnknownEventError) Error() string {
	return fmt.Sprintf("the outbox has no event with the id %q", e.EventID)
}

// planGroups is how many groups a plan names.
const planGroups = 20

// ErrNoPlan says that a change was asked for that was not planned.
var ErrNoPlan = errors.New("operator: this was not planned: make a plan first")

// check is for plans that were out of our hands.
func (p Plan) check() error {
	if p.Filter.AsOf.IsZero() {
		return ErrNoPlan
	}
	return p.Filter.destructive()
}

// Result is what a change came to.
type Result struct {
	Action    int64  `json:"action,omitempty"`    // its line in the audit; 0 if nothing was done
	Done      int64  `json:"done"`                // events that were changed
	Skipped   int64  `json:"skipped"`             // events of the plan that had changed meanwhile, and were left alone
	Unchanged int64  `json:"unchanged,omitempty"` // EditAll: that were so already
	Unfit     int64  `json:"unfit,omitempty"`     // EditAll: that would be no valid events
	Why       string `json:"why,omitempty"`       // what is wrong with one of those
}

// Plan says what an operation with this filter would be done to. It returns ErrEverything, a *FilterError, or, for an
// event id that is not in the outbox, an *UnknownEventError. It changes nothing.
func (o *DeadLetters) Plan(ctx context.Context, f Filter) (Plan, error) { return o.plan(ctx, f) }
