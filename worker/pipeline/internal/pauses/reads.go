package pauses

import (
	"sync"
	"time"
)

// Reads paces how an object type's events in doubt are asked about while the CRM refuses that: it costs creates little
// of the quota. NewReads makes one.
type Reads struct {
	first  time.Duration
	mu     sync.Mutex
	byType map[string]*readPace
}

type readPace struct {
	refused int       // times in a row
	next    time.Time // nobody asks before
	busy    time.Time // nor before this, while one asks
}

// longestReadWait is the longest time between two reads that may be refused.
const longestReadWait = 15 * time.Minute

// NewReads makes Reads whose first wait is this long; each is twice as long as the one before.
func NewReads(first time.Duration) *Reads {
	return &Reads{first: first, byType: map[string]*readPace{}}
}

// May reports whether events in doubt may be asked about.
func (r *Reads) May(objectType string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.byType[objectType]
	return a == nil || !now.Before(a.next) && !now.Before(a.busy)
}

// Begin lets one ask at a time, where that was refused: another may after that time, if the first does not report.
func (r *Reads) Begin(objectType string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.byType[objectType]; a != nil {
		a.busy = until
	}
}

// Answered notes that reads are answered.
func (r *Reads) Answered(objectType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byType, objectType)
}

// Refused notes that a read was refused, and returns for how long no other is made.
func (r *Reads) Refused(objectType string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.byType[objectType]
	if a == nil {
		a = &readPace{}
		r.byType[objectType] = a
	}
	if now.Before(a.next) { // of the same moment as another
		return a.next.Sub(now)
	}
	wait := max(min(r.first<<min(a.refused, 10), longestReadWait), r.first)
	a.refused++
	a.next, a.busy = now.Add(wait), time.Time{}
	return wait
}
