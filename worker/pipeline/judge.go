package pipeline

import (
	"math/rand/v2"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/pauses"
)

// judge turns what a call told of one event into what is committed. It is the one place that knows what each verdict
// means for a row.
type judge struct {
	retry      Retry
	onConflict OnConflict
	settle     time.Duration
	keep       bool
}

// outcome judges a create call, whose inputs were sent with this id property; "" for none.
func (j judge) outcome(r *row, o *worker.Outcome, class worker.Class, call *worker.Call,
	idProperty string) outbox.Settlement {
	if o.Verdict == worker.Created {
		return j.created(r, worker.Found{RecordID: o.RecordID, URL: o.URL}, o)
	}
	s := outbox.Settlement{EventID: r.id, Counted: counts(class, o.Verdict), Error: inWords(o, call)}
	if o.Verdict == worker.NotApplied && (class == worker.PauseAccount || class == worker.PauseObjectType) {
		return j.again(s, r, class, call.Wait, idProperty) // the pause says why, and each trial would say it again
	}
	for _, e := range o.Errors {
		s.Errors = append(s.Errors, outbox.Error{Category: e.Category, Message: e.Message, Property: e.Property,
			Rule: e.Rule, Raw: e.Raw})
	}
	if len(s.Errors) == 0 {
		s.Errors = []outbox.Error{{Message: call.Detail, Raw: call.Raw}}
	}
	switch o.Verdict {
	case worker.Unknown:
		s.InDoubt = true
		if idProperty != "" {
			s.Wait = j.settle
		}
		return asking(s, r, idProperty)
	case worker.NotApplied:
		return j.again(s, r, class, call.Wait, idProperty)
	}
	return j.refused(s, r, o, idProperty)
}

// refused judges an input that was rejected. What was in doubt before may have a record all the same, above all where
// a unique value is in the way: it is asked about before the refusal is believed.
func (j judge) refused(s outbox.Settlement, r *row, o *worker.Outcome, idProperty string) outbox.Settlement {
	adopt := o.Conflict && j.onConflict == Adopt
	s.Reason = outbox.Rejected
	if o.Conflict {
		s.Reason = outbox.Conflict
	}
	switch {
	case !r.inDoubt && !adopt:
		s.Status = outbox.Dead
	case o.Existing != "" && o.Conflict:
		if r.inDoubt {
			s.Reason = outbox.UnknownOutcome // until that record has shown whose it is
		}
		s = asking(s, r, outbox.ByRecordID)
		s.IDValue = o.Existing
	case idProperty != "":
		if r.inDoubt && o.Conflict && aboutIDProperty(o, idProperty) {
			s.Reason = outbox.UnknownOutcome // that there is no such record would contradict this answer
		}
		s = asking(s, r, idProperty)
	case r.inDoubt:
		s.Status, s.Reason = outbox.Dead, outbox.UnknownOutcome
	default:
		s.Status = outbox.Dead
	}
	return s
}

// asking leaves a row to be asked about by this property; by "", nothing can be asked.
func asking(s outbox.Settlement, r *row, idProperty string) outbox.Settlement {
	s.Status, s.IDProperty = outbox.Unknown, idProperty
	if r.explicit() {
		s.IDValue = r.input.IDValue
	}
	return s
}

// aboutIDProperty reports whether a conflict may be about the id property: it says so, or does not say what it is
// about.
func aboutIDProperty(o *worker.Outcome, idProperty string) bool {
	for _, e := range o.Errors {
		if e.Property != "" && e.Property != idProperty {
			return false
		}
	}
	return true
}

// missing is for a row in doubt of which a read has proven that it has no record. That is believed the second time;
// where it contradicts a conflict, it is asked for as long as an event may be sent again.
func (j judge) missing(r *row) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id, Missed: true, Reason: r.pending}
	contradiction := r.pending == outbox.UnknownOutcome
	switch {
	case r.misses == 0 || contradiction && !j.spent(r, r.misses+1):
		s.Status, s.Wait = outbox.Unknown, min(j.settle<<min(r.misses, 10), max(j.retry.Max, j.settle))
		if r.pending == "" {
			s.Error = "the record was not there when asked for; asking once more before it is sent again"
		}
	case r.pending != "":
		s.Status = outbox.Dead // in the words of the refusal
	case j.spent(r, r.attempts):
		s.Status, s.Reason = outbox.Dead, outbox.Exhausted
		s.Error = "the record was not there when asked for twice, after too many attempts or too long a time to send it again"
		s.Errors = []outbox.Error{{Message: s.Error}}
	default:
		s.Status = outbox.Retry
		s.Error = "the record was not there when asked for twice; it is sent again"
	}
	return s
}

