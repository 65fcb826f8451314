package worker

import (
	"log/slog"
	"sync"
	"time"

	"crmintake/outbox"
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
	stuck int // how many have failed and wait to try again
}

// wait is told by one that has failed and tries again, until it calls the returned function: it is not over before that,
// whatever works meanwhile for others. Where reads work and writes do not, it would begin and end all the time.
func (o *outage) wait() (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stuck++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.stuck--
	}
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
	if o.since.IsZero() || o.stuck > 0 || time.Since(o.last) < o.quiet {
		return
	}
	o.log.Info(o.what+" works again", "after", o.last.Sub(o.since).Round(time.Millisecond), "failures", o.count)
	o.since, o.count = time.Time{}, 0
}

// lasting tells for how long it has failed by now; 0 if it works.
func (o *outage) lasting() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0
	}
	return max(time.Since(o.since), 1)
}

// calm tells whether nothing has failed for so long.
func (o *outage) calm(d time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.last) >= d
}

// refusals logs what the database refuses for its content, which is no outage: once for each SQLSTATE, and again
// while it goes on. Its methods may be called by many goroutines at once.
type refusals struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]time.Time // by SQLSTATE
}

// refusalsAgain is how long a refusal that was logged is not logged again.
const refusalsAgain = 10 * time.Minute

func (r *refusals) refused(state string, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.told[state]; ok && now.Sub(at) < refusalsAgain {
		return
	}
	r.told[state] = now
	r.log.Error("the database refuses what it was to write", "sqlstate", state, "error", err)
}

// databaseFailed tells of an error of the database: that it is away, or that it refuses data, and then repeating
// reports false.
func (w *Worker) databaseFailed(err error) (repeating bool) {
	if state := outbox.DataState(err); state != "" {
		w.refusals.refused(state, err)
		return false
	}
	w.database.failed(err)
	return true
}
