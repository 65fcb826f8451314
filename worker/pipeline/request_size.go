package pipeline

import (
	"crmintake/worker"
)

// requestSize is what answers say about how large a request may be, in bytes of inputs.
//
// What is refused halves the bound, down to what was accepted. Calls of about the bound that are accepted double it
// again: each of them as long as nothing was refused after something smaller was accepted, which may be a proxy's bad
// day and no limit; else so many in a row, and twice as many after each try in vain.
type requestSize struct {
	most     int // as configured
	bound    int // of later batches
	accepted int // the largest that was answered
	patience int // so many calls of about the bound don't raise it yet
	answered int // of these, since it changed
	raised   bool
}

const (
	firstPatience = 32
	mostPatience  = 1024 // a refusal in so many calls costs nothing that could be measured
)

// record takes in an answer, and reports whether the bound has changed for it. That a size is refused though a larger
// one was accepted before teaches nothing, nor does an event that is too large by itself. A part of what was refused
// does not raise the bound.
func (s *requestSize) record(size, inputs int, part bool, class worker.Class) (changed bool) {
	before := s.bound
	switch {
	case class == worker.Answered:
		s.accepted = max(s.accepted, size)
		if part || s.bound == s.most || 2*size < s.bound {
			break
		}
		if s.answered++; s.answered > s.patience {
			s.bound = min(max(2*s.bound, s.accepted), s.most)
			s.answered, s.raised = 0, true
		}
	case class == worker.TooLarge && inputs > 1 && size > s.accepted:
		switch {
		case s.accepted == 0:
		case s.raised:
			s.patience = min(max(2*s.patience, firstPatience), mostPatience)
		default:
			s.patience = max(s.patience, firstPatience)
		}
		s.bound = min(s.bound, max(size/2, s.accepted, 1))
		s.answered, s.raised = 0, false
	}
	return s.bound != before
}
