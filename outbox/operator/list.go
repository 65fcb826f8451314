package operator

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Event is a dead event in a list.
type Event struct {
	EventID    string        `json:"event_id"`
	ObjectType string        `json:"object_type"`
	Reason     outbox.Reason `json:"reason"`
	Group      string        `json:"group"`
	Error      string        `json:"error"`
	Attempts   int           `json:"attempts"`
	Revision   int           `json:"revision"` // how often it was edited
	DeadAt     time.Time     `json:"dead_at"`
	ReceivedAt time.Time     `json:"received_at"`
}

// Page is a part of a list.
type Page struct {
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty"` // where the next page begins; "" if there is none
}

// List lists the events that the filter chooses, up to limit (at least 1) of them, those that died last first, from the
// beginning or from where an earlier page said. It returns a *FilterError if from is nothing that a page said.
func (o *DeadLetters) List(ctx context.Context, f Filter, from string, limit int) (Page, error) {
	if err := f.Validate(); err != nil {
		return Page{}, err
	}
	args := pgx.NamedArgs{"limit": limit + 1} // one more tells whether there are more
	where := f.where(args)
	if from != "" {
		deadAt, id, ok := parsePlace(from)
		if !ok {
			return Page{}, &FilterError{fmt.Sprintf("%q is no place where a page begins", from)}
		}
		args["dead_at"], args["event_id"] = deadAt, id
		where += " AND (o.dead_at, o.event_id) <= (@dead_at, @event_id)"
	}
	rows, err := o.pool.Query(ctx, listSQL(where), args)
	if err != nil {
		return Page{}, fmt.Errorf("operator: list: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	if err != nil {
		return Page{}, fmt.Errorf("operator: list: %w", err)
	}
	page := Page{Events: list[:min(len(list), limit)]}
	if len(list) > limit {
		page.Next = placeOf(list[limit])
	}
	return page, nil
}

func listSQL(where string) string {
	return `
SELECT o.event_id, o.object_type, o.reason, coalesce(o.fingerprint, ''),
  coalesce(o.error, ''), o.attempts, coalesce(o.revision, 0),
  o.dead_at, o.received_at
FROM event o WHERE ` + where + ` ORDER BY o.dead_at DESC, o.event_id DESC LIMIT @limit`
}

// placeOf says where in the list an event stands, in one word.
func placeOf(e Event) string {
	return base64.RawURLEncoding.EncodeToString([]byte(e.DeadAt.UTC().Format(time.RFC3339Nano) + " " + e.EventID))
}

func parsePlace(s string) (deadAt time.Time, id string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, "", false
	}
	at, id, ok := strings.Cut(string(b), " ")
	deadAt, err = time.Parse(time.RFC3339Nano, at)
	return deadAt, id, ok && err == nil
}
