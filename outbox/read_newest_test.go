package outbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A list by time has each row once, the last that came first, in pages of any length, whatever became of it.
func TestListByTime(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	exec(t, s, `INSERT INTO operator_action (operator, action, events) VALUES ('a', 'discard', 2)`)
	exec(t, s, `INSERT INTO operator_action_event (event_id, action_id) SELECT event_id, 1 FROM event WHERE status = 'discarded'`)
	// Calls that went well, whose rows are compact, and one row of them that was expanded; moments apart.
	for n := range 7 {
		a := newAttempt()
		ids := []string{fmt.Sprint("x", n, "a"), fmt.Sprint("x", n, "b"), fmt.Sprint("x", n, "c")}
		_, err := s.Batches.Intend(t.Context(), a, events(ids...))
		ok(t, err)
		var made []Settlement
		for i, id := range ids {
			made = append(made, Settlement{EventID: id, Status: Created, RecordID: fmt.Sprint(100 + 10*n + i)})
		}
		if n == 3 {
			made[1] = Settlement{EventID: ids[1], Status: Dead, Reason: Rejected}
			made[2].Keep = true
		}
		rejected := 0
		if n == 3 {
			rejected = 1
		}
		ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Status: 201, Created: 3 - rejected, Rejected: rejected}, made))
	}
	type row struct{ id, status, objectType string }
	rows, err := s.pool.Query(t.Context(), `SELECT event_id, status, object_type FROM outbox ORDER BY received_at DESC, event_id DESC`)
	ok(t, err)
	var all []row
	for rows.Next() {
		var r row
		ok(t, rows.Scan(&r.id, &r.status, &r.objectType))
		all = append(all, r)
	}
	ok(t, rows.Err())
	if len(all) != 14+21 {
		t.Fatalf("%d rows", len(all))
	}
	for _, status := range []Status{"", Sending, Created, Retry, Unknown, Dead, Discarded} {
		for _, objectType := range []string{"", "deals", "nobody"} {
			var want []string
			for _, r := range all {
				if (status == "" || r.status == string(status)) && (objectType == "" || r.objectType == objectType) {
					want = append(want, r.id)
				}
			}
			for _, limit := range []int{1, 4, 50} {
				got := listAll(t, s, ListFilter{Status: status, ObjectType: objectType, Limit: limit, ByTime: true})
				if !slices.Equal(got, want) {
					t.Errorf("%q %q by %d:\n got %s\nwant %s", status, objectType, limit, strings.Join(got, " "), strings.Join(want, " "))
				}
			}
		}
	}

	var first, last time.Time
	ok(t, s.pool.QueryRow(t.Context(), `SELECT min(received_at) FILTER (WHERE event_id = 'x2a'), min(received_at) FILTER (WHERE event_id = 'x4a')
		FROM event`).Scan(&first, &last))
	got := listAll(t, s, ListFilter{ByTime: true, Since: first, Until: last, Limit: 2})
	if want := "x3c x3b x3a x2c x2b x2a"; strings.Join(got, " ") != want {
		t.Errorf("between: %q, want %s", got, want)
	}
	if _, err := s.Read.List(t.Context(), ListFilter{ByTime: true, After: "nobody"}); !errors.Is(err, ErrNoSuchPlace) {
		t.Error(err)
	}
}
