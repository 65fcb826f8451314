package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWorkers(t *testing.T) {
	t.Parallel()
	s := open(t)
	names := func() (list []string) {
		workers, err := s.Fleet.List(t.Context())
		ok(t, err)
		for _, w := range workers {
			if w.StartedAt.IsZero() || w.Silent < 0 {
				t.Errorf("%+v", w)
			}
			list = append(list, w.Name)
		}
		return list
	}
	for _, name := range []string{"b", "a", "b", "dead"} {
		ok(t, s.Fleet.Heartbeat(t.Context(), name, Capacity{Batch: 100}, Told{}))
	}
	if got := names(); len(got) != 3 || got[0] != "a" {
		t.Errorf("%q", got)
	}
	exec(t, s, `UPDATE worker SET seen_at = now() - interval '25 hours', started_at = now() - interval '26 hours'`)
	ok(t, s.Fleet.Heartbeat(t.Context(), "a", Capacity{Batch: 50, Rate: 2.5}, Told{})) // it was only frozen
	want(t, s, `SELECT name, started_at < now() - interval '1 hour', seen_at > now() - interval '1 minute' FROM worker`, "a t t")
	if list, err := s.Fleet.List(t.Context()); err != nil || list[0].Batch != 50 || list[0].Rate != 2.5 {
		t.Errorf("%+v, %v", list, err)
	}
	ok(t, s.Fleet.Deregister(t.Context(), "a"))
	if got := names(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// What a worker tells comes back as it was, but for its clock.
func TestWorkersTell(t *testing.T) {
	t.Parallel()
	s := open(t)
	theirs := time.Now().Add(-3 * time.Hour).UTC().Truncate(time.Millisecond)
	tell := func(by time.Time) Told {
		return Told{
			At: by, Done: by.Add(-time.Second), Settings: map[string]string{"quota": "100/10s"},
			CRM: &Trouble{Kind: Silent, Why: "a NUL \x00 and \xff", Since: by.Add(-time.Minute),
				Until: by.Add(time.Second), Times: 7},
			Database: &Trouble{Kind: string(Full), Since: by.Add(-time.Minute)},
			Reads:    map[string]*Trouble{"deals": {Why: "403", Since: by.Add(-time.Hour)}},
		}
	}
	ok(t, s.Fleet.Heartbeat(t.Context(), "w", Capacity{Batch: 1}, tell(theirs)))
	list, err := s.Fleet.List(t.Context())
	ok(t, err)
	got := list[0].Told
	if d := time.Since(got.At); d < -time.Minute || d > time.Minute {
		t.Errorf("it is told %v ago by the database's clock", d)
	}
	want := tell(got.At)
	want.CRM.Why = "a NUL \x00 and \uFFFD"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
