package operator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }

// rig is an outbox and a person at work on it.
type rig struct {
	*testing.T
	*Operator
}

func newRig(t *testing.T) rig {
	t.Helper()
	store, err := outbox.Open(t.Context(), outboxtest.New(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return rig{t, New(store, Config{Name: "ann", Check: check})}
}

// check takes every object that has properties and no property called "bad".
func check(_, _ string, payload []byte) error {
	if !strings.Contains(string(payload), `"properties"`) || strings.Contains(string(payload), `"bad"`) {
		return errors.New("no event")
	}
	return nil
}

func (r rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// want compares what a query finds, a line for each row with a NULL as "-".
func (r rig) want(sql string, want ...string) {
	r.Helper()
	rows, err := r.pool.Query(r.Context(), sql, pgx.QueryResultFormats{pgx.TextFormatCode})
	r.ok(err)
	got, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var columns []string
		for _, v := range row.RawValues() {
			if v == nil {
				v = []byte("-")
			}
			columns = append(columns, string(v))
		}
		return strings.Join(columns, " "), nil
	})
	r.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("%s (-want +got):\n%s", sql, diff)
	}
}

func payload(id string) string { return `{"properties":{"name":"` + id + `", "n":1.10}}` }

// call makes a call of contracts in which each event gets an error of its own; one without an error is created.
func (r rig) call(errs map[string]outbox.Error) {
	r.Helper()
	var events []outbox.Event
	var settlements []outbox.Settlement
	call := outbox.Call{Status: 207, CorrelationID: "c-7"}
	for id, e := range errs {
		events = append(events, outbox.Event{ID: id, ObjectType: "contracts", Payload: []byte(payload(id)), Stream: "S",
			StreamSeq: 1})
		s := outbox.Settlement{EventID: id, Status: outbox.Created, RecordID: "1"}
		call.Created++
		if e.Message != "" {
			s = outbox.Settlement{EventID: id, Status: outbox.Dead, Reason: outbox.Rejected, Error: e.Category + ": " +
				e.Message, Counted: true, Errors: []outbox.Error{e}}
			call.Created--
			call.Rejected++
		}
		settlements = append(settlements, s)
	}
	a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts", Worker: "w", Lease: time.Hour}
	_, err := r.store.Batches.Intend(r.Context(), a, events)
	r.ok(err)
	r.ok(r.store.Batches.Settle(r.Context(), a.ID, call, settlements))
}

// option is the error of an event whose colour is none that the CRM knows.
func option(value string) outbox.Error {
	return outbox.Error{Category: "VALIDATION_ERROR", Message: value + " is no option", Property: "colour",
		Rule: "INVALID_OPTION", Raw: []byte(`{"v":"` + value + `"}`)}
}

func (r rig) bury(ids ...string) {
	r.Helper()
	var list []outbox.DeadLetter
	for _, id := range ids {
		list = append(list, outbox.DeadLetter{Event: outbox.Event{ID: id, ObjectType: "deals", Payload: []byte(id),
			Stream: "S", StreamSeq: 2},
			Reason: outbox.InvalidEvent, Error: "not JSON (byte 0)"})
	}
	_, err := r.store.Batches.InsertDead(r.Context(), list)
	r.ok(err)
}

// sample is three groups: two rejected for their colour, one for its size, and two invalid events; and one created.
func sample(t *testing.T) rig {
	t.Helper()
	r := newRig(t)
	r.call(map[string]outbox.Error{"a": option("red"), "b": option("blue"), "c": {Category: "VALIDATION_ERROR",
		Message: "too big", Property: "size", Rule: "RANGE"}, "made": {}})
	r.bury("x", "y")
	return r
}

func (r rig) plan(f Filter) Plan {
	r.Helper()
	p, err := r.DeadLetters.Plan(r.Context(), f)
	r.ok(err)
	return p
}

func (r rig) ids(f Filter) string {
	r.Helper()
	page, err := r.DeadLetters.List(r.Context(), f, "", 100)
	r.ok(err)
	var ids []string
	for _, e := range page.Events {
		ids = append(ids, e.EventID)
	}
	return strings.Join(ids, " ")
}

