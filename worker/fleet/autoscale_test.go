package fleet

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crmintake/outbox"
)

func TestAutoscale(t *testing.T) {
	// 190 calls in 10 s: 1,900 records a second.
	usual := Load{
		Backlog: 190_000, Batch: 100, Calls: 190, Window: 10 * time.Second, Used: 150, Workers: 2, Rate: 20_000,
	}
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		change func(*Load)
		want   Autoscale
	}{
		"the quota limits": {func(*Load) {}, Autoscale{190_000, 40, 1900, 40_000, 100 * time.Second, true, 1}},
		"blocked": {func(l *Load) { l.Blocked = time.Minute }, Autoscale{190_000, 0, 1900, 40_000,
			160 * time.Second, true, 1}},
		"more used than allowed": {func(l *Load) { l.Used = 200 }, Autoscale{190_000, 0, 1900, 40_000,
			100 * time.Second, true, 1}},
		"no backlog": {func(l *Load) { l.Backlog = 0 }, Autoscale{0, 40, 1900, 40_000, 0, false, 1}},
		"no quota": {func(l *Load) { l.Calls = 0 }, Autoscale{190_000, -1, inf, 40_000,
			4750 * time.Millisecond, false, 1}},
		"no quota, five million": {func(l *Load) { l.Calls, l.Backlog = 0, 5_000_000 }, Autoscale{5_000_000, -1, inf,
			40_000, 125 * time.Second, false, 5}},
		"slow calls": {func(l *Load) { l.Rate = 200 }, Autoscale{190_000, 40, 1900, 400,
			475 * time.Second, false, 10}},
		"slow calls, no hurry": {func(l *Load) { l.Rate, l.Backlog = 200, 24_000 }, Autoscale{24_000, 40, 1900,
			400, 60 * time.Second, false, 2}},
		"slow calls, paused": {func(l *Load) { l.Rate, l.Paused = 200, true }, Autoscale{190_000, 40, 1900, 400,
			-1, false, 1}},
		"slow calls, partly paused": {func(l *Load) { l.Rate, l.Partly = 200, true }, Autoscale{190_000, 40, 1900, 400,
			-1, false, 10}},
		"little, which can go now": {func(l *Load) { l.Backlog = 4000 }, Autoscale{4000, 40, 1900, 40_000,
			4000 * time.Second / 1900, false, 1}},
		"no worker": {func(l *Load) { l.Workers = 0 }, Autoscale{190_000, 40, 1900, 0, -1, false, 1}},
		"nothing was called yet": {func(l *Load) { l.Rate = 0 }, Autoscale{190_000, 40, 1900, 0, 100 * time.Second,
			false, 1}},
		"no quota and no call yet": {func(l *Load) { l.Rate, l.Calls = 0, 0 }, Autoscale{190_000, -1, inf, 0, -1,
			false, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := usual
			c.change(&l)
			if diff := cmp.Diff(c.want, l.Autoscale()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// still is a worker of which nothing is known but its pauses.
type still []Pause

func (p still) State() State  { return State{Pauses: p} }
func (still) StreamAnswered() {}

// While everything is paused, no more workers are wanted; while an object type is, what there is to do counts.
func TestLoadWhilePaused(t *testing.T) {
	s := snapshot{pending: 600_000, workers: []outbox.Capacity{{Batch: 100, Rate: 1000}}}
	for key, want := range map[string]int{"contracts": 10, outbox.Account: 1} {
		m := &Member{cfg: Config{Self: still{{ObjectType: key, Cause: outbox.ByAnswer}}}}
		state := m.cfg.Self.State()
		if got := m.load(&s, &state).Autoscale().WorkersWanted; got != want {
			t.Errorf("%s is paused: %d workers are wanted, want %d", key, got, want)
		}
	}
}
