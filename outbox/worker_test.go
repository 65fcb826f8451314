package outbox

import "testing"

func TestWorkers(t *testing.T) {
	s := open(t)
	names := func() (list []string) {
		workers, err := s.Workers(t.Context())
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
		ok(t, s.Beat(t.Context(), name, Capacity{Batch: 100}))
	}
	if got := names(); len(got) != 3 || got[0] != "a" {
		t.Errorf("%q", got)
	}
	exec(t, s, `UPDATE worker SET seen_at = now() - interval '25 hours', started_at = now() - interval '26 hours'`)
	ok(t, s.Beat(t.Context(), "a", Capacity{Batch: 50, Rate: 2.5})) // it was only frozen
	want(t, s, `SELECT name, started_at < now() - interval '1 hour', seen_at > now() - interval '1 minute' FROM worker`, "a t t")
	if list, err := s.Workers(t.Context()); err != nil || list[0].Batch != 50 || list[0].Rate != 2.5 {
		t.Errorf("%+v, %v", list, err)
	}
	ok(t, s.Leave(t.Context(), "a"))
	if got := names(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
