package pipeline

import (
	"slices"
	"time"

	"crmintake/outbox"
)

// pauseState is what this worker knows of one pause: nil is an open gate.
type pauseState struct {
	cause   outbox.Cause
	trialAt time.Time // by this process's clock: from then on one call may try, unless a person made the pause
}

// state tells whether calls may be made, or else whether a trial is due.
func (g *pauseState) state(now time.Time) (open, trial bool) {
	if g == nil {
		return true, false
	}
	return false, g.cause != outbox.ByOperator && !now.Before(g.trialAt)
}

// pauseSet are the pauses, by object type or outbox.Account. Worker.mu guards them.
type pauseSet map[string]*pauseState

// inTheWay are the pauses that concern a job. An object type's is about creating: what is in doubt may be asked about, and
// an answer to that proves nothing about it.
func (g pauseSet) inTheWay(kind callKind, objectType string) (keys []string) {
	if g[outbox.Account] != nil {
		keys = append(keys, outbox.Account)
	}
	if kind != reconciling && g[objectType] != nil {
		keys = append(keys, objectType)
	}
	return keys
}

// passable tells whether a call may be made now, and which pauses it would be the trial of.
func (g pauseSet) passable(kind callKind, objectType string, now time.Time) (trials []string, ok bool) {
	keys := g.inTheWay(kind, objectType)
	for _, key := range keys {
		if _, trial := g[key].state(now); !trial {
			return nil, false
		}
	}
	return keys, true
}

// stillPassable tells the same of a call that has the right to be the trial of these pauses.
func (g pauseSet) stillPassable(kind callKind, objectType string, trials []string) bool {
	return !slices.ContainsFunc(g.inTheWay(kind, objectType), func(key string) bool { return !slices.Contains(trials, key) })
}

// count counts the pauses of a cause: of everything, or of object types.
func (g pauseSet) count(everything bool, cause outbox.Cause) (n int) {
	for key, gate := range g {
		if gate.cause == cause && (key == outbox.Account) == everything {
			n++
		}
	}
	return n
}

// scout tells whether a trial of these pauses is one event: all but a breaker's, which is judged by shares.
func (g pauseSet) scout(trials []string) bool {
	return slices.ContainsFunc(trials, func(key string) bool { return g[key] != nil && g[key].cause != outbox.ByBreaker })
}

// nextTrial tells when the first gate wants a trial.
func (g pauseSet) nextTrial(now time.Time) (at time.Time, ok bool) {
	for _, gate := range g {
		if gate.cause != outbox.ByOperator && gate.trialAt.After(now) && (!ok || gate.trialAt.Before(at)) {
			at, ok = gate.trialAt, true
		}
	}
	return at, ok
}

// crmBackoff keeps this worker from calling a CRM that is not well, or that wants fewer calls. After one for failures a
// scout goes first, a call with one event, and all others wait for what becomes of it. Worker.mu guards it.
type crmBackoff struct {
	until  time.Time // no call before
	asked  time.Time // what an answer asked for of that: it ends by time, or a person ends it
	since  time.Time // when the last of these was learned
	again  int       // answers that asked for it once more though the wait before was obeyed
	held   int       // holds in a row for failures
	inRow  int       // calls in a row that came to nothing
	scouts int       // under way, with what goes before and after them
}

// lets tells whether a call may begin, and whether it is to be a scout. If not, the end of a scout is to be waited
// for, or until.
func (h *crmBackoff) lets(now time.Time) (ok, scout bool) {
	scout = h.held > 0
	return !now.Before(h.until) && (!scout || h.scouts == 0), scout
}

// stillLets tells the same of a call that has begun to get ready, as a scout or not.
func (h *crmBackoff) stillLets(now time.Time, scout bool) bool {
	return !now.Before(h.until) && (h.held == 0 || scout)
}

// longestHold bounds the wait between calls to a CRM that is down: how late its return may be noticed.
const longestHold = 30 * time.Second

// throttled is told of a call, which took this long, that was answered with a wait. The wait is obeyed as it is; it is longer
// only for a call that began after the wait before was over, and was refused all the same.
func (h *crmBackoff) throttled(now time.Time, took, wait time.Duration) {
	wait = max(wait, time.Second)
	if !h.asked.IsZero() && !now.Add(-took).Before(h.asked) {
		h.again++
		wait = min(wait<<min(h.again, 10), max(longestHold, wait))
	}
	h.since, h.asked = now, later(h.asked, now.Add(wait))
	h.until = later(h.until, h.asked)
}

// answered is told of a call, which took this long, that the CRM has looked at. It ends holds for failures; what an answer asked for
// it does not, as the call may be older than that.
func (h *crmBackoff) answered(now time.Time, took time.Duration) {
	if !now.Add(-took).Before(h.asked) {
		*h = crmBackoff{scouts: h.scouts}
		return
	}
	h.until, h.held, h.inRow = h.asked, 0, 0
}

// failureThreshold is how many calls in a row may come to nothing before the CRM is taken to be down. Until then only the events of
// such a call wait.
const failureThreshold = 2

// failed counts a call that did not reach the CRM or whose outcome is unknown. When that is the rule, calls are held for at
// least wait, and for longer with each hold that the one before did not help.
func (h *crmBackoff) failed(now time.Time, wait time.Duration) {
	if h.inRow++; h.inRow <= failureThreshold || now.Before(h.until) { // of the same moment as the failure before
		return
	}
	h.held++
	h.since = now
	h.until = now.Add(min(max(wait, time.Second)<<min(h.held-1, 10), max(longestHold, wait)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
