package hubspottest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The quota's policies, as a 429 names them.
const (
	policyRolling  = "TEN_SECONDLY_ROLLING"
	policySecondly = "SECONDLY"
	policyDaily    = "DAILY"
)

// quota admits calls.
type quota struct {
	mu    sync.Mutex // guards all below
	limit Limit
	daily int

	recent ring // when the calls of the last window were admitted
	most   int  // the most that recent ever held

	day   time.Time
	today int // calls admitted on day
}

// SetLimit changes the rolling quota. Calls of the last moments count against the new one, as far as they lie in the
// smaller of both windows.
func (q *quota) SetLimit(limit Limit) error {
	if err := limit.validate(); err != nil {
		return fmt.Errorf("hubspottest: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit = limit
	return nil
}

// SetDaily changes the daily limit; 0 means none.
func (q *quota) SetDaily(calls int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.daily = max(calls, 0)
}

// mostInWindow is the most calls that any window has held.
func (q *quota) mostInWindow() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most
}

// admit takes one call into account, or says which policy refuses it, and sets the headers as they stand after it. Only
// what is admitted counts. A call at the very moment when one leaves the window is admitted: the window is half open.
func (q *quota) admit(h http.Header, now time.Duration, wall time.Time) (policy string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.headers(h)
	if day := wall.UTC().Truncate(24 * time.Hour); !day.Equal(q.day) {
		q.day, q.today = day, 0
	}
	q.forget(now)
	if q.daily > 0 && q.today >= q.daily {
		return policyDaily
	}
	if q.limit.Calls > 0 && q.recent.n >= q.limit.Calls {
		return policyRolling
	}
	q.today++
	if q.limit.Window > 0 {
		q.recent.push(now)
		q.most = max(q.most, q.recent.n)
	}
	return ""
}

func (q *quota) forget(now time.Duration) {
	for q.recent.n > 0 && now-q.recent.first() >= q.limit.Window {
		q.recent.pop()
	}
}

// headers are the quota's headers as they stand after a call.
func (q *quota) headers(h http.Header) {
	if q.limit.Calls > 0 {
		set(h, headerMax, q.limit.Calls)
		set(h, headerRemaining, max(q.limit.Calls-q.recent.n, 0))
		set(h, headerInterval, int(q.limit.Window/time.Millisecond))
	}
	if q.daily > 0 {
		set(h, headerDaily, q.daily)
		set(h, headerDailyRemaining, max(q.daily-q.today, 0))
	}
}

// As net/http spells them; names of headers have no case.
const (
	headerMax            = "X-Hubspot-Ratelimit-Max"
	headerRemaining      = "X-Hubspot-Ratelimit-Remaining"
	headerInterval       = "X-Hubspot-Ratelimit-Interval-Milliseconds"
	headerDaily          = "X-Hubspot-Ratelimit-Daily"
	headerDailyRemaining = "X-Hubspot-Ratelimit-Daily-Remaining"
	headerCorrelation    = "X-Hubspot-Correlation-Id"
)

func set(h http.Header, name string, n int) { h[name] = []string{strconv.Itoa(n)} }

// ring is a queue of moments, which grows as needed.
type ring struct {
	at   []time.Duration
	head int
	n    int
}

func (r *ring) first() time.Duration { return r.at[r.head] }

func (r *ring) pop() {
	r.head = (r.head + 1) % len(r.at)
	r.n--
}

func (r *ring) push(t time.Duration) {
	if r.n == len(r.at) {
		grown := make([]time.Duration, max(64, 2*r.n))
		copy(grown, r.at[r.head:])
		copy(grown[len(r.at)-r.head:], r.at[:r.head])
		r.at, r.head = grown, 0
	}
	r.at[(r.head+r.n)%len(r.at)] = t
	r.n++
}
