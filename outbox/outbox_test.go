package outbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }

// open returns a Store on a database of its own.
func open(t testing.TB) *Store {
	t.Helper()
	return openAt(t, outboxtest.New(t), 8)
}

func openAt(t testing.TB, url string, conns int) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// exec does what only a test does: it changes rows past the Store.
func exec(t testing.TB, s *Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// lines returns what a query finds, a line for each row: its columns as text, joined by spaces, a NULL as "-".
func lines(t testing.TB, s *Store, sql string, args ...any) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
		var columns []string
		for _, v := range r.RawValues() {
			if v == nil {
				v = []byte("-")
			}
			columns = append(columns, string(v))
		}
		return strings.Join(columns, " "), nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

func want(t testing.TB, s *Store, sql string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, lines(t, s, sql)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", sql, diff)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const objectType = "contracts"

// newAttempt's lease is long enough never to end by itself.
func newAttempt() Attempt {
	return Attempt{ID: NewAttemptID(), ObjectType: objectType, Worker: "w", Lease: time.Hour}
}

// event has the id and content that names both.
func event(id, content string) Event {
	e := Event{ID: id, ObjectType: objectType, Payload: []byte(content), Stream: "S", StreamSeq: 7}
	copy(e.ContentHash[:], content)
	return e
}

func events(ids ...string) []Event {
	list := make([]Event, len(ids))
	for i, id := range ids {
		list[i] = event(id, "content of "+id)
	}
	return list
}

// intend has the events of these ids sent by a new attempt.
func intend(t testing.TB, s *Store, ids ...string) Attempt {
	t.Helper()
	a := newAttempt()
	standing, err := s.Batches.Intend(t.Context(), a, events(ids...))
	ok(t, err)
	if diff := cmp.Diff(make([]IntentResult, len(ids)), standing); diff != "" {
		t.Fatal(diff)
	}
	return a
}

// settle settles all of an attempt's rows alike.
func settle(t testing.TB, s *Store, a Attempt, like Settlement, ids ...string) {
	t.Helper()
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Unknown: len(ids)}, alike(like, ids...)))
}

func alike(like Settlement, ids ...string) []Settlement {
	list := make([]Settlement, len(ids))
	for i, id := range ids {
		list[i] = like
		list[i].EventID = id
		if like.RecordID != "" {
			list[i].RecordID = like.RecordID + "-" + id
		}
	}
	return list
}

var (
	created = Settlement{Status: Created, RecordID: "r"}
	retry   = Settlement{Status: Retry, Error: "busy"}
	unknown = Settlement{Status: Unknown, Error: "no answer", Counted: true, InDoubt: true}
	dead    = Settlement{Status: Dead, Reason: Rejected, Error: "bad", Counted: true}
)

// endLease lets an attempt's lease be over.
func endLease(t testing.TB, s *Store, id uuid.UUID) {
	t.Helper()
	exec(t, s, `UPDATE attempt SET lease_until = now() - interval '1 second' WHERE id = $1`, id)
}

func expire(t testing.TB, s *Store) []Expired {
	t.Helper()
	lost, err := s.Leases.Expire(t.Context(), 100, 0, 0)
	ok(t, err)
	return lost
}

func claimIDs(t testing.TB, s *Store, a Attempt, status Status) []string {
	t.Helper()
	rows, err := s.Schedule.Claim(t.Context(), a, status, 100, 1<<20)
	ok(t, err)
	return idsOf(rows)
}

func idsOf(rows []Row) []string {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// numbered returns n ids that sort by number.
func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return ids
}
