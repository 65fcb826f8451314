package pauses

import (
	"sync"
	"time"
)

// Backoff keeps this worker from calling a CRM that is not well, or that wants fewer calls. After one for failures a
// scout goes first, a call with one event, and all others wait for what becomes of it. The zero value lets all calls
// pass.
type Backoff struct {
	mu     sync.Mutex
	now    backoff
	scouts int // under way, with what goes before and after them
}

// backoff is what the last answers came to.
type backoff struct {
	until time.Time // no call before
	asked time.Time // what an answer asked for of that: it ends by time, or a person ends it
	since time.Time // when the last of these was learned
	again int       // answers that asked for it once more though the wait before was obeyed
	held  int       // holds in a row for failures
	inRow int       // calls in a row that came to nothing
}

// Lets reports whether a call may begin, and whether it is to be a scout. If not, it may once the scout that is under
// way has ended, or after wait, if that is not 0.
func (b *Backoff) Lets(now time.Time) (ok, scout bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = max(0, b.now.until.Sub(now))
	scout = b.now.held > 0
	return wait == 0 && (!scout || b.scouts == 0), scout, wait
}

// StillLets reports the same of a call that has begun to get ready, as a scout or not.
func (b *Backoff) StillLets(now time.Time, scout bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !now.Before(b.now.until) && (b.now.held == 0 || scout)
}

// BeginScout counts a scout.
func (b *Backoff) BeginScout() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scouts++
}

// EndScout ends it. Other calls may begin then.
func (b *Backoff) EndScout() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scouts--
}

// Longest bounds the wait between calls to a CRM that is down: how late its return may be noticed.
const Longest = 30 * time.Second

// Throttled notes a call, which took this long, that was answered with a wait. The wait is obeyed as it is; it is
// longer only for a call that began after the wait before was over, and was refused all the same.
func (b *Backoff) Throttled(now time.Time, took, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.now
	wait = max(wait, time.Second)
	if !h.asked.IsZero() && !now.Add(-took).Before(h.asked) {
		h.again++
		wait = min(wait<<min(h.again, 10), max(Longest, wait))
	}
	h.since, h.asked = now, later(h.asked, now.Add(wait))
	h.until = later(h.until, h.asked)
}

// Answered notes a call, which took this long, that the CRM has looked at. It ends waits for failures; what an answer
// asked for it does not, as the call may be older than that.
func (b *Backoff) Answered(now time.Time, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.now
	if !now.Add(-took).Before(h.asked) {
		*h = backoff{}
		return
	}
	h.until, h.held, h.inRow = h.asked, 0, 0
}

// failureThreshold is how many calls in a row may come to nothing before the CRM is taken to be down. Until then only
// the events of such a call wait.
const failureThreshold = 2

// Failed counts a call that did not reach the CRM or whose outcome is unknown, and reports whether the CRM is taken to
// be down. Then calls wait for at least wait, and for longer each time that the wait before did not help.
func (b *Backoff) Failed(now time.Time, wait time.Duration) (down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.now
	// before, it is of the same moment as the failure before
	if h.inRow++; h.inRow > failureThreshold && !now.Before(h.until) {
		h.held++
		h.since = now
		h.until = now.Add(min(max(wait, time.Second)<<min(h.held-1, 10), max(Longest, wait)))
	}
	return h.held > 0
}

// Until returns until when no call is made, and when that was learned. It is over if until is not after now.
func (b *Backoff) Until() (until, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.until, b.now.since
}

// End ends the wait that was learned at since, as a person wants. It reports false if another was learned meanwhile.
func (b *Backoff) End(since time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.now.since.Equal(since) {
		return false
	}
	b.now = backoff{}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
