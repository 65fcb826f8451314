package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Reader reads the outbox, and changes nothing.
type Reader struct{ pool *Pool }

// ErrNotFound says that the outbox has no such event.
var ErrNotFound = errors.New("outbox: no such event")

// Record is a row of the outbox as people read it. Times are by the database's clock.
type Record struct {
	EventID           string    `json:"event_id"`
	ObjectType        string    `json:"object_type"`
	Status            Status    `json:"status"`
	Reason            Reason    `json:"reason,omitempty"`
	Error             string    `json:"error,omitempty"`
	RecordID          string    `json:"record_id,omitempty"`
	RecordURL         string    `json:"record_url,omitempty"`
	Warnings          Warnings  `json:"warnings,omitempty"`
	Attempts          int       `json:"attempts"`
	AttemptID         uuid.UUID `json:"attempt_id,omitzero"`
	NextAttemptAt     time.Time `json:"next_attempt_at,omitzero"` // zero if none is planned
	InDoubt           bool      `json:"in_doubt,omitempty"`
	PossibleDuplicate bool      `json:"possible_duplicate"`
	Stream            string    `json:"stream"`
	StreamSeq         uint64    `json:"stream_seq"`
	ReceivedAt        time.Time `json:"received_at"`
	UpdatedAt         time.Time `json:"updated_at"`
	Payload           Payload   `json:"payload,omitzero"` // nil once created, unless it is kept
	Result            Bytes     `json:"result,omitzero"`  // with KeepResult
}

const recordColumns = `
event_id, object_type, status, payload, coalesce(record_id, ''), coalesce(record_url, ''), coalesce(warnings, ''), result,
coalesce(reason, ''), coalesce(error, ''), attempts, coalesce(attempt_id, '00000000-0000-0000-0000-000000000000'),
next_attempt_at, in_doubt, possible_duplicate, stream, stream_seq, received_at, updated_at`

func scanRecord(r pgx.CollectableRow) (Record, error) {
	var rec Record
	var next *time.Time
	var seq int64
	err := r.Scan(&rec.EventID, &rec.ObjectType, &rec.Status, (*[]byte)(&rec.Payload), &rec.RecordID, &rec.RecordURL, (*string)(&rec.Warnings), (*[]byte)(&rec.Result),
		&rec.Reason, &rec.Error, &rec.Attempts, &rec.AttemptID, &next, &rec.InDoubt, &rec.PossibleDuplicate,
		&rec.Stream, &seq, &rec.ReceivedAt, &rec.UpdatedAt)
	if next != nil {
		rec.NextAttemptAt = *next
	}
	rec.StreamSeq = uint64(seq)
	return rec, err
}

// Get returns the row of an event, or ErrNotFound.
func (s *Reader) Get(ctx context.Context, eventID string) (Record, error) {
	rows, err := s.pool.Query(ctx, `SELECT`+recordColumns+` FROM outbox WHERE event_id = $1`, planAnew, eventID)
	if err != nil {
		return Record{}, fmt.Errorf("outbox: get: %w", err)
	}
	rec, err := pgx.CollectExactlyOneRow(rows, scanRecord)
	if errors.Is(err, pgx.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("outbox: get: %w", err)
	}
	return rec, nil
}

// HistoryEntry is one error of an event's past, as received.
type HistoryEntry struct {
	At            time.Time `json:"at"`                       // by the database's clock
	AttemptID     uuid.UUID `json:"attempt_id,omitzero"`      // zero if no call was made
	Status        int       `json:"http_status,omitempty"`    // of the attempt's answer; 0 if there was none
	CorrelationID string    `json:"correlation_id,omitempty"` // HubSpot's support asks for it
	Category      string    `json:"category,omitempty"`
	Message       string    `json:"message"`
	Property      string    `json:"property,omitempty"` // that the error is about; "" if it names none
	Rule          string    `json:"rule,omitempty"`     // that was broken; "" if it names none
	Raw           Bytes     `json:"raw,omitzero"`       // nil when there was no answer
}

// History lists the errors of an event, oldest first.
func (s *Reader) History(ctx context.Context, eventID string) ([]HistoryEntry, error) {
	rows, err := s.pool.Query(ctx, `
SELECT e.at, coalesce(e.attempt_id, '00000000-0000-0000-0000-000000000000'), coalesce(a.http_status, 0),
  coalesce(a.correlation_id, ''), coalesce(e.category, ''), e.message, coalesce(e.property, ''), coalesce(e.rule, ''), e.raw
FROM outbox_error e LEFT JOIN attempt a ON a.id = e.attempt_id WHERE e.event_id = $1 ORDER BY e.id`, eventID)
	if err != nil {
		return nil, fmt.Errorf("outbox: history: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (e HistoryEntry, err error) {
		err = r.Scan(&e.At, &e.AttemptID, &e.Status, &e.CorrelationID, &e.Category, &e.Message, &e.Property, &e.Rule,
			(*[]byte)(&e.Raw))
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: history: %w", err)
	}
	return list, nil
}
