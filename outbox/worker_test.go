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
		ok(t, s.Beat(t.Context(), name))
	}
	if got := names(); len(got) != 3 || got[0] != "a" {
		t.Errorf("%q", got)
	}
	exec(t, s, `UPDATE worker SET seen_at = now() - interval '25 hours', started_at = now() - interval '26 hours'`)
	ok(t, s.Beat(t.Context(), "a")) // it was only frozen
	want(t, s, `SELECT name, started_at < now() - interval '1 hour', seen_at > now() - interval '1 minute' FROM worker`, "a t t")
	ok(t, s.Leave(t.Context(), "a"))
	if got := names(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
