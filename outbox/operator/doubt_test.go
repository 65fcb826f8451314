package operator

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"crmintake/outbox"
)

func (r *replayRig) planDoubt(l Lost) DoubtPlan {
	r.t.Helper()
	p, err := r.Waiting.PlanDoubt(r.t.Context(), l)
	r.must(err)
	return p
}

func (r *replayRig) doubt(p DoubtPlan, want Result) {
	r.t.Helper()
	told := int64(0)
	got, err := r.Waiting.Doubt(r.t.Context(), p, "restored", func(done int64) { told = done })
	r.must(err)
	if told != got.Done || (got.Action != 0) != (want.Done > 0) {
		r.t.Errorf("told of %d events; %+v", told, got)
	}
	if got.Action = 0; got != want {
		r.t.Errorf("got %+v, want %+v", got, want)
	}
}

// What waits is to be asked about, from the beginning, by what it was sent with or is today; who is in a call, or
// changed since the plan, is left alone and counted; and done once more it takes what was in a call then.
func TestDoubt(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	hourAgo := time.Now().Add(-time.Hour)
	r.waiting("contracts", "c", 5, 2)
	r.waiting("deals", "d", 2, 0)
	r.dead("contracts", "e", 2)
	a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "deals", Worker: "w", Lease: time.Hour,
		IDProperty: "reference"}
	r.exec(`INSERT INTO attempt (id, kind, object_type, worker, state, lease_until, id_property, inputs,
			created, rejected, not_applied, unknown, started_at, closed_at)
		VALUES ($1, 'create', 'deals', 'w', 'settled', now(), 'reference', 1,
			0, 0, 1, 0, now() - interval '2 hours', now())`, a.ID)
	r.exec(`UPDATE event SET attempt_id = $1 WHERE event_id = 'd00001' OR event_id = 'e00001'`, a.ID)
	r.exec(`UPDATE event SET misses = 1, id_property = 'record id', id_value = '77', reason = 'conflict'
		WHERE event_id = 'c00006'`)
	r.exec(`UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id = 'c00002'`) // not due
	r.claim(outbox.Retry, "c00001")
	p := r.planDoubt(Lost{From: hourAgo, Dead: true, Property: map[string]string{"contracts": "name"}})
	want := []LostGroup{
		{"contracts", outbox.Retry, "name", 4, "c00002"},
		{"contracts", outbox.Dead, "name", 1, "e00001"}, // the other was never sent
		{"contracts", outbox.Unknown, "name", 1, "c00007"},
		{"contracts", outbox.Unknown, "record id", 1, "c00006"},
		{"deals", outbox.Retry, "", 1, "d00002"},
		{"deals", outbox.Retry, "reference", 1, "d00001"},
	}
	if diff := cmp.Diff(want, p.List); diff != "" || p.TotalEvents != 9 || p.TotalGroups != 6 || p.InCall != 1 ||
		p.Newest.Before(hourAgo) {
		t.Errorf("%+v\n%s", p, diff)
	}
	r.want(`SELECT count(*) FROM operator_action`, "0")
	r.claim(outbox.Retry, "c00003") // after the plan
	r.doubt(p, Result{Done: 8, Skipped: 1})
	rows := `SELECT event_id, status, reason, id_property, id_value, misses, in_doubt,
		next_attempt_at <= now() FROM event ORDER BY 1`
	r.want(rows, "c00001 sending <nil> <nil> <nil> <nil> false <nil>",
		"c00002 unknown <nil> name <nil> 0 true true", "c00003 sending <nil> <nil> <nil> <nil> false <nil>",
		"c00004 unknown <nil> name <nil> 0 true true", "c00005 unknown <nil> name <nil> 0 true true",
		"c00006 unknown conflict record id 77 0 true true", "c00007 unknown <nil> name <nil> 0 true true",
		"d00001 unknown <nil> reference <nil> 0 true true", "d00002 unknown <nil> <nil> <nil> 0 true true",
		"e00001 dead unknown_outcome name <nil> <nil> true <nil>", "e00002 dead exhausted <nil> <nil> <nil> false <nil>")
	r.want(`SELECT error FROM event WHERE event_id = 'c00002'`, "put in doubt by hand: restored; before that: 403 refused")
	r.want(`SELECT operator, action, reason, detail - 'from', events, skipped FROM operator_action`,
		"anna doubt restored map[dead:true id_property:map[contracts:name]] 8 1")
	r.want(`SELECT count(*) FROM operator_action_event`, "8")

	// The worker that had it goes on as it would, and what it left waiting is taken by the next.
	var id uuid.UUID
	r.must(r.pool.QueryRow(t.Context(), `SELECT attempt_id FROM event WHERE event_id = 'c00001'`).Scan(&id))
	r.must(r.store.Batches.Settle(t.Context(), id, outbox.Call{NotApplied: 1}, []outbox.Settlement{{EventID: "c00001",
		Status: outbox.Retry, Error: "503"}}))
	p = r.planDoubt(Lost{From: hourAgo, Filter: Filter{EventIDs: []string{"c00001", "c00003"}},
		Property: map[string]string{"contracts": "name"}})
	if p.InCall != 1 || p.TotalEvents != 1 {
		t.Errorf("%+v", p)
	}
	r.doubt(p, Result{Done: 1})
	r.want(`SELECT status, misses, error FROM event WHERE event_id = 'c00001'`, "unknown 0 put in doubt by hand: "+
		"restored; before that: 503")

	// A dead letter that was put in doubt is asked about before it is sent.
	replay := r.plan(Filter{EventIDs: []string{"e00001", "e00002"}})
	if replay.Plan.Ask != 1 || replay.Plan.Sent != 2 {
		t.Errorf("%+v", replay.Plan)
	}
}

