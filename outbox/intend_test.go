package outbox

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rowStates = `SELECT event_id, status FROM outbox ORDER BY event_id`

func TestIntendSaysWhoseEachEventIs(t *testing.T) {
	t.Parallel()
	s := open(t)
	first := intend(t, s, "b", "d")
	settle(t, s, first, created, "b", "d")

	second := newAttempt()
	list := []Event{event("e", "e"), event("d", "something else"), event("a", "a"), event("b", "content of b"), event("a", "a"), event("a", "other")}
	for range 2 { // the second time as if the first answer had been lost
		standing, err := s.Batches.Intend(t.Context(), second, list)
		ok(t, err)
		if diff := cmp.Diff([]IntentResult{Inserted, Reused, Inserted, Duplicate, Duplicate, Reused}, standing); diff != "" {
			t.Error(diff)
		}
		want(t, s, rowStates, "a sending", "b created", "d created", "e sending")
		want(t, s, `SELECT event_ids, inputs FROM attempt WHERE state = 'open'`, "{a,e} 2")
	}
	settle(t, s, second, created, "a", "e")
}

func TestIntendOfNothingNewLeavesNoAttempt(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), created, "a")
	standing, err := s.Batches.Intend(t.Context(), newAttempt(), events("a"))
	ok(t, err)
	if diff := cmp.Diff([]IntentResult{Duplicate}, standing); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT state FROM attempt`, "settled")
}

func TestIntendRepeatedAfterItsLease(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "a")
	endLease(t, s, a.ID)
	expire(t, s)
	standing, err := s.Batches.Intend(t.Context(), a, events("a"))
	ok(t, err)
	if diff := cmp.Diff([]IntentResult{Duplicate}, standing); diff != "" {
		t.Error(diff)
	}
	// Nothing goes under a closed attempt, where nobody would find it.
	if _, err := s.Batches.Intend(t.Context(), a, events("a", "b")); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("got %v", err)
	}
	want(t, s, rowStates, "a unknown")
}

func TestIntendRepeatedStartsTheLeaseAnew(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "a")
	endLease(t, s, a.ID)
	_, err := s.Batches.Intend(t.Context(), a, events("a"))
	ok(t, err)
	if lost := expire(t, s); len(lost) > 0 {
		t.Errorf("expired: %v", lost)
	}
}

// goneOnInsert removes the row "gone" once an insert has found it in its way: retention at the worst moment.
const goneOnInsert = `
CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM event WHERE event_id = 'gone' AND status IS NULL; RETURN NULL; END $$;
CREATE TRIGGER gone AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION gone();
`

func TestRowThatGoesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]func(*Store) error{
		"intend": func(s *Store) error {
			standing, err := s.Batches.Intend(t.Context(), newAttempt(), events("gone", "new"))
			if diff := cmp.Diff([]IntentResult{Inserted, Inserted}, standing); diff != "" {
				t.Error(diff)
			}
			return err
		},
		"bury": func(s *Store) error {
			reused, err := s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("gone", "x"), Reason: InvalidEvent}, {Event: event("new", "x"), Reason: InvalidEvent}})
			if reused != nil {
				t.Errorf("reused: %v", reused)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			settle(t, s, intend(t, s, "gone"), created, "gone")
			exec(t, s, goneOnInsert)
			ok(t, keep(s))
			want(t, s, `SELECT event_id, status <> 'created' FROM outbox ORDER BY event_id`, "gone t", "new t")
		})
	}
}

func TestBury(t *testing.T) {
	t.Parallel()
	s := open(t)
	bury := func(want []int, list ...DeadLetter) {
		t.Helper()
		reused, err := s.Batches.InsertDead(t.Context(), list)
		ok(t, err)
		if diff := cmp.Diff(want, reused); diff != "" {
			t.Errorf("reused (-want +got):\n%s", diff)
		}
	}
	burial := func(id, content string) DeadLetter {
		return DeadLetter{Event: event(id, content), Reason: InvalidEvent, Error: "no \x00 object"}
	}
	settle(t, s, intend(t, s, "old"), created, "old")
	const rows = `SELECT event_id, status, reason, error, attempts, dead_at IS NOT NULL FROM outbox ORDER BY event_id`
	list := []DeadLetter{burial("z", "1"), burial("old", "content of old"), burial("a", "1"), burial("old", "new"), burial("z", "1"), burial("z", "2")}
	for range 2 {
		bury([]int{3, 5}, list...)
		want(t, s, rows, "a dead invalid_event no \uFFFD object 0 t", "old created - - 1 f", "z dead invalid_event no \uFFFD object 0 t")
		want(t, s, `SELECT event_id, attempt_id, category, message FROM outbox_error ORDER BY event_id`,
			"a - invalid_event no \uFFFD object", "z - invalid_event no \uFFFD object")
	}
	again := burial("z#S:7", "2")
	again.Reason, again.Error, again.ObjectType = IDReused, "z is another event's", "\xff"
	bury(nil, again)
	want(t, s, `SELECT reason, error, object_type FROM outbox WHERE event_id = 'z#S:7'`, "id_reused z is another event's \uFFFD")
	bury(nil)
}
