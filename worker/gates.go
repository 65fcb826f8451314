package worker

import (
	"slices"
	"time"

	"crmintake/outbox"
)

// gate is what this worker knows of one pause: nil is an open gate.
type gate struct {
	trialAt time.Time // by this process's clock: from then on one call may try
}

// state tells whether calls may be made, or else whether a trial is due.
func (g *gate) state(now time.Time) (open, trial bool) {
	if g == nil {
		return true, false
	}
	return false, !now.Before(g.trialAt)
}

// gates are the pauses, by object type or outbox.Account. Worker.mu guards them.
type gates map[string]*gate

// inTheWay are the pauses that concern a job. An object type's is about creating: what is in doubt may be asked about, and
// an answer to that proves nothing about it.
func (g gates) inTheWay(kind jobKind, objectType string) (keys []string) {
	if g[outbox.Account] != nil {
		keys = append(keys, outbox.Account)
	}
	if kind != resolving && g[objectType] != nil {
		keys = append(keys, objectType)
	}
	return keys
}

// passable tells whether a call may be made now, and which pauses it would be the trial of.
func (g gates) passable(kind jobKind, objectType string, now time.Time) (trials []string, ok bool) {
	keys := g.inTheWay(kind, objectType)
	for _, key := range keys {
		if _, trial := g[key].state(now); !trial {
			return nil, false
		}
	}
	return keys, true
}

// stillPassable tells the same of a call that has the right to be the trial of these pauses.
func (g gates) stillPassable(kind jobKind, objectType string, trials []string) bool {
	return !slices.ContainsFunc(g.inTheWay(kind, objectType), func(key string) bool { return !slices.Contains(trials, key) })
}

// nextTrial tells when the first gate wants a trial.
func (g gates) nextTrial(now time.Time) (at time.Time, ok bool) {
	for _, gate := range g {
		if gate.trialAt.After(now) && (!ok || gate.trialAt.Before(at)) {
			at, ok = gate.trialAt, true
		}
	}
	return at, ok
}

// hold keeps this worker from calling a CRM that is not well. Worker.mu guards it.
type hold struct {
	until time.Time
	held  int // holds in a row
	inRow int // calls in a row that came to nothing
}

// longestHold bounds the wait between calls to a CRM that is down: how late its return may be noticed.
const longestHold = 30 * time.Second

// extend holds calls for at least wait, and for longer with each hold that the one before did not help.
func (h *hold) extend(now time.Time, wait time.Duration) {
	if now.Before(h.until) {
		return // of the same moment as the failure before
	}
	h.held++
	h.until = now.Add(min(max(wait, time.Second)<<min(h.held-1, 10), max(longestHold, wait)))
}

func (h *hold) clear() { *h = hold{} }

// badLuck is how many calls in a row may come to nothing before the CRM is taken to be down. Until then only the events of
// such a call wait.
const badLuck = 2

// failed counts a call that did not reach the CRM or whose outcome is unknown. When that is the rule, calls are held.
func (h *hold) failed(now time.Time, wait time.Duration) {
	if h.inRow++; h.inRow > badLuck {
		h.extend(now, wait)
	}
}
