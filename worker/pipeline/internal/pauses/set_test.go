package pauses

import (
	"testing"
	"time"

	"crmintake/outbox"
)

func TestPassable(t *testing.T) {
	now := time.Now()
	var g Set
	g.Close(outbox.Pause{ObjectType: "deals", TrialIn: time.Second}, now)
	if _, ok := g.Passable("deals", false, now); ok {
		t.Error("a paused type passes")
	}
	if trials, ok := g.Passable("deals", true, now); !ok || len(trials) > 0 {
		t.Errorf("what is in doubt can't be asked about: %q, %v", trials, ok)
	}
	if trials, ok := g.Passable("contacts", false, now); !ok || len(trials) > 0 {
		t.Error("another type does not pass")
	}
	g.Close(outbox.Pause{ObjectType: outbox.Account}, now)
	if trials, ok := g.Passable("contacts", false, now); !ok || len(trials) != 1 {
		t.Errorf("the account's trial: %q, %v", trials, ok)
	}
	trials, ok := g.Passable("deals", false, now.Add(time.Second))
	if !ok || len(trials) != 2 {
		t.Errorf("both trials: %q, %v", trials, ok)
	}
	if at, ok := g.NextTrial(now); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("next trial at %v, %v", at, ok)
	}
	g.PutOff("deals", now.Add(time.Hour)) // taken
	if !g.StillPassable("deals", false, trials) || g.StillPassable("deals", false, trials[:1]) {
		t.Error("who has the right to a trial may call, and nobody else")
	}
}

// What a person paused stays so, whatever answers and trials say; and what was read from the database is not followed
// if this worker has paused something since.
func TestFollow(t *testing.T) {
	now := time.Now()
	var g Set
	person := outbox.Pause{ObjectType: "deals", Cause: outbox.ByOperator}
	refused := outbox.Pause{ObjectType: "deals", Cause: outbox.ByAnswer}
	follow := func(when string, version int64, ended, begun int, cause outbox.Cause, read ...outbox.Pause) {
		t.Helper()
		e, b := g.Follow(read, version, now)
		p, _ := g.Get("deals")
		if len(e) != ended || len(b) != begun || p.Cause != cause {
			t.Errorf("%s: %d ended, %d began, paused by %q; want %d, %d, %q", when, len(e), len(b), p.Cause, ended, begun, cause)
		}
	}
	before := g.Version()
	g.Close(refused, now)
	follow("read before the pause", before, 0, 0, outbox.ByAnswer)
	written := g.Writing()
	follow("while the pause is written", g.Version(), 0, 0, outbox.ByAnswer)
	before = g.Version()
	written()
	follow("read while it was written", before, 0, 0, outbox.ByAnswer)
	follow("known", g.Version(), 0, 0, outbox.ByAnswer, refused)
	follow("another cause", g.Version(), 0, 1, outbox.ByOperator, person)
	g.Close(refused, now)
	g.Open("deals")
	follow("a person's", g.Version(), 0, 0, outbox.ByOperator, person)
	follow("resumed", g.Version(), 1, 0, "")
	if !g.StillPassable("deals", false, nil) || len(g.List()) > 0 {
		t.Error("a pause is left")
	}
}

// A trial of a breaker's pause is a batch, any other one event.
func TestRoom(t *testing.T) {
	now := time.Now()
	var g Set
	for cause, want := range map[outbox.Cause]int{outbox.ByBreaker: 100, outbox.ByAnswer: 1, outbox.ByCredential: 1, outbox.ByOperator: 0} {
		g.Close(outbox.Pause{ObjectType: string(cause), Cause: cause}, now)
		if n, limited := g.Room(string(cause), 100, now); n != want || !limited {
			t.Errorf("%s: room for %d, %v", cause, n, limited)
		}
		if g.Scout([]string{string(cause)}) == (cause == outbox.ByBreaker) {
			t.Errorf("%s: a scout", cause)
		}
	}
	if n, limited := g.Room("deals", 100, now); limited {
		t.Errorf("of what is not paused, %d", n)
	}
	if n := g.Count(false, outbox.ByBreaker); n != 1 {
		t.Errorf("%d pauses of a breaker", n)
	}
}
