package fleet

import (
	"testing"
	"time"

	"crmintake/worker"
)

// What a worker can do is known from calls that the CRM looked at, and from no other.
func TestCallsThatTellNothing(t *testing.T) {
	var r report
	slots := 1
	can := func(when string, want float64) {
		t.Helper()
		if got := r.capacity(slots, 100).Rate; got != want {
			t.Errorf("%s: %v records a second, want %v", when, got, want)
		}
	}
	for _, class := range []worker.Class{worker.Ambiguous, worker.Throttled, worker.Unavailable,
		worker.PauseAccount, worker.PauseObjectType} {
		r.timed(class, &worker.Call{Duration: time.Minute})
	}
	r.timed(worker.Refused, &worker.Call{Unsent: true, Duration: time.Minute})
	can("before", 0)
	r.timed(worker.Answered, &worker.Call{Duration: time.Second})
	can("one call", 100)
	for range 100 {
		r.timed(worker.Ambiguous, &worker.Call{Duration: time.Minute})
		r.timed(worker.Unavailable, &worker.Call{})
	}
	can("while the CRM is down", 100)
	for _, class := range []worker.Class{worker.Refused, worker.TooLarge} {
		r.timed(class, &worker.Call{Duration: time.Second})
	}
	can("refused ones", 100)
	slots = 1 << 20
	can("no worker does more", mostRate)
}
