package operator

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Exported is a dead event with its payload.
type Exported struct {
	Event
	Payload []byte // the revision that is in force; good until the next event
}

// Export gives each event that the filter chooses to a function, the one that died first first, until that returns an
// error. It holds one event at a time, and all of them are as they were when it began.
func (o *DeadLetters) Export(ctx context.Context, f Filter, each func(Exported) error) error {
	if err := f.Validate(); err != nil {
		return err
	}
	args := pgx.NamedArgs{}
	rows, err := o.pool.Query(ctx, `
SELECT o.event_id, o.object_type, o.reason, coalesce(o.fingerprint, ''),
  coalesce(o.error, ''), o.attempts, coalesce(o.revision, 0),
  o.dead_at, o.received_at, o.payload
FROM event o WHERE `+f.where(args)+` ORDER BY o.dead_at, o.event_id`, args)
	if err != nil {
		return fmt.Errorf("operator: export: %w", err)
	}
	var e Exported
	_, err = pgx.ForEachRow(rows, []any{&e.EventID, &e.ObjectType, &e.Reason, &e.Group, &e.Error, &e.Attempts, &e.Revision,
		&e.DeadAt, &e.ReceivedAt, &e.Payload}, func() error { return each(e) })
	if err != nil {
		return fmt.Errorf("operator: export: %w", err)
	}
	return nil
}
