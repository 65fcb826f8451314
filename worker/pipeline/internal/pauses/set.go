package pauses

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crmintake/outbox"
)

// Pause is what this worker knows of a pause.
type Pause struct {
	Key     string // the object type, or outbox.Account
	Cause   outbox.Cause
	TrialAt time.Time // by this process's clock: from then on one call may try, unless a person made the pause
}

// mayTry reports whether a trial is due.
func (p *Pause) mayTry(now time.Time) bool {
	return p.Cause != outbox.ByOperator && !now.Before(p.TrialAt)
}

// Set is the pauses in force. The zero value has none.
type Set struct {
	size    atomic.Int32 // of pauses: without any, nobody takes the lock
	version atomic.Int64 // counts the changes that this worker made

	mu      sync.Mutex
	pauses  map[string]*Pause
	writing int // pauses of this worker that are being written to the database
}

// inTheWay are the pauses that concern a call. An object type's is about creating: what is in doubt may be asked about,
// and an answer to that proves nothing about it.
func (s *Set) inTheWay(objectType string, read bool) (list []*Pause) {
	if p := s.pauses[outbox.Account]; p != nil {
		list = append(list, p)
	}
	if p := s.pauses[objectType]; p != nil && !read {
		list = append(list, p)
	}
	return list
}

// Passable reports whether a call may be made now, and the pauses whose trial it would be.
func (s *Set) Passable(objectType string, read bool, now time.Time) (trials []string, ok bool) {
	if s.size.Load() == 0 {
		return nil, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.inTheWay(objectType, read) {
		if !p.mayTry(now) {
			return nil, false
		}
		trials = append(trials, p.Key)
	}
	return trials, true
}

// StillPassable reports the same of a call that has the right to be the trial of these pauses.
func (s *Set) StillPassable(objectType string, read bool, trials []string) bool {
	if s.size.Load() == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.inTheWay(objectType, read),
		func(p *Pause) bool { return !slices.Contains(trials, p.Key) })
}

// Get returns a pause. ok is false if there is none.
func (s *Set) Get(key string) (p Pause, ok bool) {
	if s.size.Load() == 0 {
		return Pause{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.pauses[key]; known != nil {
		return *known, true
	}
	return Pause{}, false
}

// Account reports whether the account is open, or else whether its trial is due.
func (s *Set) Account(now time.Time) (open, trial bool) {
	p, paused := s.Get(outbox.Account)
	return !paused, paused && p.mayTry(now)
}

// List returns the pauses, sorted by key.
func (s *Set) List() (list []Pause) {
	if s.size.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pauses {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Pause) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Count counts the pauses of a cause: of everything, or of object types.
func (s *Set) Count(everything bool, cause outbox.Cause) (n int) {
	for _, p := range s.List() {
		if p.Cause == cause && (p.Key == outbox.Account) == everything {
			n++
		}
	}
	return n
}

// Scout reports whether a trial of these pauses is one event: all but a breaker's, which is judged by shares.
func (s *Set) Scout(trials []string) bool {
	return slices.ContainsFunc(trials, func(key string) bool {
		p, ok := s.Get(key)
		return ok && p.Cause != outbox.ByBreaker
	})
}

// NextTrial returns when the first of the pauses wants a trial that wants none yet.
func (s *Set) NextTrial(now time.Time) (at time.Time, ok bool) {
	for _, p := range s.List() {
		if p.Cause != outbox.ByOperator && p.TrialAt.After(now) && (!ok || p.TrialAt.Before(at)) {
			at, ok = p.TrialAt, true
		}
	}
	return at, ok
}

// Room bounds how many events of an object type may be in hand, if a pause does: by none, or for its trial by one, and
// for a breaker's by a batch.
func (s *Set) Room(objectType string, batch int, now time.Time) (n int, limited bool) {
	trials, ok := s.Passable(objectType, false, now)
	switch {
	case !ok:
		return 0, true
	case len(trials) == 0:
		return 0, false
	}
	if p, ok := s.Get(objectType); ok && p.Cause == outbox.ByBreaker {
		return batch, true
	}
	return 1, true
}

// Version changes with each pause that this worker begins or ends. What is read from the database is older than a
// change that was made while it was read.
func (s *Set) Version() int64 { return s.version.Load() }

// Close begins a pause, or puts off its trial. One that a person made stays as it is.
func (s *Set) Close(p outbox.Pause, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.pauses[p.ObjectType]; known == nil || known.Cause != outbox.ByOperator {
		s.put(p, now)
	}
	s.version.Add(1) // last: who sees no change by Version sees the pause
}

// Open ends a pause, unless a person made it. Calls may be made then.
func (s *Set) Open(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version.Add(1)
	if known := s.pauses[key]; known != nil && known.Cause != outbox.ByOperator {
		s.remove(key)
	}
}

// PutOff puts off the next trial of a pause, which another worker makes, or which this one makes now.
func (s *Set) PutOff(key string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.pauses[key]; known != nil {
		known.TrialAt = until
	}
}

// Writing is to be called before a pause is written to the database, and what it returns after. Until then what is read
// from there is not followed.
func (s *Set) Writing() (written func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writing--
		s.version.Add(1)
	}
}

// Follow takes over the fleet's pauses, which were read when this was the version. It returns those that have ended,
// and those that are new or have another cause now. It does nothing if what was read is older than what this worker has
// done meanwhile.
func (s *Set) Follow(read []outbox.Pause, version int64, now time.Time) (ended []Pause, begun []outbox.Pause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version.Load() != version || s.writing > 0 {
		return nil, nil
	}
	for key, known := range s.pauses {
		if !slices.ContainsFunc(read, func(p outbox.Pause) bool { return p.ObjectType == key }) {
			ended = append(ended, *known)
			s.remove(key)
		}
	}
	for _, p := range read {
		if known := s.pauses[p.ObjectType]; known == nil || known.Cause != p.Cause {
			begun = append(begun, p)
		}
		s.put(p, now)
	}
	s.version.Add(int64(len(begun))) // last, as in Close
	return ended, begun
}

func (s *Set) put(p outbox.Pause, now time.Time) {
	if s.pauses == nil {
		s.pauses = map[string]*Pause{}
	}
	s.pauses[p.ObjectType] = &Pause{Key: p.ObjectType, Cause: p.Cause, TrialAt: now.Add(p.TrialIn)}
	s.size.Store(int32(len(s.pauses)))
}

func (s *Set) remove(key string) {
	delete(s.pauses, key)
	s.size.Store(int32(len(s.pauses)))
}
