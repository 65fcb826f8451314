package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// A refusal in words about the object type (a scope, a path) may be one input's doing: a property that wants a scope
// of its own, a target that does not exist. It is taken for that only while others of the object type are answered:
// else the object type is paused, and a trial of one event says when they are again. The input at fault is found by
// splitting; it is dead once it was refused alone, others were answered after that, and it was refused alone again.

// mostRefusals is how many parts of a batch may be refused in a row before it is the object type after all: as many
// as lead from a full batch to one input, and two.
const mostRefusals = 10

// hunt splits a batch until the inputs stand alone that bring about its refusal. One batch of an object type is split
// at a time: others come again later, as they may be refused for the same reason.
func (s *splitter) hunt(calls, writes context.Context, refused *attempt, answer *worker.Answer) {
	objectType := refused.ObjectType
	if !s.suspects.BeginHunt(objectType) {
		s.outcomes.later(writes, refused, answer)
		return
	}
	defer s.suspects.EndHunt(objectType)
	parts := s.halve(calls, writes, refused, answer)
	inRow, asked := 1, map[string]bool{} // by event id: was refused alone in this hunt
	for len(parts) > 0 {
		b, rest, answer, ok := s.callFirst(calls, writes, parts)
		if !ok {
			return
		}
		if parts = rest; b == nil {
			continue
		}
		if !b.suspect {
			if answer.Class == worker.Answered {
				inRow = 0
			}
			if len(b.rows) > 1 && nobodyNamed(&answer) {
				parts = append(s.halve(calls, writes, b, &answer), parts...)
			} else {
				s.outcomes.conclude(writes, b, &answer)
			}
			continue
		}
		inRow++
		id := b.rows[0].id
		switch {
		case inRow > mostRefusals:
			s.pauser.pause(writes, objectType, outbox.ByAnswer, &answer.Call)
			s.outcomes.later(writes, b, &answer)
			s.outcomes.requeue(writes, parts)
			return
		case len(b.rows) > 1:
			parts = append(s.halve(calls, writes, b, &answer), parts...)
		case !asked[id] && len(parts) > 0 && !s.guilty(b):
			asked[id] = true
			parts = append(parts, b) // once more, when others were called
		default:
			s.concludeSuspect(writes, b, &answer)
		}
	}
}

// guilty reports whether an event that was refused alone was so before, and others of its object type were answered in
// between.
func (s *splitter) guilty(b *attempt) bool {
	return s.suspects.Guilty(b.ObjectType, b.rows[0].id, time.Now())
}

// concludeSuspect settles an event that was refused alone while others of its object type are answered.
func (s *splitter) concludeSuspect(writes context.Context, b *attempt, answer *worker.Answer) {
	if !s.guilty(b) {
		s.outcomes.later(writes, b, answer)
		return
	}
	s.suspects.Forget(b.rows[0].id)
	answer.Class, answer.Outcomes[0].Verdict = worker.Refused, worker.Rejected
	s.outcomes.conclude(writes, b, answer)
}
