package pauses

import (
	"sync"
	"time"
)

// Suspects are inputs of which one may have brought about a refusal in words about its object type (a scope, a path): a
// property that wants a scope of its own, a target that does not exist. A refusal is taken for that only while others
// of the object type are answered: else the object type is to be paused. NewSuspects makes one.
type Suspects struct {
	worksFor time.Duration

	mu       sync.Mutex
	answered map[string]time.Time // by object type: when a create call was last answered
	hunted   map[string]bool      // object types of which an input at fault is looked for
	refused  map[string]time.Time // by event id: when it was refused alone
}

// minWorksFor is for how long after an answer an object type is taken to work, at least.
const minWorksFor = time.Minute

// mostSuspects bounds what is remembered.
const mostSuspects = 10_000

// NewSuspects makes Suspects for this trial interval: an object type works for as long after an answer as two trials
// may be apart, or for longer.
func NewSuspects(trialInterval time.Duration) *Suspects {
	return &Suspects{worksFor: max(minWorksFor, 2*trialInterval), answered: map[string]time.Time{},
		hunted:  map[string]bool{},
		refused: map[string]time.Time{}}
}

// Answered notes that a create call of an object type was answered.
func (s *Suspects) Answered(objectType string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered[objectType] = now
}

// Works reports whether create calls of an object type were answered lately.
func (s *Suspects) Works(objectType string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.answered[objectType]
	return ok && now.Sub(at) < s.worksFor
}

// BeginHunt gives the right to look for the input at fault, one at a time for each object type.
func (s *Suspects) BeginHunt(objectType string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hunted[objectType] {
		return false
	}
	s.hunted[objectType] = true
	return true
}

// EndHunt gives the right back.
func (s *Suspects) EndHunt(objectType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hunted, objectType)
}

// Guilty reports whether an event that was refused alone now was so before, and others of its object type were answered
// in between.
func (s *Suspects) Guilty(objectType, eventID string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, known := s.refused[eventID]; known {
		return s.answered[objectType].After(since)
	}
	if len(s.refused) >= mostSuspects {
		clear(s.refused)
	}
	s.refused[eventID] = now
	return false
}

// Forget forgets an event that is dead now.
func (s *Suspects) Forget(eventID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, eventID)
}
