package operator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// A plan is done once, to what has not changed since, and the audit says so.
func TestDiscard(t *testing.T) {
	t.Parallel()
	r := sample(t)
	plan := r.plan(Filter{Category: "VALIDATION_ERROR"})
	if _, err := r.DeadLetters.Edit(t.Context(), "b", 0, []byte(`{"properties":{}}`), ""); err != nil {
		t.Fatal(err)
	}
	r.call(map[string]outbox.Error{"later": option("red")})
	first, err := r.DeadLetters.Discard(t.Context(), plan, "nobody wants them")
	r.ok(err)
	if first.Done != 2 || first.Skipped != 1 || first.Action == 0 {
		t.Errorf("%+v", first)
	}
	again, err := r.DeadLetters.Discard(t.Context(), plan, "nobody wants them")
	r.ok(err)
	if again.Done != 0 || again.Skipped != 3 || again.Action != 0 {
		t.Errorf("again: %+v", again)
	}
	r.want(
		`SELECT event_id, status, reason, dead_at IS NULL, fingerprint IS NOT NULL, convert_from(payload, 'UTF8')
  FROM outbox WHERE status = 'discarded' ORDER BY 1`,
		"a discarded rejected t t "+payload("a"), "c discarded rejected t t "+payload("c"))
	if got := r.ids(Filter{}); got != "later y x b" {
		t.Errorf("dead: %s", got)
	}
	list, err := r.Audit(t.Context(), Actions{Limit: 9})
	r.ok(err)
	if len(list) != 2 || list[0].Action != "discard" || list[0].Operator != "ann" ||
		list[0].Reason != "nobody wants them" || list[0].Events != 2 ||
		list[0].Skipped != 1 || list[0].Filter.Category != "VALIDATION_ERROR" || list[0].At.IsZero() ||
		list[1].Action != "edit" {
		t.Errorf("%+v", list)
	}
	for _, f := range []struct {
		f    Actions
		want int
	}{{Actions{EventID: "a"}, 1}, {Actions{EventID: "x"}, 0}, {Actions{Action: "edit"}, 1}, {Actions{Operator: "bob"},
		0}, {Actions{Before: list[0].ID}, 1}} {
		f.f.Limit = 9
		if list, err := r.Audit(t.Context(), f.f); err != nil || len(list) != f.want {
			t.Errorf("%+v: %d, %v", f.f, len(list), err)
		}
	}
}

// What was under way when the plan was made, and is committed after, has changed since: though its time is before the
// plan's.
func TestPlanAmidChanges(t *testing.T) {
	t.Parallel()
	grey := Change{Set: map[string]string{"colour": "grey"}}
	for name, do := range map[string]func(rig, ReplayPlan) (done, skipped int64, err error){
		"discard": func(r rig, p ReplayPlan) (int64, int64, error) {
			result, err := r.DeadLetters.Discard(r.Context(), p.Plan, "why")
			return result.Done, result.Skipped, err
		},
		"edit": func(r rig, p ReplayPlan) (int64, int64, error) {
			result, err := r.DeadLetters.EditAll(r.Context(), p.Plan, grey, "")
			return result.Done + result.Unfit, result.Skipped, err
		},
		"replay": func(r rig, p ReplayPlan) (int64, int64, error) {
			result, err := r.Replays.Now(r.Context(), Replay{Plan: p})
			return result.Replayed, result.Skipped, err
		},
		"replay job": func(r rig, p ReplayPlan) (int64, int64, error) {
			job, err := r.Replays.Start(r.Context(), Replay{Plan: p})
			return job.Left(), job.Skipped, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample(t)
			begin := func(sql string) pgx.Tx {
				tx, err := r.pool.Begin(t.Context())
				r.ok(err)
				t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
				_, err = tx.Exec(t.Context(), sql)
				r.ok(err)
				return tx
			}
			late := begin(`SELECT now()`) // has its time, and writes nothing yet
			lock := begin(`SELECT FROM event WHERE event_id = 'a' FOR UPDATE`)
			var edit sync.WaitGroup
			edits := r.plan(Filter{EventIDs: []string{"a", "b"}})
			edit.Go(func() {
				if _, err := r.DeadLetters.EditAll(r.Context(), edits, grey, ""); err != nil {
					t.Error(err)
				}
			})
			r.waiting(1)
			plan, err := r.Replays.Plan(t.Context(), Filter{All: true}, Records{}, false)
			r.ok(err)
			r.ok(lock.Rollback(t.Context()))
			edit.Wait()
			_, err = late.Exec(t.Context(), `UPDATE event SET error = 'another', updated_at = now() WHERE event_id = 'c'`)
			r.ok(err)
			r.ok(late.Commit(t.Context()))
			done, skipped, err := do(r, plan)
			r.ok(err)
			if plan.TotalEvents != 5 || done != 2 || skipped != 3 {
				t.Errorf("of %d events %d are taken and %d skipped", plan.TotalEvents, done, skipped)
			}
		})
	}
}

