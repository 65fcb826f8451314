package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// What is accepted in doubt is asked about first, by what its object type has; what is there already stays as it is,
// and is said to be
// another's where it is.
func TestAccept(t *testing.T) {
	s := open(t)
	settle(t, s, intend(t, s, "a"), created, "a")
	deal := event("d", "content of d")
	deal.ObjectType = "deals"
	list := append(events("a", "b", "c", "b"), event("a", "other"), deal)
	fresh, reused, err := s.Accept(t.Context(), list, map[string]string{objectType: "event_id"})
	ok(t, err)
	if fresh != 3 || !cmp.Equal(reused, []int{4}) {
		t.Errorf("%d are fresh, %v reused", fresh, reused)
	}
	rows := `SELECT event_id, coalesce(status, 'bare'), id_property, in_doubt, misses, attempts,
		next_attempt_at <= now() FROM event ORDER BY 1`
	kept := []string{"a bare - f - 0 -", "b unknown event_id t 0 0 t", "c unknown event_id t 0 0 t", "d unknown - t 0 0 t"}
	want(t, s, rows, kept...)
	fresh, reused, err = s.Accept(t.Context(), list, nil) // as after an answer that was lost
	ok(t, err)
	if fresh != 0 || !cmp.Equal(reused, []int{4}) {
		t.Errorf("%d are fresh, %v reused", fresh, reused)
	}
	want(t, s, rows, kept...)
	read := newAttempt()
	if diff := cmp.Diff([]string{"b", "c"}, claimIDs(t, s, read, Unknown)); diff != "" {
		t.Error(diff)
	}
}

func TestNewInDoubt(t *testing.T) {
	s := open(t)
	for _, until := range []time.Time{{}, time.Now().Add(time.Hour).Truncate(time.Microsecond),
		time.Now().Add(-time.Hour).Truncate(time.Microsecond)} {
		if !until.IsZero() {
			ok(t, pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error { return DoubtNewUntil(t.Context(), tx, until) }))
		}
		got, err := s.NewInDoubt(t.Context())
		ok(t, err)
		if !got.Equal(until) {
			t.Errorf("until %v, want %v", got, until)
		}
	}
}
