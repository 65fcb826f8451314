package worker

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"crmintake/outbox"
)

// clockSkew is by how much the CRM's clock may differ from the database's.
const clockSkew = time.Minute

// judge turns what a call told of one event into what is committed. It is the one place that knows what each verdict
// means for a row.
type judge struct {
	retry      Retry
	onConflict OnConflict
	settle     time.Duration
	keep       bool
}

// outcome judges a create call. hasID tells whether the object type has an id property, by which a record can be found.
func (j judge) outcome(r *row, o *Outcome, class Class, call *Call, hasID bool) outbox.Settlement {
	if o.Verdict == Created {
		return j.created(r, Found{RecordID: o.RecordID, URL: o.URL}, o)
	}
	s := outbox.Settlement{EventID: r.id, Counted: counts(class, o.Verdict), Error: inWords(o, call)}
	for _, e := range o.Errors {
		s.Errors = append(s.Errors, outbox.Error{Category: e.Category, Message: e.Message, Property: e.Property, Rule: e.Rule, Raw: e.Raw})
	}
	if len(s.Errors) == 0 {
		s.Errors = []outbox.Error{{Message: call.Detail, Raw: call.Raw}}
	}
	switch {
	case o.Verdict == Unknown:
		s.InDoubt = true
		return j.unknown(s, hasID)
	case o.Verdict == NotApplied:
		return j.again(s, r, class, call.Wait)
	case o.Conflict && r.inDoubt && hasID && !j.spent(r, r.attempts+1):
		// Perhaps it is our own record that is in the way, of a call that broke off: ask.
		return j.unknown(s, hasID)
	case o.Conflict && j.onConflict == Adopt && o.Existing != "":
		return j.created(r, Found{RecordID: o.Existing}, o)
	case o.Conflict && j.onConflict == Adopt && hasID && !j.spent(r, r.attempts+1):
		return j.unknown(s, hasID)
	case o.Conflict:
		s.Status, s.Reason = outbox.Dead, outbox.Conflict
	default:
		s.Status, s.Reason = outbox.Dead, outbox.Rejected
	}
	return s
}

// found judges a read call for a row that was in doubt. Found is nil when the CRM has no such record.
func (j judge) found(r *row, found *Found) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id}
	switch {
	case found == nil && r.misses == 0:
		s.Missed = true
		s.Status, s.Wait = outbox.Unknown, j.settle
		s.Error = "the record was not there when asked for; asking once more before it is sent again"
	case found == nil && j.spent(r, r.attempts):
		s.Missed = true
		s.Status, s.Reason = outbox.Dead, outbox.Exhausted
		s.Error = "the record was not there when asked for twice, after too many attempts or too long a time to send it again"
		s.Errors = []outbox.Error{{Message: s.Error}}
	case found == nil:
		s.Missed = true
		s.Status = outbox.Retry
		s.Error = "the record was not there when asked for twice; it is sent again"
	case !found.CreatedAt.IsZero() && found.CreatedAt.Before(r.receivedAt.Add(-clockSkew)) && j.onConflict != Adopt:
		s.Status, s.Reason = outbox.Dead, outbox.Conflict
		s.Error = "record " + found.RecordID + " has the same unique value, and is older than this event"
		s.Errors = []outbox.Error{{Category: "CONFLICT", Message: s.Error}}
	default:
		return j.created(r, *found, nil)
	}
	return s
}

// notRead is for a row about which a read told nothing. It is asked about again after wait, and some time more: not always
// together with the rows that it was asked about with.
func (j judge) notRead(r *row, wait time.Duration, call *Call) outbox.Settlement {
	return outbox.Settlement{
		EventID: r.id, Status: outbox.Unknown, Wait: wait + j.wait(r.attempts+1), Error: "could not be asked about: " + call.Detail,
	}
}

func (j judge) created(r *row, f Found, o *Outcome) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id, Status: outbox.Created, RecordID: f.RecordID, URL: f.URL, Keep: j.keep}
	if o != nil {
		s.Counted, s.Warnings, s.Result = true, o.Warnings, o.Result
	}
	return s
}

// unknown is due when the call has certainly come to its end, if there is something to ask then, else at once.
func (j judge) unknown(s outbox.Settlement, hasID bool) outbox.Settlement {
	s.Status = outbox.Unknown
	if hasID && s.InDoubt {
		s.Wait = j.settle
	}
	return s
}

// again is for what was certainly not applied.
func (j judge) again(s outbox.Settlement, r *row, class Class, asked time.Duration) outbox.Settlement {
	s.Status = outbox.Retry
	switch {
	case class == PauseAccount || class == PauseObjectType:
		// The pause holds it back, and is to bring it forward when it ends.
	case !s.Counted:
		s.Wait = asked
	case j.spent(r, r.attempts+1):
		s.Status, s.Reason = outbox.Dead, outbox.Exhausted
	default:
		s.Wait = max(asked, j.wait(r.attempts+1))
	}
	return s
}

// spent tells whether an event with so many attempts is not to be sent again.
func (j judge) spent(r *row, attempts int) bool {
	return attempts >= j.retry.Attempts || r.age >= j.retry.Age
}

// wait draws how long to wait after so many attempts: full jitter, up to Max.
func (j judge) wait(attempts int) time.Duration {
	// The library draws from its interval, half of ours, plus or minus all of it.
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(max(j.retry.Initial/2, 1)), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(max(j.retry.Max/2, 1)), backoff.WithRandomizationFactor(1), backoff.WithMaxElapsedTime(0))
	for range attempts - 1 {
		b.NextBackOff()
	}
	return b.NextBackOff()
}

// counts tells whether a call counts as an attempt of an event: the CRM has looked at it, or may have. What was refused for
// another's fault does not.
func counts(c Class, v Verdict) bool {
	switch c {
	case Answered, Ambiguous:
		return true
	case Refused, TooLarge:
		return v != NotApplied
	}
	return false
}

// inWords is the one line that a person reads first.
func inWords(o *Outcome, call *Call) string {
	for _, e := range o.Errors {
		if e.Message != "" {
			if e.Category != "" {
				return e.Category + ": " + e.Message
			}
			return e.Message
		}
	}
	return call.Detail
}