func TestGroups(t *testing.T) {
	t.Parallel()
	r := sample(t)
	all, err := r.DeadLetters.Groups(t.Context(), Filter{}, 10)
	r.ok(err)
	var got []string
	for _, g := range all.List {
		got = append(got, strings.TrimSpace(fmt.Sprintln(g.Events, g.ObjectType, g.Reason, g.Category, g.Property,
			g.Rule, g.Example)))
		if g.Advice == "" || g.FirstSeen.IsZero() || g.LastSeen.Before(g.FirstSeen) || g.Error == "" ||
			len(g.Fingerprint) != 12 {
			t.Errorf("%+v", g)
		}
	}
	want := []string{
		"2 contracts rejected VALIDATION_ERROR colour INVALID_OPTION b",
		"2 deals invalid_event invalid_event   y",
		"1 contracts rejected VALIDATION_ERROR size RANGE c",
	}
	if got[0] == want[1] { // as many events: by fingerprint
		got[0], got[1] = got[1], got[0]
	}
	if diff := cmp.Diff(want, got); diff != "" || all.TotalGroups != 3 || all.TotalEvents != 5 {
		t.Error(diff, all)
	}
	some, err := r.DeadLetters.Groups(t.Context(), Filter{ObjectType: "contracts"}, 1)
	r.ok(err)
	if len(some.List) != 1 || some.TotalGroups != 2 || some.TotalEvents != 3 {
		t.Errorf("%+v", some)
	}
	none, err := r.DeadLetters.Groups(t.Context(), Filter{Text: "nowhere"}, 1)
	r.ok(err)
	if none.TotalEvents != 0 || none.List == nil {
		t.Errorf("%+v", none)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	r := sample(t)
	groups, err := r.DeadLetters.Groups(t.Context(), Filter{EventIDs: []string{"a"}}, 1)
	r.ok(err)
	var died, later time.Time
	r.ok(r.pool.QueryRow(t.Context(),
		`SELECT dead_at, dead_at + interval '1 microsecond' FROM outbox WHERE event_id = 'c'`).Scan(&died, &later))
	for name, c := range map[string]struct {
		f    Filter
		want string
	}{
		"all":            {Filter{}, "y x c b a"},
		"ids":            {Filter{EventIDs: []string{"a", "made", "x", "nobody"}}, "x a"},
		"group":          {Filter{Groups: []string{groups.List[0].Fingerprint}}, "b a"},
		"reason":         {Filter{Reason: outbox.InvalidEvent}, "y x"},
		"object type":    {Filter{ObjectType: "contracts"}, "c b a"},
		"category":       {Filter{Category: "VALIDATION_ERROR"}, "c b a"},
		"text of error":  {Filter{Text: "TOO big"}, "c"},
		"text of event":  {Filter{Text: `"name":"b"`}, "b"},
		"since":          {Filter{Since: later}, "y x"},
		"since itself":   {Filter{Since: died, ObjectType: "contracts"}, "c b a"},
		"until":          {Filter{Until: later}, "c b a"},
		"until itself":   {Filter{Until: died}, ""},
		"all must hold":  {Filter{ObjectType: "contracts", Text: "red", Reason: outbox.Rejected}, "a"},
		"as it was then": {Filter{AsOf: died}, "c b a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.ids(c.f); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	for _, f := range []Filter{{Reason: "boredom"}, {Since: later, Until: died}, {Text: "\xff"},
		{EventIDs: []string{"\x00"}}, {All: true, Text: "x"}} {
		var fault *FilterError
		if _, err := r.DeadLetters.List(t.Context(), f, "", 1); !errors.As(err, &fault) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// Pages follow each other without a gap or a repetition, though events die meanwhile.
func TestPages(t *testing.T) {
	t.Parallel()
	r := sample(t)
	var got []string
	from := ""
	for {
		page, err := r.DeadLetters.List(t.Context(), Filter{}, from, 2)
		r.ok(err)
		for _, e := range page.Events {
			got = append(got, e.EventID)
		}
		if from = page.Next; from == "" {
			break
		}
		r.bury(fmt.Sprint("new", len(got)))
	}
	if diff := cmp.Diff([]string{"y", "x", "c", "b", "a"}, got); diff != "" {
		t.Error(diff)
	}
	for _, from := range []string{"?", "eA", "MSBhCg"} {
		var fault *FilterError
		if _, err := r.DeadLetters.List(t.Context(), Filter{}, from, 1); !errors.As(err, &fault) {
			t.Errorf("%q: %v", from, err)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	r := sample(t)
	if _, err := r.DeadLetters.Plan(t.Context(), Filter{}); !errors.Is(err, ErrEverything) {
		t.Error(err)
	}
	if p := r.plan(Filter{All: true}); p.TotalEvents != 5 || p.TotalGroups != 3 || p.Filter.AsOf.IsZero() {
		t.Errorf("%+v", p)
	}
	var unknown *UnknownEventError
	if _, err := r.DeadLetters.Plan(t.Context(), Filter{EventIDs: []string{"a", "nobody"}}); !errors.As(err,
		&unknown) || unknown.EventID != "nobody" {
		t.Error(err)
	}
	if p := r.plan(Filter{EventIDs: []string{"a", "made"}}); p.TotalEvents != 1 || p.NotDead != 1 {
		t.Errorf("%+v", p)
	}
	for _, p := range []Plan{{}, {Filter: Filter{All: true}}, {Filter: Filter{AsOf: time.Now()}}} {
		if _, err := r.DeadLetters.Discard(t.Context(), p, "why"); err == nil {
			t.Errorf("discarded by %+v", p)
		}
		if _, err := r.DeadLetters.EditAll(t.Context(), p, Change{Unset: []string{"n"}}, ""); err == nil {
			t.Errorf("edited by %+v", p)
		}
	}
	if _, err := r.DeadLetters.Discard(t.Context(), r.plan(Filter{All: true}), " "); !errors.Is(err, ErrNoReason) {
		t.Error(err)
	}
	r.want(`SELECT count(*) FROM operator_action`, "0")
	r.want(`SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL`, "5")
}
