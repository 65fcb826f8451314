package outbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

// model is what the outbox promises, in memory: all that the tables say of rows and attempts, but times.
type model struct {
	t        *rapid.T
	s        *Store
	rows     map[string]*modelRow
	attempts map[uuid.UUID]*modelAttempt
}

type modelRow struct {
	Status    Status
	Reason    Reason
	Content   string
	Attempt   uuid.UUID
	Attempts  int
	Before    int // attempts before the last replay
	Misses    int // -1: null
	InDoubt   bool
	Duplicate bool
	Due       bool
	Errors    int
	AskBy     string
	Untold    int
}

type modelAttempt struct {
	Kind, State string
	Held        []string // sorted
	Inputs      int
	IDProperty  string
}

// Whatever is done, in whatever order, the database holds what the model does.
func TestModel(t *testing.T) {
	t.Parallel()
	s := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		exec(t, s, `TRUNCATE event, attempt, outbox_error`)
		m := &model{rt, s, map[string]*modelRow{}, map[uuid.UUID]*modelAttempt{}}
		rt.Repeat(map[string]func(*rapid.T){
			"intend": m.intend, "bury": m.bury, "settle": m.settle, "claim": m.claim, "expire": m.expire, "split": m.split, "park": m.park,
			"replay": m.replay,
			"":       func(rt *rapid.T) { m.compare(rt, t) },
		})
	})
}

func (m *model) ids(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"}), 1, 5).Draw(t, "ids")
}

func (m *model) intend(t *rapid.T) {
	a := newAttempt()
	a.IDProperty = rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "id property")
	var list []Event
	var want []IntentResult
	held := map[string]bool{}
	for _, id := range m.ids(t) {
		content := rapid.SampledFrom([]string{"usual", "usual", "usual", "other"}).Draw(t, "content")
		list = append(list, event(id, content))
		switch r := m.rows[id]; {
		case r == nil:
			m.rows[id] = &modelRow{Status: Sending, Content: content, Attempt: a.ID, Misses: -1}
			held[id] = true
			want = append(want, Inserted)
		case r.Content == content:
			want = append(want, Duplicate)
		default:
			want = append(want, Reused)
		}
	}
	if len(held) > 0 {
		m.attempts[a.ID] = &modelAttempt{"create", "open", slices.Sorted(maps.Keys(held)), len(held), a.IDProperty}
	}
	for range rapid.IntRange(1, 2).Draw(t, "tries") {
		got, err := m.s.Batches.Intend(t.Context(), a, list)
		must(t, err)
		same(t, want, got)
	}
}

func (m *model) bury(t *rapid.T) {
	id := rapid.SampledFrom([]string{"a", "b", "x"}).Draw(t, "id")
	content := rapid.SampledFrom([]string{"usual", "other"}).Draw(t, "content")
	var want []int
	if r := m.rows[id]; r == nil {
		m.rows[id] = &modelRow{Status: Dead, Reason: InvalidEvent, Content: content, Misses: -1, Errors: 1}
	} else if r.Content != content {
		want = []int{0}
	}
	got, err := m.s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event(id, content), Reason: InvalidEvent}})
	must(t, err)
	same(t, want, got)
}

