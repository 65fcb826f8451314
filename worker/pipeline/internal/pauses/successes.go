package pauses

import "sync"

// Successes counts, by object type, the inputs that were created since the breaker's window in the database last heard
// of it. The zero value has counted none.
type Successes struct {
	mu     sync.Mutex
	byType map[string]int
}

// Add counts some more, up to most.
func (s *Successes) Add(objectType string, n, most int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byType == nil {
		s.byType = map[string]int{}
	}
	s.byType[objectType] = min(s.byType[objectType]+n, most)
}

// Take returns the count of an object type, which begins anew.
func (s *Successes) Take(objectType string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byType[objectType]
	delete(s.byType, objectType)
	return n
}

// TakeAll returns all counts, which begin anew; nil if nothing was counted.
func (s *Successes) TakeAll() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.byType
	s.byType = nil
	if len(all) == 0 {
		return nil
	}
	return all
}