// atOnce runs all of them at once: each has begun, and waits for the first event's row, before any goes on.
func (r rig) atOnce(do ...func()) {
	r.Helper()
	tx, err := r.pool.Begin(r.Context())
	r.ok(err)
	defer tx.Rollback(r.Context())
	_, err = tx.Exec(r.Context(), `SELECT FROM event WHERE event_id = (SELECT min(event_id) FROM event) FOR UPDATE`)
	r.ok(err)
	var wg sync.WaitGroup
	for _, f := range do {
		wg.Go(f)
	}
	r.waiting(len(do))
	r.ok(tx.Rollback(r.Context()))
	wg.Wait()
}

// waiting returns when so many wait for a lock.
func (r rig) waiting(n int) {
	r.Helper()
	for waiting := 0; waiting < n; { // ends by the test's own deadline
		r.ok(r.pool.QueryRow(r.Context(), `
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting))
	}
}

// together runs both at once, on an outbox of many dead events.
func together(t *testing.T, a, b func(r rig, p Plan) (Result, error)) (rig, [2]Result) {
	t.Helper()
	r := newRig(t)
	errs := map[string]outbox.Error{}
	for i := range 300 {
		errs[strings.Repeat("x", i+1)] = option("red")
	}
	r.call(errs)
	plan := r.plan(Filter{All: true})
	var results [2]Result
	run := func(i int, do func(rig, Plan) (Result, error)) func() {
		return func() {
			var err error
			if results[i], err = do(r, plan); err != nil {
				t.Error(err)
			}
		}
	}
	r.atOnce(run(0, a), run(1, b))
	return r, results
}

// Of two persons who do something to the same events at once, one does it to each event, and the other is told.
func TestTwoTerminals(t *testing.T) {
	t.Parallel()
	discard := func(r rig, p Plan) (Result, error) { return r.DeadLetters.Discard(r.Context(), p, "why") }
	edit := func(r rig, p Plan) (Result, error) {
		return r.DeadLetters.EditAll(r.Context(), p, Change{Set: map[string]string{"colour": "green"}}, "")
	}
	for name, c := range map[string][2]func(rig, Plan) (Result, error){
		"discard, discard": {discard, discard}, "edit, edit": {edit, edit}, "edit, discard": {edit, discard},
	} {
		t.Run(name, func(t *testing.T) {
			r, got := together(t, c[0], c[1])
			if got[0].Done+got[1].Done != 300 || got[0].Done+got[0].Skipped != 300 || got[1].Done+got[1].Skipped != 300 {
				t.Errorf("%+v", got)
			}
			r.want(`SELECT count(*), count(DISTINCT event_id) FROM operator_action_event`, "300 300")
			r.want(`SELECT sum(events) FROM operator_action`, "300")
			r.want(`SELECT count(*) FROM outbox WHERE (revision IS NULL) = (status = 'dead') OR coalesce(revision, 1) <> 1`, "0")
		})
	}
}

// An edit is a revision on top of the one that was read; the original and the content's hash stay.
func TestEdit(t *testing.T) {
	t.Parallel()
	r := sample(t)
	before := func() (hash []byte) {
		r.ok(r.pool.QueryRow(t.Context(), `SELECT content_hash FROM outbox WHERE event_id = 'a'`).Scan(&hash))
		return hash
	}
	hash := before()
	edit := func(revision int, text string) (int, error) {
		return r.DeadLetters.Edit(t.Context(), "a", revision, []byte(`{"properties":{"v":"`+text+`"}}`), "typo")
	}
	if n, err := edit(0, "one"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := edit(0, "one"); n != 1 || err != nil {
		t.Errorf("the same again: %d, %v", n, err)
	}
	if _, err := edit(0, "two"); !errors.Is(err, ErrEdited) {
		t.Error(err)
	}
	if n, err := edit(1, "two"); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for _, text := range []string{`no`, `{"properties":{"bad":1}}`} {
		var unfit *UnfitError
		if _, err := r.DeadLetters.Edit(t.Context(), "a", 2, []byte(text), ""); !errors.As(err, &unfit) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := r.DeadLetters.Edit(t.Context(), "made", 0, []byte(`{"properties":{}}`), ""); !errors.Is(err, ErrNotDead) {
		t.Error(err)
	}
	var unknown *UnknownEventError
	if _, err := r.DeadLetters.Edit(t.Context(), "nobody", 0, nil, ""); !errors.As(err, &unknown) {
		t.Error(err)
	}
	if !slices.Equal(hash, before()) {
		t.Error("the content's hash was changed")
	}
	r.want(
		`SELECT event_id, revision, convert_from(payload, 'UTF8'), action_id IS NULL FROM outbox_revision ORDER BY 1, 2`,
		"a 0 "+payload("a")+" t", `a 1 {"properties":{"v":"one"}} f`, `a 2 {"properties":{"v":"two"}} f`)
	r.want(`SELECT revision, convert_from(payload, 'UTF8'), status FROM outbox WHERE event_id = 'a'`,
		`2 {"properties":{"v":"two"}} dead`)
	r.want(`SELECT operator, action, reason, events, filter->'event_ids' FROM operator_action ORDER BY id`,
		`ann edit typo 1 ["a"]`, `ann edit typo 1 ["a"]`)
}

// Of many who edit one revision at once, one succeeds.
func TestEditAtOnce(t *testing.T) {
	t.Parallel()
	r := sample(t)
	errs := make([]error, 4)
	var edits []func()
	for i := range errs {
		edits = append(edits, func() {
			_, errs[i] = r.DeadLetters.Edit(t.Context(), "a", 0, []byte(`{"properties":{"v":`+strings.Repeat("1", i+1)+`}}`), "")
		})
	}
	r.atOnce(edits...)
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrEdited):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d edits succeeded", won)
	}
	r.want(`SELECT count(*), max(revision) FROM outbox_revision`, "2 1")
}

func TestEditAll(t *testing.T) {
	t.Parallel()
	r := sample(t)
	change := Change{Set: map[string]string{"name": "b"}}
	plan := r.plan(Filter{All: true})
	tried, err := r.DeadLetters.TryEdit(t.Context(), plan, change)
	r.ok(err)
	r.want(`SELECT count(*) FROM outbox_revision`, "0")
	done, err := r.DeadLetters.EditAll(t.Context(), plan, change, "")
	r.ok(err)
	if done.Action == 0 {
		t.Errorf("%+v", done)
	}
	done.Action = 0
	want := Result{Done: 2, Unchanged: 1, Unfit: 2, Why: "event x: it is no JSON object"}
	if diff := cmp.Diff([]Result{want, want}, []Result{tried, done}); diff != "" {
		t.Error(diff)
	}
	again, err := r.DeadLetters.EditAll(t.Context(), r.plan(Filter{All: true}), change, "")
	r.ok(err)
	if want := (Result{Unchanged: 3, Unfit: 2, Why: want.Why}); again != want {
		t.Errorf("again: %+v", again)
	}
	r.want(`SELECT event_id, revision, convert_from(payload, 'UTF8') FROM outbox WHERE revision IS NOT NULL ORDER BY 1`,
		`a 1 {"properties":{"name":"b","n":1.10}}`, `c 1 {"properties":{"name":"b","n":1.10}}`)
	r.want(`SELECT action, events, skipped, detail FROM operator_action`, `edit 2 0 {"set": {"name": "b"}}`)
	unfit, err := r.DeadLetters.EditAll(t.Context(), r.plan(Filter{EventIDs: []string{"a"}}),
		Change{Set: map[string]string{"bad": ""}}, "")
	r.ok(err)
	if unfit.Done != 0 || unfit.Unfit != 1 || unfit.Why != "event a: no event" {
		t.Errorf("%+v", unfit)
	}
}

// The story of an event: each call with its errors taken apart, its revisions, and who did what.
func TestShow(t *testing.T) {
	t.Parallel()
	r := sample(t)
	_, err := r.DeadLetters.Edit(t.Context(), "a", 0, []byte(`{"properties":{"colour":"green"}}`), "typo")
	r.ok(err)
	_, err = r.DeadLetters.Discard(t.Context(), r.plan(Filter{EventIDs: []string{"a"}}), "no use")
	r.ok(err)
	s, err := r.Show(t.Context(), "a")
	r.ok(err)
	if s.Status != outbox.Discarded || s.Revision != 1 || len(s.Revisions) != 2 ||
		string(s.Revisions[0].Payload) != payload("a") || s.Advice != "" || s.Group == "" {
		t.Errorf("%+v", s)
	}
	if len(s.Attempts) != 1 || s.Attempts[0].Status != 207 || s.Attempts[0].CorrelationID != "c-7" ||
		s.Attempts[0].Inputs != 4 || len(s.Attempts[0].Errors) != 1 {
		t.Fatalf("%+v", s.Attempts)
	}
	e := s.Attempts[0].Errors[0]
	if e.Property != "colour" || e.Rule != "INVALID_OPTION" || e.Category != "VALIDATION_ERROR" ||
		string(e.Raw) != `{"v":"red"}` || e.Value != "" {
		t.Errorf("%+v", e)
	}
	if len(s.Actions) != 2 || s.Actions[0].Action != "edit" || s.Actions[1].Reason != "no use" {
		t.Errorf("%+v", s.Actions)
	}
	s, err = r.Show(t.Context(), "x")
	r.ok(err)
	if len(s.Attempts) != 1 || s.Attempts[0].Kind != "" || len(s.Attempts[0].Errors) != 1 || s.Advice == "" ||
		s.DeadAt.IsZero() {
		t.Errorf("%+v", s)
	}
	var unknown *UnknownEventError
	if _, err := r.Show(t.Context(), "nobody"); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

// The value of an error is what the event had when it met it.
func TestShowValueOfThen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.call(map[string]outbox.Error{"a": {Message: "no", Property: "name", Rule: "R"}})
	_, err := r.DeadLetters.Edit(t.Context(), "a", 0, []byte(`{"properties":{"name":"new"}}`), "")
	r.ok(err)
	_, err = r.pool.Exec(t.Context(),
		`INSERT INTO outbox_error (event_id, message, property) VALUES ('a', 'no again', 'name')`)
	r.ok(err)
	s, err := r.Show(t.Context(), "a")
	r.ok(err)
	var got []string
	for _, a := range s.Attempts {
		got = append(got, a.Errors[0].Value)
	}
	if diff := cmp.Diff([]string{"a", "new"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	r := sample(t)
	var got []string
	r.ok(r.DeadLetters.Export(t.Context(), Filter{}, func(e Exported) error {
		got = append(got, e.EventID+" "+string(e.Payload))
		return nil
	}))
	want := []string{"a " + payload("a"), "b " + payload("b"), "c " + payload("c"), "x x", "y y"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	full := errors.New("the disk is full")
	if err := r.DeadLetters.Export(t.Context(), Filter{}, func(Exported) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}
