package pipeline

import (
	"slices"
	"sync"
	"time"

	"crmintake/outbox"
)

// dueList is the object types that have rows which are due in the outbox, in the order of their turns. Its methods may
// be called by any goroutine.
type dueList struct {
	mu   sync.Mutex
	list []outbox.Due
	// by object type: when a claim last got less than a call's worth of what is to be sent again
	few map[string]time.Time
}

func newDueList() *dueList { return &dueList{few: map[string]time.Time{}} }

// types are the object types, in turn.
func (l *dueList) types() []outbox.Due {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// set takes over what the outbox says. What is still due keeps its turn.
func (l *dueList) set(due []outbox.Due) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = rotate(due, l.list)
}

// take leaves out rows that are being claimed, until the claim finds that there are more, and puts the rest of their
// object type behind the others.
func (l *dueList) take(objectType string, kind callKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(d outbox.Due) bool { return d.ObjectType == objectType })
	if i < 0 {
		return
	}
	rest := l.list[i]
	if kind == retrying {
		rest.Retry = false
	} else {
		rest.Unknown = false
	}
	l.list = slices.Delete(l.list, i, i+1)
	if rest.Retry || rest.Unknown {
		l.list = append(l.list, rest)
	}
}

// more puts back rows of an object type, of which a claim has left some.
func (l *dueList) more(objectType string, kind callKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if d := &l.list[i]; d.ObjectType == objectType {
			d.Retry = d.Retry || kind == retrying
			d.Unknown = d.Unknown || kind == reconciling
			return
		}
	}
	l.list = append(l.list, outbox.Due{ObjectType: objectType, Retry: kind == retrying, Unknown: kind == reconciling})
}

// gotFew notes that a claim got less than a call's worth.
func (l *dueList) gotFew(objectType string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.few[objectType] = now
}

// sparse reports whether a claim got few rows of an object type less than so long ago.
func (l *dueList) sparse(objectType string, now time.Time, ago time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.few[objectType]) < ago
}

// rotate keeps the order of before for what is still due, so that each object type has its turn.
func rotate(due, before []outbox.Due) []outbox.Due {
	var list []outbox.Due
	taken := map[string]bool{}
	for _, b := range before {
		for _, d := range due {
			if d.ObjectType == b.ObjectType {
				list = append(list, d)
				taken[d.ObjectType] = true
			}
		}
	}
	for _, d := range due {
		if !taken[d.ObjectType] {
			list = append(list, d)
		}
	}
	return list
}
