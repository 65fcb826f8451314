package pauses

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoffForFailures(t *testing.T) {
	var h Backoff
	now := time.Now()
	h.Failed(now, time.Second)
	h.Failed(now, time.Second)
	if !h.now.until.IsZero() {
		t.Error("two failures hold calls")
	}
	var waits []time.Duration
	for range 7 {
		h.Failed(now, time.Second)
		h.Failed(now, time.Second) // another call of the same moment
		waits = append(waits, h.now.until.Sub(now))
		now = h.now.until
	}
	if diff := cmp.Diff([]time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}, waits); diff != "" {
		t.Error(diff)
	}
	h.Answered(now, time.Hour)
	if now.Before(h.now.until) {
		t.Error("the CRM answers, and calls are held")
	}
	for range 3 {
		h.Failed(now, time.Hour)
	}
	if h.now.until.Sub(now) != time.Hour {
		t.Error("what the answer asks for is cut short")
	}
}

// How long calls are held by answers that ask for it, each after a time of at, about a call that took so long.
func TestBackoffForThrottling(t *testing.T) {
	const s = time.Second
	type answer struct{ at, took, wait, until time.Duration } // all but took from the beginning
	for name, answers := range map[string][]answer{
		"as asked":                        {{0, s, 10 * s, 10 * s}},
		"at least a second":               {{0, s, 0, s}},
		"a day":                           {{0, s, 24 * time.Hour, 24 * time.Hour}},
		"several of one moment":           {{0, s, 10 * s, 10 * s}, {0, s, 10 * s, 10 * s}, {s, s, 9 * s, 10 * s}},
		"the longest of one moment":       {{0, s, s, s}, {0, s, 10 * s, 10 * s}},
		"called before the wait":          {{0, s, 10 * s, 10 * s}, {12 * s, 13 * s, 10 * s, 22 * s}},
		"called in the wait":              {{0, s, 10 * s, 10 * s}, {12 * s, 3 * s, 10 * s, 22 * s}},
		"called after the wait":           {{0, s, 10 * s, 10 * s}, {12 * s, 2 * s, 10 * s, 32 * s}, {33 * s, 0, 10 * s, 63 * s}, {63 * s, 0, 10 * s, 93 * s}},
		"two of them, called after it":    {{0, s, s, s}, {2 * s, s, s, 4 * s}, {2 * s, s, s, 4 * s}},
		"one that is asked for each time": {{0, s, 60 * s, 60 * s}, {61 * s, 0, 60 * s, 121 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			var h Backoff
			begin := time.Now()
			for _, a := range answers {
				h.Throttled(begin.Add(a.at), a.took, a.wait)
				if got := h.now.until.Sub(begin); got != a.until {
					t.Errorf("after %v held until %v, want %v", a.at, got, a.until)
				}
			}
		})
	}
}

// What an answer asks for is not ended by the answer to an older call, nor made longer by failures.
func TestBackoffIsObeyed(t *testing.T) {
	var h Backoff
	begin := time.Now()
	for range 5 {
		h.Failed(begin, time.Second)
	}
	h.Throttled(begin, 0, 10*time.Second)
	if h.now.until.Sub(begin) != 10*time.Second {
		t.Errorf("after failures, held for %v", h.now.until.Sub(begin))
	}
	h.Answered(begin.Add(time.Second), 2*time.Second)
	if h.now.until.Sub(begin) != 10*time.Second {
		t.Errorf("an older call was answered, and calls are held for %v", h.now.until.Sub(begin))
	}
	h.Throttled(begin.Add(11*time.Second), time.Second, 10*time.Second)
	h.Answered(begin.Add(32*time.Second), time.Second)
	if (h.now != backoff{}) {
		t.Errorf("a call after the wait was answered, and what is left is %+v", h.now)
	}
}

// After a hold for failures one call finds out, and the others wait for what becomes of it.
func TestBackoffSendsAScout(t *testing.T) {
	var h Backoff
	now := time.Now()
	expect := func(when string, ok, scout, usual bool) {
		t.Helper()
		gotOK, gotScout, _ := h.Lets(now)
		if gotOK != ok || ok && gotScout != scout || h.StillLets(now, false) != usual {
			t.Errorf("%s: a call may begin: %v, as a scout: %v; one that is ready goes on: %v; want %v, %v, %v",
				when, gotOK, gotScout, h.StillLets(now, false), ok, scout, usual)
		}
	}
	fail := func() { h.Failed(now, time.Second) }
	fail()
	fail()
	expect("bad luck", true, false, true)
	fail()
	expect("in the hold", false, false, false)
	now = h.now.until
	expect("after it", true, true, false)
	h.BeginScout()
	expect("beside the scout", false, false, false)
	if !h.StillLets(now, true) {
		t.Error("the scout may not go on")
	}
	fail()
	h.EndScout()
	expect("in the next hold", false, false, false)
	now = h.now.until
	h.BeginScout()
	h.Answered(now, time.Millisecond)
	expect("the scout was answered", true, false, true)
	h.EndScout()
	if (h.now != backoff{}) {
		t.Errorf("what is left is %+v", h.now)
	}
}
