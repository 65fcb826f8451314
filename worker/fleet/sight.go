package fleet

import (
	"slices"
	"sync"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// seen is the fleet as the last snapshot found it. Its methods may be called by many goroutines at once.
type seen struct {
	mu    sync.Mutex
	at    time.Time // by this process's clock; zero: never
	sight operator.Sight
}

// read is the last snapshot, and when it was taken; zero: never.
func (x *seen) read() (s operator.Sight, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sight, x.at
}

// keep takes over what a snapshot found. What it did not find stays as it was, but for a stream that can't be asked.
func (x *seen) keep(s *snapshot, paused time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if status := s.status; !status.At.IsZero() {
		if s.outboxErr != nil && x.sight.Status != nil {
			status.Events = x.sight.Status.Events
		}
		for _, one := range []outbox.Status{outbox.Sending, outbox.Retry, outbox.Unknown, outbox.Dead} {
			if n := s.counts.Rows[one]; n > 0 {
				status.Events = append(status.Events, outbox.EventCount{Status: one, Events: n})
			}
		}
		x.at, x.sight.At, x.sight.Status = time.Now(), status.At, &status
	}
	x.sight.Stream, x.sight.StreamWhy = nil, ""
	if s.streamErr != nil {
		x.sight.StreamWhy = s.streamErr.Error()
		return
	}
	x.sight.Stream = &operator.Stream{Pending: s.pending, Unacked: s.unacked, Stranded: max(0, s.stranded)}
	if paused > 0 {
		x.sight.Stream.Paused = []operator.PausedConsumer{{Until: x.sight.At.Add(paused)}}
	}
}

// Sight is how things stand, for a verdict: the last snapshot, some seconds old, and what this worker meets itself,
// as it is now. It asks nobody, and waits for nobody.
func (m *Member) Sight() operator.Sight {
	state := m.cfg.Self.State()
	told := m.told(&state)
	s, taken := m.seen.read()
	if taken.IsZero() {
		s.At = told.At
	} else {
		s.At = s.At.Add(told.At.Sub(taken))
	}
	if o := state.Database; o.Err != nil {
		s.Fault, s.FaultSince, s.FaultWhy = outbox.FaultOf(o.Err), s.At.Add(-o.Lasting), o.Err.Error()
	}
	if s.Status == nil {
		return s
	}
	told.By(s.At)
	told.Database = nil // it is the fault
	status := *s.Status
	me := outbox.Worker{Name: m.cfg.Name, StartedAt: s.At, SeenAt: s.At, Alive: true, Told: told}
	status.Workers = slices.Clone(status.Workers)
	if i := slices.IndexFunc(status.Workers, func(o outbox.Worker) bool { return o.Name == me.Name }); i >= 0 {
		me.StartedAt = status.Workers[i].StartedAt
		status.Workers[i] = me
	} else {
		status.Workers = append(status.Workers, me)
	}
	status.Lost = slices.DeleteFunc(slices.Clone(status.Lost),
		func(l outbox.LostCalls) bool { return l.Worker == me.Name })
	status.Pauses = pausesAt(s.At, state.Pauses, status.Pauses)
	s.Status = &status
	return s
}

// pausesAt are the pauses that this worker knows of, with what was read of them.
func pausesAt(at time.Time, known []Pause, read []outbox.Pause) (list []outbox.Pause) {
	for _, k := range known {
		p := outbox.Pause{ObjectType: k.ObjectType, Cause: k.Cause}
		for _, r := range read {
			if r.ObjectType == p.ObjectType && r.Cause == p.Cause {
				p = r
			}
		}
		if k.Cause != outbox.ByOperator {
			p.TrialAt = at.Add(time.Until(k.TrialAt))
		}
		list = append(list, p)
	}
	return list
}

// Verdict is how things stand, in a line, as Sight sees it.
func (m *Member) Verdict() operator.Verdict { return operator.Judge(m.Sight()) }
