package pipeline

import (
	"log/slog"
	"sync"
	"time"

	"crmintake/worker/fleet"
)

// failureLog logs a failure that repeats once, once more for each cause that lasts, and its end once. Its methods may
// be called by many goroutines at once.
type failureLog struct {
	log   *slog.Logger
	what  string             // "the database"
	quiet time.Duration      // how long nothing may have failed for it to be over
	cause func(error) string // what failures of one cause have in common; nil: their words

	mu    sync.Mutex
	since time.Time // zero while all is well
	last  time.Time // the last failure
	well  time.Time // the first success after that; zero: none yet
	err   error     // the last failure's
	now   string    // its cause,
	nowAt time.Time // since when there was no other,
	told  string    // and the one that was logged last
	count int
	stuck int // how many have failed and wait to try again
}

// causeLasts is for how long there is no other cause until one is logged that an outage did not begin with: what a
// failover passes through is not worth a line, and where it ends up is.
const causeLasts = 3 * time.Second

// wait is called by one that has failed and tries again, which calls the returned function in the end: it is not over
// before that, whatever works meanwhile for others. Where reads work and writes do not, it would begin and end all the
// time.
func (o *failureLog) wait() (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stuck++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.stuck--
	}
}

func (o *failureLog) failed(err error) {
	cause := err.Error()
	if o.cause != nil {
		cause = o.cause(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.last, o.well, o.err = time.Now(), time.Time{}, err
	if cause != o.now || o.since.IsZero() {
		o.now, o.nowAt = cause, o.last
	}
	switch {
	case o.since.IsZero():
		o.since, o.told = o.last, cause
		o.log.Error(o.what+" fails; trying again until it works", "error", err)
	case cause != o.told && o.last.Sub(o.nowAt) >= causeLasts:
		o.told = cause
		o.log.Error(o.what+" fails still, for another reason", "error", err, "since",
			o.last.Sub(o.since).Round(time.Millisecond))
	}
}

func (o *failureLog) worked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || o.stuck > 0 {
		return
	}
	if o.well.IsZero() {
		o.well = time.Now()
	}
	if time.Since(o.last) < o.quiet {
		return
	}
	o.log.Info(o.what+" works again", "after", o.well.Sub(o.since).Round(time.Millisecond), "failures", o.count)
	o.since, o.count, o.err = time.Time{}, 0, nil
}

// lasting is for how long it has failed by now; 0 if it works.
func (o *failureLog) lasting() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0
	}
	return max(time.Since(o.since), 1)
}

// failure is for how long it has failed by now, and how the last time; 0 and nil if it works.
func (o *failureLog) failure() (lasting time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0, nil
	}
	return max(time.Since(o.since), 1), o.err
}

// calm reports whether nothing has failed for so long.
func (o *failureLog) calm(d time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.last) >= d
}

// failureLogs are a failureLog for each object type. Its methods may be called by many goroutines at once.
type failureLogs struct {
	mu   sync.Mutex
	logs map[string]*failureLog
}

// of returns an object type's, which begin makes the first time.
func (l *failureLogs) of(objectType string, begin func() *failureLog) *failureLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logs == nil {
		l.logs = map[string]*failureLog{}
	}
	if l.logs[objectType] == nil {
		l.logs[objectType] = begin()
	}
	return l.logs[objectType]
}

// outages are the failures that go on, by object type.
func (l *failureLogs) outages() map[string]fleet.Outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := map[string]fleet.Outage{}
	for objectType, one := range l.logs {
		if outage := one.outage(); outage.Err != nil {
			list[objectType] = outage
		}
	}
	return list
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
