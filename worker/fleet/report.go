package fleet

import (
	"sync"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// report is what calls have shown of this worker and its CRM. Its methods may be called by many goroutines at once.
type report struct {
	mu   sync.Mutex
	done time.Time      // when what a call came to was last committed; zero: never
	crm  outbox.Trouble // the last calls in a row that brought no answer about their events; zero: the last one did
	call time.Duration  // what a call takes, on average; 0: not known yet
}

// Committed is called when what a call came to is in the outbox.
func (m *Member) Committed() {
	m.report.mu.Lock()
	defer m.report.mu.Unlock()
	m.report.done = time.Now()
}

// Answered takes in what a call came to. A refusal for the rate that others' use of the account explains is not to be
// told: it is nothing that is in this worker's way.
func (m *Member) Answered(class worker.Class, call *worker.Call) {
	m.report.timed(class, call)
	m.report.answered(class, call)
}

func (r *report) answered(class worker.Class, call *worker.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind := outbox.Broken
	switch class {
	case worker.Throttled:
		kind = outbox.Throttling
	case worker.Unavailable, worker.Ambiguous:
		switch {
		case call.Cause == worker.NoAnswer && class == worker.Unavailable:
			kind = outbox.Unreachable
		case call.Cause == worker.NoAnswer, call.Success: // what came can't be read
			kind = outbox.Silent
		}
	default: // the CRM is there
		r.crm = outbox.Trouble{}
		return
	}
	if r.crm.Since.IsZero() {
		r.crm.Since = time.Now().Add(-call.Duration)
	}
	r.crm.Times++
	r.crm.Kind, r.crm.Why = kind, call.ForLog()
}

// timed learns how long a call took that the CRM has looked at. Any other shows nothing of what could be done: while
// the CRM is down calls take as long as they are waited for, and more workers would help nobody.
func (r *report) timed(class worker.Class, call *worker.Call) {
	if call.Unsent || class != worker.Answered && class != worker.Refused && class != worker.TooLarge {
		return
	}
	took := call.Duration
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call == 0 {
		r.call = took
	}
	r.call += (took - r.call) / 16
}

// mostRate is about what a worker and its database do where calls take no time.
const mostRate = 100_000

// capacity is what a worker with so many slots could do.
func (r *report) capacity(slots, batch int) outbox.Capacity {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := outbox.Capacity{Batch: batch}
	if r.call > 0 {
		c.Rate = min(float64(slots*batch)/r.call.Seconds(), mostRate)
	}
	return c
}

// read is when what a call came to was last committed, and what is the matter with the CRM; nil if nothing is.
func (r *report) read() (done time.Time, crm *outbox.Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.crm.Since.IsZero() {
		trouble := r.crm
		crm = &trouble
	}
	return r.done, crm
}
