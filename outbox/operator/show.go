package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Story is all that is known of one event.
type Story struct {
	outbox.Record
	Group     string    // its fingerprint, while it is dead or discarded
	Advice    string    // what can be done about it, while it is dead or waits in `retry` or `unknown`
	DeadAt    time.Time // zero unless dead
	Revision  int       // the payload that is in force: how often it was edited
	Attempts  []Attempt // that left an error, and the last one; in order
	Revisions []Revision
	Actions   []Action // what persons did to it; the first thing first
}

// Attempt is a call that an event was part of, or what was found wrong with it without one.
type Attempt struct {
	ID            uuid.UUID // zero if no call was made
	Parent        uuid.UUID // the refused call that it was split from; zero if there is none
	Kind          string    // create or read; "" if no call was made
	Worker        string
	State         string // open, settled or expired
	StartedAt     time.Time
	ClosedAt      time.Time // zero while it is open
	Inputs        int       // how many events it began with
	Status        int       // HTTP; 0 if there was no answer
	CorrelationID string    // HubSpot's support asks for it
	Detail        string
	Errors        []Error
}

// Error is an error of an attempt, taken apart.
type Error struct {
	At                time.Time
	Category, Message string
	Property, Rule    string // "" if it does not tell
	Value             string // what the event had as that property then; "" if it had none
	Raw               []byte // as received
}

// Revision is a payload that an event had.
type Revision struct {
	Number  int // 0 is the original
	Payload []byte
	Action  int64     // the edit; 0 for the original
	At      time.Time // zero for the original
}

// Show tells all that is known of an event, dead or not. For one that the outbox does not have it returns an
// *UnknownEventError.
func (o *Operator) Show(ctx context.Context, eventID string) (Story, error) {
	// Several statements without a transaction: they only add to each other.
	record, err := o.store.Read.Get(ctx, eventID)
	if errors.Is(err, outbox.ErrNotFound) {
		return Story{}, &UnknownEventError{eventID}
	}
	if err != nil {
		return Story{}, err
	}
	s := Story{Record: record, Advice: Patience(record.Status)}
	var deadAt *time.Time
	var property, rule string
	err = o.pool.QueryRow(ctx, `
SELECT coalesce(o.fingerprint, ''), coalesce(o.revision, 0), o.dead_at, coalesce(e.property, ''), coalesce(e.rule, '')
FROM event o LEFT JOIN LATERAL (`+deciding+`) e ON true WHERE o.event_id = $1`, eventID).
		Scan(&s.Group, &s.Revision, &deadAt, &property, &rule)
	if err != nil {
		return Story{}, fmt.Errorf("operator: show: %w", err)
	}
	if deadAt != nil {
		s.DeadAt, s.Advice = *deadAt, Advice(s.Reason, property, rule)
	}
	if s.Revisions, err = o.revisions(ctx, eventID); err != nil {
		return Story{}, err
	}
	if s.Attempts, err = o.attempts(ctx, &s); err != nil {
		return Story{}, err
	}
	s.Actions, err = o.Audit(ctx, Actions{EventID: eventID, Limit: mostActions})
	slices.Reverse(s.Actions)
	return s, err
}

// mostActions of one event are shown.
const mostActions = 1000

func (o *Operator) revisions(ctx context.Context, eventID string) ([]Revision, error) {
	rows, err := o.pool.Query(ctx, `
SELECT r.revision, r.payload, coalesce(r.action_id, 0), a.at FROM outbox_revision r
  LEFT JOIN operator_action a ON a.id = r.action_id
WHERE r.event_id = $1 ORDER BY r.revision`, eventID)
	if err != nil {
		return nil, fmt.Errorf("operator: show: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (rev Revision, err error) {
		var at *time.Time
		err = r.Scan(&rev.Number, &rev.Payload, &rev.Action, &at)
		if at != nil {
			rev.At = *at
		}
		return rev, err
	})
	if err != nil {
		return nil, fmt.Errorf("operator: show: %w", err)
	}
	return list, nil
}

// attempts puts the errors of an event to the calls that they came with.
func (o *Operator) attempts(ctx context.Context, s *Story) ([]Attempt, error) {
	history, err := o.store.Read.History(ctx, s.EventID)
	if err != nil {
		return nil, err
	}
	errs := map[uuid.UUID][]Error{}
	for _, h := range history {
		errs[h.AttemptID] = append(errs[h.AttemptID], Error{At: h.At, Category: h.Category, Message: h.Message,
			Property: h.Property, Rule: h.Rule, Value: valueOf(s.payloadAt(h.At), h.Property), Raw: h.Raw})
	}
	ids := []uuid.UUID{s.AttemptID}
	for id := range errs {
		ids = append(ids, id)
	}
	rows, err := o.pool.Query(ctx, `
SELECT id, coalesce(parent_id, '00000000-0000-0000-0000-000000000000'),
  kind, worker, state, started_at, closed_at, inputs,
  coalesce(http_status, 0), coalesce(correlation_id, ''), coalesce(detail, '')
FROM attempt WHERE id = ANY($1::uuid[])`, ids)
	if err != nil {
		return nil, fmt.Errorf("operator: show: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a Attempt, err error) {
		var closed *time.Time
		err = r.Scan(&a.ID, &a.Parent, &a.Kind, &a.Worker, &a.State, &a.StartedAt, &closed, &a.Inputs, &a.Status,
			&a.CorrelationID, &a.Detail)
		if closed != nil {
			a.ClosedAt = *closed
		}
		a.Errors = errs[a.ID]
		delete(errs, a.ID)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("operator: show: %w", err)
	}
	// What is left came without a call, or its call is not kept any more.
	for id, e := range errs {
		list = append(list, Attempt{ID: id, StartedAt: e[0].At, ClosedAt: e[0].At, Errors: e})
	}
	slices.SortFunc(list, func(a, b Attempt) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list, nil
}

// payloadAt is what the event was like at a time.
func (s *Story) payloadAt(t time.Time) []byte {
	payload := s.Payload
	for i, r := range s.Revisions {
		if i == 0 || !r.At.After(t) {
			payload = r.Payload
		}
	}
	return payload
}

// valueOf is what an event has as a property, without a string's quotes; "" if it has none.
func valueOf(payload []byte, property string) string {
	var event struct{ Properties map[string]json.RawMessage }
	if property == "" || json.Unmarshal(payload, &event) != nil {
		return ""
	}
	raw := event.Properties[property]
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
