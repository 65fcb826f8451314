package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// What is accepted in doubt is asked about first, by what its object type has; what is there already stays as it is,
// and is said to be another's where it is.
func TestAccept(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), created, "a")
	deal := event("d", "content of d")
	deal.ObjectType = "deals"
	list := append(events("a", "b", "c", "b"), event("a", "other"), deal)
	fresh, reused, err := s.Batches.Accept(t.Context(), list, map[string]string{objectType: "event_id"})
	ok(t, err)
	if fresh != 3 || !cmp.Equal(reused, []int{4}) {
		t.Errorf("%d are fresh, %v reused", fresh, reused)
	}
	rows := `SELECT event_id, coalesce(status, 'compact'), id_property, in_doubt, misses, attempts,
		next_attempt_at <= now() FROM event ORDER BY 1`
	kept := []string{"a compact - f - 0 -", "b unknown event_id t 0 0 t", "c unknown event_id t 0 0 t", "d unknown - t 0 0 t"}
	want(t, s, rows, kept...)
	fresh, reused, err = s.Batches.Accept(t.Context(), list, nil) // as after an answer that was lost
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

// An event that an older program kept under another id is there already: asked about under its new one it might be
// sent again.
func TestAcceptFormer(t *testing.T) {
	t.Parallel()
	s := open(t)
	old := event("CRM_EVENTS:7", "content")
	old.Stream, old.StreamSeq = "CRM_EVENTS", 7
	_, err := s.Batches.Intend(t.Context(), newAttempt(), []Event{old})
	ok(t, err)
	again := old
	again.ID, again.Published = "CRM_EVENTS@1:7", time.Now().Add(-time.Minute)
	again.Former = &Former{ID: old.ID, ContentHash: old.ContentHash}
	_, err = s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("taken", "x"), Reason: InvalidEvent, Error: "bad"}})
	ok(t, err)
	fresh, reused, err := s.Batches.Accept(t.Context(), []Event{again, event("taken", "y"), event("new", "z")}, nil)
	ok(t, err)
	if fresh != 1 || !cmp.Equal(reused, []int{1}) {
		t.Errorf("%d are fresh, %v reused", fresh, reused)
	}
	want(t, s, `SELECT event_id FROM event ORDER BY 1`, "CRM_EVENTS:7", "new", "taken")
}

func TestNewInDoubt(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, until := range []time.Time{{}, time.Now().Add(time.Hour).Truncate(time.Microsecond),
		time.Now().Add(-time.Hour).Truncate(time.Microsecond)} {
		if !until.IsZero() {
			ok(t, pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error { return DoubtNewUntil(t.Context(), tx, until) }))
		}
		got, err := s.Batches.NewInDoubt(t.Context())
		ok(t, err)
		if !got.Equal(until) {
			t.Errorf("until %v, want %v", got, until)
		}
	}
}
