package outbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One row of each kind, for two object types.
func fill(t *testing.T, s *Store) {
	t.Helper()
	for _, objectType := range []string{"contracts", "deals"} {
		id := func(name string) string { return objectType[:1] + "-" + name }
		attempt := func(ids ...string) Attempt {
			a := newAttempt()
			a.ObjectType = objectType
			list := events(ids...)
			for i := range list {
				list[i].ObjectType = objectType
			}
			_, err := s.Batches.Intend(t.Context(), a, list)
			ok(t, err)
			return a
		}
		attempt(id("sending"))
		a := attempt(id("created"), id("retry"), id("dead"), id("unknown"), id("read"), id("discarded"))
		ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Status: 207, Created: 1, Rejected: 2, NotApplied: 1, Unknown: 2}, []Settlement{
			{EventID: id("created"), Status: Created, RecordID: "1"},
			{EventID: id("retry"), Status: Retry, Wait: 1e12},
			{EventID: id("dead"), Status: Dead, Reason: Rejected},
			{EventID: id("discarded"), Status: Dead, Reason: Rejected},
			{EventID: id("read"), Status: Unknown, InDoubt: true},
			{EventID: id("unknown"), Status: Unknown, InDoubt: true, Wait: 1e12},
		}))
		exec(t, s, `UPDATE event SET status = 'discarded', dead_at = NULL WHERE event_id = $1`, id("discarded"))
		read := newAttempt()
		read.ObjectType = objectType
		_, err := s.Schedule.Claim(t.Context(), read, Unknown, 10, 1<<20)
		ok(t, err)
	}
}

// listAll pages through a list.
func listAll(t *testing.T, s *Store, f ListFilter) (ids []string) {
	t.Helper()
	for range 1000 {
		p, err := s.Read.List(t.Context(), f)
		ok(t, err)
		for _, r := range p.Records {
			ids = append(ids, r.EventID)
		}
		if p.Next == "" {
			return ids
		}
		f.After = p.Next
	}
	t.Fatal("the list does not end")
	return nil
}

func TestList(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	for _, c := range []struct {
		status     Status
		objectType string
		want       string
	}{
		{Sending, "", "c-sending d-sending"},
		{Sending, "deals", "d-sending"},
		{Created, "", "c-created d-created"},
		{Retry, "contracts", "c-retry"},
		{Unknown, "", "c-read c-unknown d-read d-unknown"},
		{Unknown, "deals", "d-read d-unknown"},
		{Dead, "deals", "d-dead"},
		{Dead, "tickets", ""},
		{Discarded, "", "c-discarded d-discarded"},
		{"", "contracts", "c-created c-dead c-discarded c-read c-retry c-sending c-unknown"},
	} {
		for limit := 1; limit < 9; limit += 2 {
			got := listAll(t, s, ListFilter{Status: c.status, ObjectType: c.objectType, Limit: limit})
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s %s, %d a page: %s", c.status, c.objectType, limit, diff)
			}
		}
	}
}

// What is rare among very many is found page by page, none of which looks at all of them.
func TestListLooksAtSomeOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	exec(t, s, `
INSERT INTO event (event_id, object_type, status, content_hash, record_id, stream, stream_seq)
SELECT 'e' || lpad(n::text, 9, '0'), CASE WHEN n % 125000 = 0 THEN 'rare' ELSE 'contracts' END, 'created', 'h', 'r' || n, 's', n
FROM generate_series(1, 250000) n`)
	first, err := s.Read.List(t.Context(), ListFilter{Status: Created, ObjectType: "rare"})
	ok(t, err)
	if len(first.Records) != 0 || first.Next == "" || first.Looked < lookMost || first.Looked > lookMost+10_000 {
		t.Errorf("%d records, next %q, %d looked at", len(first.Records), first.Next, first.Looked)
	}
	if got := listAll(t, s, ListFilter{ObjectType: "rare"}); !slices.Equal(got, []string{"e000125000", "e000250000"}) {
		t.Error(got)
	}
}

// None of the statements goes by status: no index names it.
func TestListPlans(t *testing.T) {
	t.Parallel()
	s := open(t)
	for status, sql := range map[string]string{"sending": listSending, "retry": listRetry, "unknown": listUnknown, "dead": listDead,
		"attempts": followAttempts, "deaths": followDead, "rows": followRows} {
		args := []any{"", "", 10}
		if strings.Count(sql, "$") < 3 {
			args = []any{"2026-01-01"}
			if status == "rows" {
				args = []any{"00000000-0000-0000-0000-000000000000"}
			}
		}
		plan := strings.Join(lines(t, s, `EXPLAIN `+sql, args...), "\n")
		if strings.Contains(plan, "Seq Scan on ") || strings.Contains(plan, "event_pkey") {
			t.Errorf("%s:\n%s", status, plan)
		}
	}
}
