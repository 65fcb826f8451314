package worker

import (
	"log/slog"
	"sync"
	"time"
)

// outage logs a failure that repeats once, and its end once. Its methods may be called by many goroutines at once.
type outage struct {
	log   *slog.Logger
	what  string        // "the database"
	quiet time.Duration // how long nothing may have failed for it to be over

	mu    sync.Mutex
	since time.Time // zero while all is well
	last  time.Time // the last failure
	count int
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.last = time.Now()
	if o.since.IsZero() {
		o.since = o.last
		o.log.Error(o.what+" fails; trying again until it works", "error", err)
	}
}

func (o *outage) worked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || time.Since(o.last) < o.quiet {
		return
	}
	o.log.Info(o.what+" works again", "after", o.last.Sub(o.since).Round(time.Millisecond), "failures", o.count)
	o.since, o.count = time.Time{}, 0
}

// calm tells whether nothing has failed for so long.
func (o *outage) calm(d time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.last) >= d
}
