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
)

// waiting adds n events that wait in `retry`, and so many in `unknown`.
func (r *replayRig) waiting(objectType, prefix string, retry, unknown int) {
	r.t.Helper()
	r.exec(`
INSERT INTO event (event_id, object_type, status, payload, content_hash, error, attempts, next_attempt_at,
  misses, in_doubt, stream, stream_seq)
SELECT $2 || lpad(n::text, 5, '0'), $1, CASE WHEN n > $3 THEN 'unknown' ELSE 'retry' END, 'named', 'h',
  '403 refused', 1, now(), CASE WHEN n > $3 THEN 0 END, n > $3, 's', n FROM generate_series(1, $3::int + $4::int) n`,
		objectType, prefix, retry, unknown)
}

func (r *replayRig) planGiveUp(u Undecided) GiveUpPlan {
	r.t.Helper()
	p, err := r.Waiting.PlanGiveUp(r.t.Context(), u)
	r.must(err)
	return p
}

func (r *replayRig) giveUp(p GiveUpPlan, want Result) {
	r.t.Helper()
	told := int64(0)
	got, err := r.Waiting.GiveUp(r.t.Context(), p, "the pause lasts", func(done int64) { told = done })
	r.must(err)
	if told != got.Done {
		r.t.Errorf("told of %d events, done to %d", told, got.Done)
	}
	if (got.Action != 0) != (want.Done > 0) {
		r.t.Errorf("its line in the audit: %d", got.Action)
	}
	if got.Action = 0; got != want {
		r.t.Errorf("got %+v, want %+v", got, want)
	}
}

// claim has a worker call for an event.
func (r *replayRig) claim(status outbox.Status, eventID string) {
	r.t.Helper()
	r.exec(`UPDATE event SET next_attempt_at = now() + (event_id <> $1)::int * interval '1 hour'
		WHERE next_attempt_at IS NOT NULL`, eventID)
	a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts", Worker: "w", Lease: time.Hour}
	rows, err := r.store.Schedule.Claim(r.t.Context(), a, status, 10, 1<<20)
	r.must(err)
	if len(rows) != 1 || rows[0].ID != eventID {
		r.t.Fatalf("claimed %+v", rows)
	}
}

// Who waits becomes a dead letter with the person's reason; who is in a call, or changed since the plan, is left alone
// and counted; and the audit has it.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 4, 3)
	r.exec(`UPDATE event SET in_doubt = true WHERE event_id = 'c00004'`) // a call of its past may have made a record
	r.dead("contracts", "d", 1)
	r.claim(outbox.Retry, "c00001")
	r.claim(outbox.Unknown, "c00005")
	p := r.planGiveUp(Undecided{Filter: Filter{All: true}})
	for i := range p.List {
		p.List[i].Oldest = time.Time{}
	}
	want := []UndecidedGroup{
		{"contracts", outbox.Retry, outbox.Exhausted, 2, time.Time{}, "c00002", "403 refused"},
		{"contracts", outbox.Unknown, outbox.UnknownOutcome, 2, time.Time{}, "c00006", "403 refused"},
		{"contracts", outbox.Retry, outbox.UnknownOutcome, 1, time.Time{}, "c00004", "403 refused"},
	}
	if diff := cmp.Diff(want, p.List); diff != "" ||
		p.TotalEvents != 5 || p.TotalGroups != 3 || p.InCall != 2 || p.NotUndecided != 0 {
		t.Errorf("%+v\n%s", p, diff)
	}
	r.want(`SELECT count(*) FROM operator_action`, "0")
	r.claim(outbox.Unknown, "c00006") // after the plan
	r.giveUp(p, Result{Done: 4, Skipped: 1})
	r.giveUp(p, Result{Skipped: 5})
	r.want(`SELECT event_id, status, reason, error, misses FROM outbox WHERE event_id LIKE 'c%' ORDER BY 1`,
		"c00001 sending <nil> 403 refused <nil>",
		"c00002 dead exhausted given up by hand: the pause lasts; before that: 403 refused <nil>",
		"c00003 dead exhausted given up by hand: the pause lasts; before that: 403 refused <nil>",
		"c00004 dead unknown_outcome given up by hand: the pause lasts; before that: 403 refused <nil>",
		"c00005 unknown <nil> 403 refused 0", "c00006 unknown <nil> 403 refused 0",
		"c00007 dead unknown_outcome given up by hand: the pause lasts; before that: 403 refused <nil>")
	r.want(`SELECT operator, action, reason, filter - 'as_of', detail, events, skipped FROM operator_action`,
		"anna give-up the pause lasts map[all:true] <nil> 4 1")
	r.want(`SELECT event_id FROM operator_action_event ORDER BY 1`, "c00002", "c00003", "c00004", "c00007")

	// From there they are dead letters as others are, one group for each reason.
	groups, err := r.DeadLetters.Groups(t.Context(), Filter{Text: "given up by hand"}, 9)
	r.must(err)
	if len(groups.List) != 2 || groups.TotalEvents != 4 || groups.List[0].Events != 2 || groups.List[1].Events != 2 {
		t.Errorf("%+v", groups)
	}
	story, err := r.Show(t.Context(), "c00002")
	r.must(err)
	if n := len(story.Attempts); n != 1 || len(story.Attempts[0].Errors) != 1 ||
		story.Attempts[0].Errors[0].Message != "given up by hand: the pause lasts" ||
		len(story.Actions) != 1 || story.Actions[0].Action != "give-up" {
		t.Errorf("%+v", story)
	}
	page, err := r.DeadLetters.List(t.Context(), Filter{Reason: outbox.UnknownOutcome}, "", 9)
	r.must(err)
	if len(page.Events) != 2 {
		t.Errorf("%+v", page)
	}
}

