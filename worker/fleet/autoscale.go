package fleet

import (
	"math"
	"time"

	"crmintake/outbox"
)

// Target is in what time a backlog is to be worked off, unless the quota forbids it.
const Target = time.Minute

// Load is what a fleet has to do, and what it can do it with.
type Load struct {
	Backlog int           // events that wait: in the stream, in hand, and due in the outbox
	Batch   int           // records that a call takes
	Calls   int           // that the quota allows in any Window; 0 for no quota
	Window  time.Duration // of the quota
	Used    int           // calls in the window that ends now
	Blocked time.Duration // until when no calls are made
	Paused  bool          // everything is: no calls are made until that ends
	Partly  bool          // something is that the backlog may be of, or the CRM is not well

	Workers int // that are there
	// Rate is the records a second that one worker creates where no quota limits it, on average; 0 if that is not known
	// yet.
	Rate float64
}

// Autoscale is for whoever decides how many workers run. Scale on WorkersWanted, not on the backlog: at the quota's
// limit more workers do nothing.
type Autoscale struct {
	Backlog int
	// Headroom is the calls that the quota allows now, beyond those that were made; -1 for any number.
	Headroom int
	// QuotaRate and FleetRate are the records a second that the quota allows, and that the workers which are there
	// could create without it. QuotaRate is +Inf without a quota; FleetRate is 0 while that is not known.
	QuotaRate, FleetRate float64
	// Empty is how long the workers that are there need for the backlog at the quota, new events aside; negative if
	// nobody knows, as while something is paused, or no worker is there.
	Empty time.Duration
	// QuotaLimits means that the quota is what limits, and not the workers: of what waits, not all can be sent now.
	QuotaLimits bool
	// WorkersWanted is how many would work the backlog off within the target, or as fast as the quota allows; at least
	// 1, and no more while everything is paused.
	WorkersWanted int
}

// Add sets Workers and Rate by the workers that are there, some of which may not know yet what they can do.
func (l *Load) Add(workers []outbox.Capacity) {
	var rate, known float64
	for _, w := range workers {
		if w.Rate > 0 {
			rate += w.Rate
			known++
		}
	}
	l.Workers = len(workers)
	if known > 0 {
		l.Rate = rate / known
	}
}

// Autoscale computes what a load calls for. It asks nobody.
func (l Load) Autoscale() Autoscale {
	s := Autoscale{Backlog: l.Backlog, Headroom: -1, QuotaRate: math.Inf(1), Empty: -1, WorkersWanted: 1}
	if l.Calls > 0 && l.Window > 0 {
		s.Headroom = max(0, l.Calls-l.Used)
		if l.Blocked > 0 {
			s.Headroom = 0
		}
		s.QuotaRate = float64(l.Calls*l.Batch) / l.Window.Seconds()
	}
	s.FleetRate = l.Rate * float64(l.Workers)
	s.QuotaLimits = s.Headroom >= 0 && l.Backlog > s.Headroom*l.Batch && s.QuotaRate <= s.FleetRate && !l.Paused
	rate := s.QuotaRate
	if s.FleetRate > 0 {
		rate = min(rate, s.FleetRate)
	}
	switch {
	case l.Backlog == 0:
		s.Empty = 0
	case l.Paused, l.Partly, l.Workers == 0:
	case rate > 0 && !math.IsInf(rate, 1):
		s.Empty = l.Blocked + time.Duration(float64(l.Backlog)/rate*float64(time.Second))
	}
	if l.Rate > 0 && l.Backlog > 0 && !l.Paused {
		want := min(float64(l.Backlog)/Target.Seconds(), s.QuotaRate)
		s.WorkersWanted = max(1, int(math.Ceil(want/l.Rate-1e-9)))
	}
	return s
}