// attempt draws one, or skips the action.
func (m *model) attempt(t *rapid.T, fits func(*modelAttempt) bool) uuid.UUID {
	var ids []uuid.UUID
	for id, a := range m.attempts {
		if fits(a) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("no such attempt")
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
	return rapid.SampledFrom(ids).Draw(t, "attempt")
}

func (m *model) settle(t *rapid.T) {
	id := m.attempt(t, func(*modelAttempt) bool { return true })
	a := m.attempts[id]
	held := a.Held
	if a.State != "open" {
		held = m.ids(t) // whatever is settled under a closed attempt changes nothing
	}
	var list []Settlement
	for _, event := range held {
		st := Settlement{EventID: event, Status: rapid.SampledFrom([]Status{Created, Retry, Unknown, Dead}).Draw(t, "status"), Error: "e"}
		st.Counted, st.InDoubt = rapid.Bool().Draw(t, "counted"), rapid.Bool().Draw(t, "doubt")
		st.PossibleDuplicate, st.Missed = rapid.Bool().Draw(t, "duplicate"), rapid.Bool().Draw(t, "missed")
		st.Errors = make([]Error, rapid.IntRange(0, 2).Draw(t, "errors"))
		switch st.Status {
		case Created:
			st.RecordID = "r-" + event
		case Dead:
			st.Reason = Rejected
		case Unknown:
			st.Reason = rapid.SampledFrom([]Reason{"", Conflict}).Draw(t, "pending")
			st.IDProperty, st.Untold = rapid.SampledFrom([]string{"", "p"}).Draw(t, "asked by"), rapid.Bool().Draw(t, "untold")
			fallthrough
		default:
			st.Wait = rapid.SampledFrom([]time.Duration{0, 0, time.Hour}).Draw(t, "wait")
		}
		list = append(list, st)
	}
	err := m.s.Batches.Settle(t.Context(), id, Call{NotApplied: a.Inputs}, list)
	switch a.State {
	case "expired":
		if !errors.Is(err, ErrLeaseLost) {
			t.Fatalf("settled an expired attempt: %v", err)
		}
		return
	case "settled":
		must(t, err)
		return
	}
	must(t, err)
	for _, st := range list {
		r := m.rows[st.EventID]
		if st.Status == Created && r.Status == Sending || st.Status != Created && st.Counted {
			r.Attempts++
		}
		if st.Status == Unknown && r.Status == Sending {
			r.AskBy = st.IDProperty
		}
		if st.Status != Unknown {
			r.Untold = 0
		} else if st.Untold {
			r.Untold++
		}
		switch {
		case st.Status != Unknown:
			r.Misses = -1
		case r.Status == Sending:
			r.Misses = 0
		case st.Missed:
			r.Misses++
		}
		r.InDoubt, r.Duplicate = r.InDoubt || st.InDoubt, r.Duplicate || st.PossibleDuplicate
		r.Status, r.Reason, r.Errors = st.Status, st.Reason, r.Errors+len(st.Errors)
		r.Due = (st.Status == Retry || st.Status == Unknown) && st.Wait == 0
	}
	a.State, a.Held = "settled", nil
}

func (m *model) due(status Status) (ids []string) {
	for id, r := range m.rows {
		if r.Status == status && r.Due {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m *model) claim(t *rapid.T) {
	a := newAttempt()
	a.IDProperty = rapid.SampledFrom([]string{"", "p"}).Draw(t, "id property")
	status := rapid.SampledFrom([]Status{Retry, Unknown}).Draw(t, "status")
	due := m.due(status)
	var ids []string // as the first try has them
	for try := range rapid.IntRange(1, 2).Draw(t, "tries") {
		rows, err := m.s.Schedule.Claim(t.Context(), a, status, 100, 1<<20)
		must(t, err)
		if try > 0 {
			same(t, ids, idsOf(rows))
			continue
		}
		ids = idsOf(rows)
		if status == Retry || len(due) == 0 {
			same(t, due, ids)
		} else {
			same(t, m.together(t, due, ids), ids)
		}
		for _, row := range rows {
			r := m.rows[row.ID]
			reason := Reason("")
			if status == Unknown {
				reason = r.Reason
			}
			same(t, []any{r.Content, r.Attempts - r.Before, max(r.Misses, 0), r.InDoubt, r.AskBy, r.Untold, reason},
				[]any{string(row.Payload), row.Attempts, row.Misses, row.InDoubt, row.IDProperty, row.Untold, row.Pending})
		}
	}
	if len(ids) == 0 {
		return
	}
	kind := map[Status]string{Retry: "create", Unknown: "read"}[status]
	m.attempts[a.ID] = &modelAttempt{kind, "open", ids, len(ids), a.IDProperty}
	for _, id := range ids {
		r := m.rows[id]
		r.Attempt, r.Due = a.ID, false
		if status == Retry {
			r.Status = Sending
		}
	}
}

// together are the due rows that may be asked about with those that were claimed: one alone of which a question told
// nothing, or all others that are asked about by its property.
func (m *model) together(t *rapid.T, due, claimed []string) (ids []string) {
	if len(claimed) == 0 {
		t.Fatalf("of %v none was claimed", due)
	}
	first := m.rows[claimed[0]]
	if first.Untold > 0 {
		return claimed[:1]
	}
	for _, id := range due {
		if r := m.rows[id]; r.Untold == 0 && r.AskBy == first.AskBy {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *model) expire(t *rapid.T) {
	id := m.attempt(t, func(a *modelAttempt) bool { return a.State == "open" })
	a := m.attempts[id]
	_, err := m.s.pool.Exec(t.Context(), `UPDATE attempt SET lease_until = now() - interval '1 s' WHERE id = $1`, id)
	must(t, err)
	lost, err := m.s.Leases.Expire(t.Context(), 100, 0, 0)
	must(t, err)
	same(t, []Expired{{ID: id, Read: a.Kind == "read", Worker: "w", ObjectType: objectType, Rows: len(a.Held)}}, lost)
	for _, event := range a.Held {
		r := m.rows[event]
		if r.Due = true; a.Kind == "create" {
			r.Status, r.InDoubt, r.Misses, r.Attempts, r.Errors = Unknown, true, 0, r.Attempts+1, r.Errors+1
			r.AskBy = a.IDProperty
		}
	}
	a.State, a.Held = "expired", nil
}

func (m *model) split(t *rapid.T) {
	parent := m.attempt(t, func(a *modelAttempt) bool { return a.Kind == "create" && len(a.Held) > 0 })
	a, child := m.attempts[parent], NewAttemptID()
	n := rapid.IntRange(1, len(a.Held)).Draw(t, "n")
	moved := a.Held[:n]
	for range rapid.IntRange(1, 2).Draw(t, "tries") {
		must(t, m.s.Batches.Split(t.Context(), parent, child, moved, time.Hour))
	}
	m.attempts[child] = &modelAttempt{"create", "open", slices.Clone(moved), n, a.IDProperty}
	a.Held = slices.Clone(a.Held[n:])
	for _, id := range moved {
		m.rows[id].Attempt = child
	}
}

func (m *model) park(t *rapid.T) {
	resend := rapid.Bool().Draw(t, "resend")
	ids := slices.DeleteFunc(m.due(Unknown), func(id string) bool { return m.rows[id].AskBy != "" })
	var how *Resend
	if resend {
		how = &Resend{Attempts: 1000, Age: time.Hour}
	}
	dead, again, err := m.s.Schedule.Park(t.Context(), objectType, how, 100)
	must(t, err)
	if resend {
		dead, again = again, dead
	}
	same(t, []int{len(ids), 0}, []int{dead, again})
	for _, id := range ids {
		r := m.rows[id]
		r.Untold = 0
		if r.Misses = -1; resend {
			r.Status, r.Reason, r.Duplicate = Retry, "", true
		} else {
			r.Status, r.Reason, r.Due = Dead, UnknownOutcome, false
		}
	}
}

// replay sends rows again as a person who has looked at them before: what has changed since is left alone.
func (m *model) replay(t *rapid.T) {
	ids := m.ids(t)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var list []Replay
	var want []string
	for _, id := range ids {
		r := m.rows[id]
		if r == nil {
			r = &modelRow{}
		}
		var seen time.Time
		rows, err := m.s.pool.Query(t.Context(), `SELECT coalesce(max(updated_at), now()) FROM outbox WHERE event_id = $1`, id)
		must(t, err)
		seen, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[time.Time])
		must(t, err)
		again := Replay{EventID: id, Seen: seen, AskBy: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "ask"), PossibleDuplicate: rapid.Bool().Draw(t, "duplicate")}
		if rapid.IntRange(0, 3).Draw(t, "changed") == 0 {
			again.Seen = seen.Add(-time.Microsecond)
		} else if r.Status == Dead {
			want = append(want, id)
			r.Status, r.Reason, r.Due, r.Before, r.Duplicate = Retry, "", true, r.Attempts, r.Duplicate || again.PossibleDuplicate
			if r.Untold = 0; again.AskBy != "" {
				r.Status, r.Misses, r.AskBy = Unknown, 0, cmp.Or(r.AskBy, again.AskBy)
			} else {
				r.AskBy = ""
			}
		}
		list = append(list, again)
	}
	for range rapid.IntRange(1, 2).Draw(t, "tries") {
		var got []string
		must(t, pgx.BeginFunc(t.Context(), m.s.pool, func(tx pgx.Tx) (err error) {
			got, err = SendAgain(t.Context(), tx, list)
			return err
		}))
		same(t, want, got)
		want = nil // the second time they are not as they were seen
	}
}

func (m *model) compare(rt *rapid.T, t *testing.T) {
	var want []string
	for id, r := range m.rows {
		attempt := "-"
		if r.Attempt != uuid.Nil {
			attempt = r.Attempt.String()
		}
		want = append(want, fmt.Sprintf("%s %s %s %s %d %d %t %t %t %d %d", id, r.Status, cmp.Or(string(r.Reason), "-"), attempt,
			r.Attempts, r.Misses, r.InDoubt, r.Duplicate, r.Due, r.Errors, r.Untold))
	}
	slices.Sort(want)
	same(rt, want, lines(t, m.s, `
SELECT event_id, status, reason, attempt_id, attempts, coalesce(misses, -1), in_doubt::text, possible_duplicate::text,
  coalesce(next_attempt_at <= now(), false)::text, (SELECT count(*) FROM outbox_error e WHERE e.event_id = o.event_id),
  coalesce((SELECT untold FROM event e WHERE e.event_id = o.event_id), 0)
FROM outbox o ORDER BY event_id`))

	want = nil
	for id, a := range m.attempts {
		held := "-"
		if a.State == "open" {
			held = fmt.Sprint(a.Held)
		}
		want = append(want, fmt.Sprintf("%s %s %s %d %s", id, a.Kind, a.State, a.Inputs, held))
	}
	slices.Sort(want)
	same(rt, want, lines(t, m.s, `
SELECT id, kind, state, inputs, CASE WHEN event_ids IS NOT NULL THEN '[' || array_to_string(ARRAY(SELECT unnest(event_ids) ORDER BY 1), ' ') || ']' END FROM attempt ORDER BY id::text COLLATE "C"`))

	left, err := m.s.Schedule.Outstanding(rt.Context())
	must(rt, err)
	busy := slices.ContainsFunc(slices.Collect(maps.Values(m.attempts)), func(a *modelAttempt) bool { return a.State == "open" }) ||
		slices.ContainsFunc(slices.Collect(maps.Values(m.rows)), func(r *modelRow) bool { return r.Status == Retry || r.Status == Unknown })
	same(rt, busy, left)
	var due []Due
	if r, u := len(m.due(Retry)) > 0, len(m.due(Unknown)) > 0; r || u {
		due = []Due{{objectType, r, u}}
	}
	got, err := m.s.Schedule.Due(rt.Context())
	must(rt, err)
	same(rt, due, got)
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same holds two values against each other; an empty list is a nil one.
func same(t *rapid.T, want, got any) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" && fmt.Sprint(want) != fmt.Sprint(got) {
		t.Fatalf("-want +got:\n%s", diff)
	}
}