func TestDoubtFilters(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 2, 0)
	r.waiting("deals", "d", 1, 0)
	r.exec(`UPDATE event SET received_at = now() - interval '2 days' WHERE event_id = 'c00002'`)
	from := time.Now()
	for name, c := range map[string]struct {
		l    Lost
		want string
	}{
		"all":         {Lost{From: from}, "c00001 c00002 d00001"},
		"object type": {Lost{From: from, Filter: Filter{ObjectType: "deals"}}, "d00001"},
		"ids":         {Lost{From: from, Filter: Filter{EventIDs: []string{"c00001"}}}, "c00001"},
		"older":       {Lost{From: from, Before: time.Now().Add(-24 * time.Hour)}, "c00002"},
	} {
		p := r.planDoubt(c.l)
		if n := int64(len(strings.Fields(c.want))); p.TotalEvents != n {
			t.Errorf("%s: planned %d events, want %d", name, p.TotalEvents, n)
		}
		r.exec(`UPDATE event SET status = 'retry', misses = NULL, in_doubt = false`)
		p = r.planDoubt(c.l)
		_, err := r.Waiting.Doubt(t.Context(), p, name, func(int64) {})
		r.must(err)
		if got := strings.Join(r.rows(`SELECT event_id FROM event WHERE in_doubt ORDER BY 1`), " "); got != c.want {
			t.Errorf("%s: done to %s, want %s", name, got, c.want)
		}
	}
	for name, l := range map[string]Lost{
		"no moment": {}, "words": {From: from, Filter: Filter{Text: "x"}}, "a group": {From: from,
			Filter: Filter{Groups: []string{"f"}}},
	} {
		if _, err := r.Waiting.PlanDoubt(t.Context(), l); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := r.Waiting.Doubt(t.Context(), DoubtPlan{}, "x", nil); err != ErrNoPlan {
		t.Error(err)
	}
	if _, err := r.Waiting.Doubt(t.Context(), r.planDoubt(Lost{From: from}), " ", nil); err != ErrNoReason {
		t.Error(err)
	}
}