// What may have a record is asked about before a replay sends it, and what has none is sent.
func TestReplayOfWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 2, 1)
	r.exec(`UPDATE event SET in_doubt = true WHERE event_id = 'c00002'`)
	r.giveUp(r.planGiveUp(Undecided{Filter: Filter{ObjectType: "contracts"}}), Result{Done: 3})
	p := r.plan(Filter{All: true})
	if p.Plan.Ask != 2 || p.Plan.Risk != 0 || p.Plan.Sent != 3 {
		t.Errorf("%+v", p.Plan)
	}
	_, err := r.Replays.Now(t.Context(), p)
	r.must(err)
	r.want(`SELECT event_id, status, misses FROM outbox ORDER BY 1`,
		"c00001 retry <nil>", "c00002 unknown 0", "c00003 unknown 0")
}

// Each filter takes what it says and nothing else.
func TestGiveUpFilters(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 2, 2)
	r.waiting("deals", "d", 1, 0)
	r.dead("contracts", "e", 1)
	r.exec(`UPDATE event SET received_at = now() - interval '2 days',
		replayed_at = CASE WHEN event_id = 'c00003' THEN now() END WHERE event_id IN ('c00002', 'c00003')`)
	r.exec(`UPDATE event SET payload = 'odd' WHERE event_id = 'd00001'`)
	r.exec(`INSERT INTO outbox_error (event_id, category, message) VALUES ('c00004', 'RATE_LIMIT', 'm')`)
	for name, c := range map[string]struct {
		u    Undecided
		want string
	}{
		"all":     {Undecided{Filter: Filter{All: true}}, "c00001 c00002 c00003 c00004 d00001"},
		"type":    {Undecided{Filter: Filter{ObjectType: "deals"}}, "d00001"},
		"retry":   {Undecided{Status: outbox.Retry}, "c00001 c00002 d00001"},
		"unknown": {Undecided{Status: outbox.Unknown}, "c00003 c00004"},
		"old":     {Undecided{Before: time.Now().Add(-24 * time.Hour)}, "c00002"},
		"text":    {Undecided{Filter: Filter{Text: "odd"}}, "d00001"},
		"error":   {Undecided{Filter: Filter{Category: "RATE_LIMIT"}}, "c00004"},
		"ids":     {Undecided{Filter: Filter{EventIDs: []string{"c00001", "d00001", "e00001"}}}, "c00001 d00001"},
		"both":    {Undecided{Filter: Filter{ObjectType: "contracts"}, Status: outbox.Retry}, "c00001 c00002"},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.planGiveUp(c.u)
			args := pgx.NamedArgs{}
			where := p.Filter.where(args)
			rows, err := r.pool.Query(t.Context(), `SELECT o.event_id FROM event o WHERE `+where+` ORDER BY 1`, args)
			r.must(err)
			ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
			r.must(err)
			if got := strings.Join(ids, " "); got != c.want || p.TotalEvents != int64(len(ids)) {
				t.Errorf("got %q of %d, want %q", got, p.TotalEvents, c.want)
			}
			if left := int64(strings.Count(fmt.Sprint(c.u.EventIDs), "e")); p.NotUndecided != left {
				t.Errorf("%d are not undecided, want %d", p.NotUndecided, left)
			}
		})
	}
}

