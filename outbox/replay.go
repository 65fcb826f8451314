package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Replay is a dead event that a person has sent again.
type Replay struct {
	EventID string
	// Seen is the row's updated_at when it was decided on. A row that has changed since is left alone.
	Seen time.Time
	// AskBy is the id property by which the CRM is asked for the record before anything is sent; "" to send without
	// asking. A row that knows the property of its last call is asked about by that.
	AskBy string
	// PossibleDuplicate says that a record may exist; never taken back.
	PossibleDuplicate bool
}

// A row's updated_at changes whenever the row does. What a row was dead for goes; the error's words stay until there
// are others.
const replayDead = `
UPDATE event o SET status = CASE WHEN u.ask IS NULL THEN 'retry' ELSE 'unknown' END, misses = CASE WHEN u.ask IS NOT NULL THEN 0 END,
  untold = NULL, id_property = CASE WHEN u.ask IS NOT NULL THEN coalesce(o.id_property, u.ask) END,
  next_attempt_at = now(), dead_at = NULL, reason = NULL, fingerprint = NULL,
  attempts_before = o.attempts, replayed_at = now(), possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bool[]) AS u(event_id, seen, ask, duplicate)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.status = 'dead' AND o.updated_at = u.seen
RETURNING o.event_id`

// SendAgain makes dead rows due, as part of a transaction: in `unknown`, to be asked about, or else in `retry`. Their
// attempts and their age are counted anew. It returns the ids of those that it did so with, sorted: rows that are not
// dead any more, or not as they were seen, are left alone. The list is sorted by event id then.
func SendAgain(ctx context.Context, tx pgx.Tx, list []Replay) (eventIDs []string, err error) {
	// The order keeps two of these from waiting for each other.
	slices.SortFunc(list, func(a, b Replay) int { return strings.Compare(a.EventID, b.EventID) })
	n := len(list)
	ids, seen, ask, duplicate := make([]string, n), make([]time.Time, n), make([]*string, n), make([]bool, n)
	for i, r := range list {
		ids[i], seen[i], duplicate[i] = r.EventID, r.Seen, r.PossibleDuplicate
		if r.AskBy != "" {
			ask[i] = &list[i].AskBy
		}
	}
	rows, err := tx.Query(ctx, replayDead, ids, seen, ask, duplicate)
	if err == nil {
		eventIDs, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: replay: %w", err)
	}
	slices.Sort(eventIDs)
	return eventIDs, nil
}
