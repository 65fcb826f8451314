package outbox

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// All parts of a snapshot come from one moment, and JSON has them by the names that programs know.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := open(t)
	read := func() (v Snapshot) {
		t.Helper()
		v, err := s.Read.Snapshot(t.Context())
		ok(t, err)
		return v
	}
	empty := read()
	if empty.At.IsZero() || empty.Quota != nil {
		t.Errorf("of an empty outbox: %+v", empty)
	}
	empty.At = time.Time{}
	got, err := json.Marshal(empty)
	ok(t, err)
	if want := `{"at":"0001-01-01T00:00:00Z","events":[],"calls_in_flight":{"create":0,"read":0},"pauses":[],"workers":[]}`; string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}

	settle(t, s, intend(t, s, "c1", "c2", "c3"), created, "c1", "c2", "c3")
	settle(t, s, intend(t, s, "r1"), Settlement{Status: Retry, Wait: time.Hour}, "r1")
	settle(t, s, intend(t, s, "u1", "u2"), unknown, "u1", "u2")
	settle(t, s, intend(t, s, "d1"), dead, "d1")
	intend(t, s, "s1", "s2")
	exec(t, s, `UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id = 'u1'`)
	claimIDs(t, s, newAttempt(), Unknown) // u2, by a worker that nobody hears of
	doPause(t, s, Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "404", By: "w", TrialIn: time.Hour}, true)
	ok(t, s.Fleet.Heartbeat(t.Context(), "alive", Capacity{Batch: 100, Rate: 2.5}, Told{}))
	ok(t, s.Fleet.Heartbeat(t.Context(), "silent", Capacity{Batch: 100}, Told{}))
	exec(t, s, `UPDATE worker SET seen_at = now() - $1::interval WHERE name = 'silent'`, SilentAfter)
	take(t, s, Quota{Account: QuotaAccount, Calls: 10, Window: 10 * time.Second}, Ask{Want: 2})

	v := read()
	counts := map[Status]int64{}
	for _, e := range v.Events {
		if e.ObjectType != objectType || e.Estimated || e.Oldest.IsZero() != (e.Status == Created) {
			t.Errorf("%+v", e)
		}
		counts[e.Status] += e.Events
	}
	if diff := cmp.Diff(map[Status]int64{Created: 3, Retry: 1, Unknown: 2, Dead: 1, Sending: 2}, counts); diff != "" {
		t.Error(diff)
	}
	if v.Calls.Create != 1 || v.Calls.Read != 1 || len(v.Lost) != 1 || v.Lost[0].Calls != 2 || v.Lost[0].Events != 3 {
		t.Errorf("calls %+v, lost %+v", v.Calls, v.Lost)
	}
	if q := v.Quota; q == nil || q.Calls != 10 || q.Used+q.Left != q.Effective || q.Left == q.Effective {
		t.Errorf("quota %+v", q)
	}
	if p := v.Pauses; len(p) != 1 || p[0].TrialAt.Sub(v.At) < 59*time.Minute || p[0].TrialIn < 59*time.Minute {
		t.Errorf("pauses %+v", p)
	}
	if w := v.Workers; len(w) != 2 || !w[0].Alive || w[1].Alive || w[1].Silent < SilentAfter {
		t.Errorf("workers %+v", w)
	}
	if diff := cmp.Diff([]string{objectType, "deals"}, v.ObjectTypes()); diff != "" {
		t.Error(diff)
	}
	got, err = json.Marshal(v)
	ok(t, err)
	var names struct {
		Quota   struct{ Window string }
		Workers []struct {
			Name      string
			BatchSize int     `json:"batch_size"`
			Rate      float64 `json:"events_per_second"`
			Alive     bool
		}
	}
	ok(t, json.Unmarshal(got, &names))
	if w := names.Workers[0]; names.Quota.Window != "10s" || w.Name != "alive" || w.BatchSize != 100 || w.Rate != 2.5 || !w.Alive {
		t.Errorf("%s", got)
	}

	look, err := s.Read.Look(t.Context())
	ok(t, err)
	if len(look.Events) != 0 || len(look.Workers) != 2 || len(look.Pauses) != 1 || len(look.Lost) != 1 || look.Quota == nil {
		t.Errorf("a look: %+v", look)
	}
}
