package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Records says by what the CRM can be asked for the record of an event. The zero value: by nothing.
type Records struct {
	Property map[string]string // by object type: its id property, whose values are unique
	// Value returns the value that an event itself has for a property, or "".
	Value func(payload []byte, property string) string
}

// Replay says what is sent again, and how.
type Replay struct {
	// Plan says which events. Those of them that are not as they were then count as skipped.
	Plan   ReplayPlan
	Rate   float64 // events a second, of a job, from SlowestReplay to FastestReplay; 0: as the fleet takes them
	Reason string  // why, for the audit
}

// What rates a replay job can have, in events a second. The slowest is about one a day.
const (
	SlowestReplay = 0.00001
	FastestReplay = 1000000
)

// ReplayDone is what a replay has done: sent again is not created.
type ReplayDone struct {
	Replayed int64 `json:"replayed"` // due now, to be sent or asked about
	Skipped  int64 `json:"skipped"`  // had changed since the plan, or can't be sent at all
	Held     int64 `json:"held"`     // may have a record already, and stay dead
}

// ErrNothing says that no event is as the filter wants it.
var ErrNothing = errors.New("operator: no dead event is like that")

// candidate is a dead row that is to be replayed.
type candidate struct {
	eventID, objectType string
	seen                time.Time
	unresolved          bool   // the outcome of its last call is unknown, and nobody has asked
	inDoubt             bool   // a call of its past may have made a record
	edited              bool   // since that call, perhaps
	askBy               string // by what its last call can be asked about; "" if that is not known
	payload             []byte // of a row in doubt
}

const candidateColumns = `
  o.event_id, o.object_type, o.updated_at, o.reason = 'unknown_outcome', o.in_doubt, o.revision IS NOT NULL,
  coalesce(o.id_property, ''), CASE WHEN o.in_doubt OR o.reason = 'unknown_outcome' THEN o.payload END`

func scanCandidate(r pgx.CollectableRow) (c candidate, err error) {
	err = r.Scan(&c.eventID, &c.objectType, &c.seen, &c.unresolved, &c.inDoubt, &c.edited, &c.askBy, &c.payload)
	return c, err
}

// how is what can be done with a candidate.
type how uint8

const (
	send      how = iota // certainly not applied
	ask                  // perhaps applied: the CRM tells
	risk                 // perhaps applied, and nothing tells
	sendNever            // the message's subject named no object type
)

// judge says what can be done, and by what is asked if so. A row that was in doubt and is dead for another reason was
// asked about before that, if there is an id property. One whose outcome nobody could find out is asked about by what
// it was sent with; where that is not known, only if its own bytes, which are those that were sent, have the property
// of today.
func (r Records) judge(c *candidate) (do how, askBy string) {
	property := r.Property[c.objectType]
	switch {
	case c.objectType == "":
		return sendNever, ""
	case !c.unresolved && !c.inDoubt, !c.unresolved && property != "":
		return send, ""
	case c.edited:
		return risk, ""
	case c.askBy != "":
		return ask, c.askBy
	case property != "" && r.Value != nil && r.Value(c.payload, property) != "":
		return ask, property
	}
	return risk, ""
}

// replay sends candidates again that may be, as part of a transaction, under the audit's action.
func (r Records) replay(ctx context.Context, tx pgx.Tx, action int64, list []candidate,
	allowDuplicate bool) (done ReplayDone, err error) {
	var again []outbox.Replay
	for i := range list {
		c := &list[i]
		how, askBy := r.judge(c)
		switch {
		case how == sendNever:
			done.Skipped++
			continue
		case how == risk && !allowDuplicate:
			done.Held++
			continue
		}
		again = append(again, outbox.Replay{EventID: c.eventID, Seen: c.seen, AskBy: askBy, PossibleDuplicate: how == risk})
	}
	ids, err := outbox.SendAgain(ctx, tx, again)
	if err != nil {
		return ReplayDone{}, err
	}
	done.Replayed = int64(len(ids))
	done.Skipped += int64(len(again) - len(ids))
	return done, RecordEvents(ctx, tx, action, ids)
}

// ReplayDirectly is how many events Replays.Now takes at most: what fits into one call.
const ReplayDirectly = 100

// Now makes the events due at once, in one transaction: at most ReplayDirectly. ErrNothing means that none of them is
// left as it was. Two that do it at once with the same events do it once.
func (o *Replays) Now(ctx context.Context, r Replay) (done ReplayDone, err error) {
	if err := r.validate(); err != nil {
		return ReplayDone{}, err
	}
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"most": ReplayDirectly + 1}
		rows, err := tx.Query(ctx, `SELECT `+candidateColumns+` FROM event o WHERE `+r.Plan.Filter.where(args)+`
ORDER BY o.event_id LIMIT @most FOR UPDATE`, args)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanCandidate)
		switch {
		case err != nil:
			return err
		case len(list) == 0:
			return ErrNothing
		case len(list) > ReplayDirectly:
			return fmt.Errorf("more than %d events at once", ReplayDirectly)
		}
		done = r.Plan.records.count(list, r.Plan.AllowDuplicate)
		done.Skipped += max(r.Plan.TotalEvents-int64(len(list)), 0)
		if done.Replayed == 0 {
			return nil // nothing was done that the audit could tell of
		}
		action, err := Record(ctx, tx, Action{
			Operator: o.cfg.Name, Action: "replay", Reason: r.Reason, Filter: &r.Plan.Filter, Detail: r.detail(0),
			Events: done.Replayed, Skipped: done.Skipped + done.Held,
		})
		if err != nil {
			return err
		}
		_, err = r.Plan.records.replay(ctx, tx, action, list, r.Plan.AllowDuplicate)
		return err
	})
	if err != nil {
		return ReplayDone{}, replayError(err)
	}
	return done, nil
}

// count says what replay does with rows that are locked.
func (r Records) count(list []candidate, allowDuplicate bool) (done ReplayDone) {
	for i := range list {
		switch how, _ := r.judge(&list[i]); {
		case how == sendNever:
			done.Skipped++
		case how == risk && !allowDuplicate:
			done.Held++
		default:
			done.Replayed++
		}
	}
	return done
}

// detail is what the audit keeps beside the filter. The job is 0 if there is none.
func (r Replay) detail(job int64) json.RawMessage {
	b, _ := json.Marshal(struct {
		Job            int64   `json:"job,omitempty"`
		AllowDuplicate bool    `json:"allow_duplicate,omitempty"`
		Rate           float64 `json:"rate,omitempty"`
	}{job, r.Plan.AllowDuplicate, r.Rate})
	return b
}

// CheckRate returns a *FilterError if no job can have this rate.
func CheckRate(rate float64) error {
	if rate == 0 || SlowestReplay <= rate && rate <= FastestReplay {
		return nil
	}
	return &FilterError{fmt.Sprintf("a rate of %v events a second can't be kept: give one from 0.00001, about one a "+
		"day, to 1,000,000", rate)}
}

func (r Replay) validate() error {
	if err := CheckRate(r.Rate); err != nil {
		return err
	}
	return r.Plan.check()
}

// replayError names the package, but for what callers know by its type or value.
func replayError(err error) error {
	if filter := (*FilterError)(nil); errors.As(err, &filter) || errors.Is(err, ErrNothing) || errors.Is(err,
		ErrEverything) ||
		errors.Is(err, ErrNoReplay) {
		return err
	}
	return fmt.Errorf("operator: replay: %w", err)
}
