package pipeline

import (
	"cmp"
	"slices"
	"time"
)

// untilWoken is how long the dispatcher waits where only a change that wakes it will let it go on.
const untilWoken = time.Hour

// planner chooses what is sent next. It decides from what the parts say, one after the other: what changes meanwhile is
// seen when the call begins.
type planner struct {
	*parts
	freshNext bool // whose turn it is, where both fresh and due events wait; the dispatcher's own
}

// choose returns what to send next, or how long to wait at most before asking again. Rows in doubt go first; fresh and
// due events take turns, and so do object types.
func (p *planner) choose(now time.Time) (j plannedCall, wait time.Duration, ok bool) {
	if ok, _, wait := p.backoff.Lets(now); !ok {
		return plannedCall{}, cmp.Or(wait, untilWoken), false // the scout's end wakes
	}
	retry := plannedCall{kind: retrying}
	for _, due := range p.due.types() {
		if !p.inflight.MayClaim() {
			break
		}
		if due.Unknown && p.reads.May(due.ObjectType, now) {
			if trials, ok := p.pauses.Passable(due.ObjectType, true, now); ok {
				return plannedCall{kind: reconciling, objectType: due.ObjectType, trials: trials}, 0, true
			}
		}
		if due.Retry && (retry.objectType == "" || p.sparse(retry.objectType, now) && !p.sparse(due.ObjectType, now)) {
			if trials, ok := p.mayCreate(due.ObjectType, now); ok {
				retry.objectType, retry.trials = due.ObjectType, trials
			}
		}
	}
	open := p.open(now)
	objectType, ready := p.ready(now, open)
	switch {
	case retry.objectType != "" && !(ready && (p.freshNext || p.sparse(retry.objectType, now))):
		return retry, 0, true
	case ready:
		trials, _ := p.pauses.Passable(objectType, false, now)
		return plannedCall{kind: fresh, objectType: objectType, trials: trials}, 0, true
	}
	wait = untilWoken
	if at, ok := p.waiting.next(open); ok {
		wait = at.Sub(now)
	}
	if at, ok := p.pauses.NextTrial(now); ok {
		wait = min(wait, at.Sub(now))
	}
	return plannedCall{}, max(wait, time.Millisecond), false
}

// mayCreate reports whether a create call may be made now, and which pauses it would be the trial of. A trial always
// has room.
func (p *planner) mayCreate(objectType string, now time.Time) (trials []string, ok bool) {
	trials, ok = p.pauses.Passable(objectType, false, now)
	return trials, ok && (len(trials) > 0 || p.hasRoom(objectType))
}

// hasRoom reports whether another create call may be under way.
func (p *planner) hasRoom(objectType string) bool {
	return p.cfg.Breaker.Off || p.windows.Room(objectType)
}

// most bounds what a call carries. The breaker trips late by a twenty-fifth of what trips it.
func (p *planner) most(j *plannedCall) int {
	if j.scout {
		return 1
	}
	if f := p.cfg.Breaker; j.kind != reconciling && len(j.trials) == 0 && !f.Off && p.windows.Few(j.objectType) {
		return min(max(int(f.Share*float64(f.Window))/25, 1), p.cfg.Batch.Size)
	}
	return p.cfg.Batch.Size
}

// open are the object types of which fresh events wait and may be sent.
func (p *planner) open(now time.Time) []string {
	return slices.DeleteFunc(p.waiting.types(), func(objectType string) bool {
		_, ok := p.mayCreate(objectType, now)
		return !ok
	})
}

// patience is for how many windows of the quota events of a rare object type wait for a full batch while others have
// one.
const patience = 2

// ready is the object type, of these, whose fresh events are sent next.
func (p *planner) ready(now time.Time, open []string) (objectType string, ok bool) {
	return p.waiting.ready(now, open, p.limiter.Scarce(), patience*p.cfg.Quota.Window)
}

// sparse reports whether few rows of an object type were due a moment ago, while the quota is what limits: then they
// wait for more of their kind.
func (p *planner) sparse(objectType string, now time.Time) bool {
	return p.limiter.Scarce() && p.due.sparse(objectType, now, p.cfg.Quota.Window)
}