func TestGiveUpRefuses(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 1, 1)
	for name, u := range map[string]Undecided{
		"a dead one's group":  {Filter: Filter{Groups: []string{"f"}}},
		"a dead one's reason": {Filter: Filter{Reason: outbox.Exhausted}},
		"a time of death":     {Filter: Filter{Since: time.Now()}},
		"another status":      {Status: outbox.Created},
		"all and a status":    {Filter: Filter{All: true}, Status: outbox.Retry},
		"all and an age":      {Filter: Filter{All: true}, Before: time.Now()},
	} {
		if _, err := r.Waiting.PlanGiveUp(t.Context(), u); !errors.As(err, new(*FilterError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Waiting.PlanGiveUp(t.Context(), Undecided{}); !errors.Is(err, ErrEverything) {
		t.Error(err)
	}
	nobody := Undecided{Filter: Filter{EventIDs: []string{"nobody"}}}
	if _, err := r.Waiting.PlanGiveUp(t.Context(), nobody); !errors.As(err, new(*UnknownEventError)) {
		t.Error(err)
	}
	if _, err := r.Waiting.GiveUp(t.Context(), GiveUpPlan{}, "why", nil); !errors.Is(err, ErrNoPlan) {
		t.Error(err)
	}
	p := r.planGiveUp(Undecided{Status: outbox.Retry})
	if _, err := r.Waiting.GiveUp(t.Context(), p, " ", nil); !errors.Is(err, ErrNoReason) {
		t.Error(err)
	}
	r.want(everyStatus, "contracts retry 1", "contracts unknown 1")
}

// Nobody is waited for: neither who holds a row, nor a worker at its claim. Many events are one transaction.
func TestGiveUpPastLocks(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 11_000, 1000)
	p := r.planGiveUp(Undecided{Filter: Filter{ObjectType: "contracts"}})
	tx, err := r.pool.Begin(t.Context())
	r.must(err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `SELECT FROM event WHERE event_id IN ('c00007', 'c11001') FOR UPDATE`)
	r.must(err)
	r.giveUp(p, Result{Done: 11_998, Skipped: 2})
	r.must(tx.Rollback(t.Context()))
	r.want(everyStatus, "contracts dead 11998", "contracts retry 1", "contracts unknown 1")
	r.want(`SELECT events, skipped, (SELECT count(*) FROM operator_action_event),
		(SELECT count(DISTINCT xmin::text) FROM event WHERE dead_at IS NOT NULL) FROM operator_action`,
		"11998 2 11998 1")
}

// A plan reads what waits by an index, however many rows there are beside it.
func TestGiveUpPlansUseIndexes(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	u := Undecided{Filter: Filter{ObjectType: "contracts", Text: "x", Category: "c", AsOf: time.Now()},
		Status: outbox.Retry, Before: time.Now()}
	for name, sql := range map[string]func(pgx.NamedArgs) string{
		"groups":  func(args pgx.NamedArgs) string { return undecidedSQL(u.where(args)) },
		"in call": func(args pgx.NamedArgs) string { return inCallSQL(u.and(args, "true")) },
	} {
		args := pgx.NamedArgs{"limit": 20}
		rows, err := r.pool.Query(t.Context(), "EXPLAIN "+sql(args), args)
		r.must(err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		r.must(err)
		if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan") {
			t.Errorf("%s reads all of a table:\n%s", name, text)
		}
	}
}