// untold is for a row of which the answer to a read told nothing. A row of many is asked about again at once, alone
// if the answer told something of others; one that was asked about alone, later, for as long as an event may be sent
// again. Then a person decides.
func (j judge) untold(r *row, answer *worker.ReadAnswer, alone bool) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id, Status: outbox.Unknown, Reason: r.pending,
		Untold: len(answer.Found) > 0 || len(answer.Missing) == 0}
	if r.pending == "" {
		s.Error = "could not be found out: " + answer.Call.Detail
	}
	if !alone {
		return s
	}
	s.Wait = j.wait(r.untold + 1)
	if j.spent(r, r.untold+1) {
		return j.parked(r, "the CRM did not tell whether the record exists: "+answer.Call.Detail, answer.Call.Raw)
	}
	return s
}

// notRead is for a row that could not be asked about. It is due again after wait, and some time more: not always
// together with the rows that it was asked about with.
func (j judge) notRead(r *row, wait time.Duration, call *worker.Call) outbox.Settlement {
	if r.age >= j.retry.Age {
		return j.parked(r, "for too long it could not be asked whether the record exists: "+call.Detail, call.Raw)
	}
	s := outbox.Settlement{EventID: r.id, Status: outbox.Unknown, Wait: wait + j.wait(r.attempts+1), Reason: r.pending}
	if r.pending == "" {
		s.Error = "could not be asked about: " + call.Detail
	}
	return s
}

// asked is for a row of which is known why nothing is known yet: it is asked about again.
func (j judge) asked(r *row, why string) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id, Status: outbox.Unknown, Wait: j.settle, Reason: r.pending}
	if r.pending == "" {
		s.Error = why
	}
	return s
}

// parked leaves a row in doubt to a person.
func (j judge) parked(r *row, why string, raw []byte) outbox.Settlement {
	return outbox.Settlement{
		EventID: r.id, Status: outbox.Dead, Reason: outbox.UnknownOutcome, Error: why,
		Errors: []outbox.Error{{Message: why, Raw: raw}},
	}
}

// conflict is for a row whose unique value is another record's.
func (j judge) conflict(r *row, why string) outbox.Settlement {
	return outbox.Settlement{
		EventID: r.id, Status: outbox.Dead, Reason: outbox.Conflict, Error: why,
		Errors: []outbox.Error{{Category: "CONFLICT", Message: why}},
	}
}

func (j judge) created(r *row, f worker.Found, o *worker.Outcome) outbox.Settlement {
	s := outbox.Settlement{EventID: r.id, Status: outbox.Created, RecordID: f.RecordID, URL: f.URL, Keep: j.keep}
	if o != nil {
		s.Counted, s.Warnings, s.Result = true, o.Warnings, o.Result
	}
	return s
}

// again is for what was certainly not applied by this call. What was in doubt before is asked about once more before
// it ends.
func (j judge) again(s outbox.Settlement, r *row, class worker.Class, asked time.Duration,
	idProperty string) outbox.Settlement {
	s.Status = outbox.Retry
	switch {
	case s.Counted && j.spent(r, r.attempts+1) || r.age >= j.retry.Age:
		s.Reason = outbox.Exhausted
		switch {
		case r.inDoubt && idProperty != "":
			return asking(s, r, idProperty)
		case r.inDoubt:
			s.Reason = outbox.UnknownOutcome
		}
		s.Status = outbox.Dead
	case class == worker.PauseAccount || class == worker.PauseObjectType:
		// The pause holds it back, and is to bring it forward when it ends.
	case class == worker.Throttled:
		// A longer wait is the worker's and the quota's, and ends for all when a person ends it.
		s.Wait = min(asked, pauses.Longest)
	case !s.Counted:
		s.Wait = asked
	default:
		s.Wait = max(asked, j.wait(r.attempts+1))
	}
	return s
}

// spent reports whether an event with so many attempts is not to be sent again.
func (j judge) spent(r *row, attempts int) bool {
	return attempts >= j.retry.Attempts || r.age >= j.retry.Age
}

// wait draws how long to wait after so many attempts: full jitter.
func (j judge) wait(attempts int) time.Duration {
	waits := j.retry.waits()
	return rand.N(waits[min(attempts, len(waits))-1] + 1)
}

// waits are the longest waits after one attempt, after two, and so on; the last is for all further ones. This is the
// rule of backoff, also for rows that the outbox sends again by itself.
func (r Retry) waits() (waits []time.Duration) {
	for wait := r.Initial; wait > 0 && wait < r.Max; wait *= 2 {
		waits = append(waits, wait)
	}
	return append(waits, r.Max)
}

// counts reports whether a call counts as an attempt of an event: the CRM has looked at it, or may have. What was
// refused for another's fault does not.
func counts(c worker.Class, v worker.Verdict) bool {
	switch c {
	case worker.Answered, worker.Ambiguous:
		return true
	case worker.Refused, worker.TooLarge:
		return v != worker.NotApplied
	}
	return false
}

// inWords is the one line that a person reads first.
func inWords(o *worker.Outcome, call *worker.Call) string {
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
