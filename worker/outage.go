package worker

import (
	"log/slog"
	"sync"
	"time"
)

// outage logs a failure that repeats once, and its end once. Its methods may be called by many goroutines at once.
type outage struct {
	log  *slog.Logger
	what string // "the database"

	mu    sync.Mutex
	since time.Time // zero while all is well
	count int
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	if o.since.IsZero() {
		o.since = time.Now()
		o.log.Error(o.what+" fails; trying again until it works", "error", err)
	}
}

func (o *outage) worked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return
	}
	o.log.Info(o.what+" works again", "after", time.Since(o.since).Round(time.Millisecond), "failures", o.count)
	o.since, o.count = time.Time{}, 0
}
