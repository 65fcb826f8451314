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

// Record is a row of the outbox as people read it.
type Record struct {
	EventID           string
	ObjectType        string
	Status            Status
	Payload           []byte // nil once created, unless it is kept
	RecordID          string
	RecordURL         string
	Warnings          string // a JSON array; "" if there are none
	Result            []byte // with KeepResult
	Reason            Reason
	Error             string
	Attempts          int
	AttemptID         uuid.UUID
	NextAttemptAt     time.Time // zero if none is planned
	InDoubt           bool
	PossibleDuplicate bool
	Stream            string
	StreamSeq         uint64
	ReceivedAt        time.Time
	UpdatedAt         time.Time
}

const recordColumns = `
event_id, object_type, status, payload, coalesce(record_id, ''), coalesce(record_url, ''), coalesce(warnings, ''), result,
coalesce(reason, ''), coalesce(error, ''), attempts, coalesce(attempt_id, '00000000-0000-0000-0000-000000000000'),
next_attempt_at, in_doubt, possible_duplicate, stream, stream_seq, received_at, updated_at`

func scanRecord(r pgx.CollectableRow) (Record, error) {
	var rec Record
	var next *time.Time
	var seq int64
	err := r.Scan(&rec.EventID, &rec.ObjectType, &rec.Status, &rec.Payload, &rec.RecordID, &rec.RecordURL, &rec.Warnings, &rec.Result,
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
	At        time.Time
	AttemptID uuid.UUID // zero if no call was made
	Category  string
	Message   string
	Raw       []byte // nil when there was no answer
	Status    int    // HTTP status of the attempt's answer; 0 if there was none
	// CorrelationID is what HubSpot's support asks for.
	CorrelationID string
	Property      string // that the error is about; "" if it does not tell
	Rule          string // that was broken; "" if it does not tell
}

// History lists the errors of an event, oldest first.
func (s *Reader) History(ctx context.Context, eventID string) ([]HistoryEntry, error) {
	rows, err := s.pool.Query(ctx, `
SELECT e.at, coalesce(e.attempt_id, '00000000-0000-0000-0000-000000000000'), coalesce(e.category, ''), e.message, e.raw,
  coalesce(a.http_status, 0), coalesce(a.correlation_id, ''), coalesce(e.property, ''), coalesce(e.rule, '')
FROM outbox_error e LEFT JOIN attempt a ON a.id = e.attempt_id WHERE e.event_id = $1 ORDER BY e.id`, eventID)
	if err != nil {
		return nil, fmt.Errorf("outbox: history: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[HistoryEntry])
	if err != nil {
		return nil, fmt.Errorf("outbox: history: %w", err)
	}
	return list, nil
}
