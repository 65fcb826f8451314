package operator

import (
	"errors"
	"testing"
	"time"

	"crmintake/outbox"
)

// What was discarded is dead again as it was, with the audit and the count of what is discarded.
func TestRestore(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 3)
	plan, err := r.DeadLetters.Plan(t.Context(), Filter{All: true})
	r.must(err)
	discarded, err := r.DeadLetters.Discard(t.Context(), plan, "no use")
	r.must(err)
	before := r.rows(`SELECT event_id, reason, error, fingerprint, payload, attempts FROM event ORDER BY 1`)
	one, err := r.DeadLetters.PlanRestore(t.Context(), Discarded{EventIDs: []string{"c00002"}})
	r.must(err)
	all, err := r.DeadLetters.PlanRestore(t.Context(), Discarded{Action: discarded.Action})
	r.must(err)
	if one.TotalEvents != 1 || all.TotalEvents != 3 || all.NotSo != 0 || all.Example != "c00001" {
		t.Errorf("%+v, %+v", one, all)
	}
	done, err := r.DeadLetters.Restore(t.Context(), one, "of use")
	r.must(err)
	if done.Done != 1 || done.Skipped != 0 {
		t.Errorf("%+v", done)
	}
	r.want(everyStatus, "contracts dead 1", "contracts discarded 2")
	census, err := r.store.Read.StatusCounts(t.Context())
	r.must(err)
	if census.Rows[outbox.Discarded] != 2 || census.Rows[outbox.Dead] != 1 {
		t.Errorf("%+v", census.Rows)
	}
	done, err = r.DeadLetters.Restore(t.Context(), all, "")
	r.must(err)
	if done.Done != 2 || done.Skipped != 1 {
		t.Errorf("%+v", done)
	}
	done, err = r.DeadLetters.Restore(t.Context(), all, "")
	r.must(err)
	if done.Done != 0 || done.Skipped != 3 || done.Action != 0 {
		t.Errorf("again: %+v", done)
	}
	r.want(everyStatus, "contracts dead 3")
	r.want(`SELECT event_id, reason, error, fingerprint, payload, attempts FROM event ORDER BY 1`, before...)
	r.want(`SELECT action, reason, detail, events, skipped FROM operator_action ORDER BY id`,
		"discard no use <nil> 3 0", "restore of use <nil> 1 0", "restore <nil> map[discard:1] 2 1")
	groups, err := r.DeadLetters.Groups(t.Context(), Filter{}, 9)
	r.must(err)
	if groups.TotalEvents != 3 || groups.TotalGroups != 1 {
		t.Errorf("%+v", groups)
	}
	for _, d := range []Discarded{{}, {EventIDs: []string{"c00001"}, Action: 1}} {
		if _, err := r.DeadLetters.PlanRestore(t.Context(), d); !errors.Is(err, ErrNoChoice) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, action := range []int64{2, 99} {
		if _, err := r.DeadLetters.PlanRestore(t.Context(), Discarded{Action: action}); !errors.As(err, new(*FilterError)) {
			t.Errorf("action %d: %v", action, err)
		}
	}
}

// What waits is due at once; what is in doubt only once it was asked about in vain, and what is in a call or locked not
// at all.
func TestRetryNow(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.waiting("contracts", "c", 3, 4)
	r.dead("contracts", "d", 1)
	r.claim(outbox.Retry, "c00001")
	r.exec(`UPDATE event SET next_attempt_at = now() + interval '1 hour', updated_at = now() - interval '1 minute'
		WHERE next_attempt_at IS NOT NULL`)
	r.exec(`UPDATE event SET next_attempt_at = now() WHERE event_id = 'c00002'`)
	// No attempt is left of c00007.
	for id, kind := range map[string]string{"c00004": "create", "c00005": "read", "c00006": "read"} {
		r.exec(`WITH a AS (
			INSERT INTO attempt (id, kind, object_type, worker, state, lease_until, inputs, created, rejected, not_applied,
				unknown, closed_at)
			VALUES (gen_random_uuid(), $2, 'contracts', 'w', 'settled', now(), 1, 0, 0, 0, 1, now()) RETURNING id)
			UPDATE event SET attempt_id = a.id FROM a WHERE event_id = $1`, id, kind)
	}
	r.exec(`UPDATE event SET misses = 1 WHERE event_id = 'c00006'`) // the first proof; the second wants its settle time
	p, err := r.Waiting.PlanRetryNow(t.Context(), Undecided{Filter: Filter{ObjectType: "contracts"}})
	r.must(err)
	p.Filter = Undecided{Filter: Filter{ObjectType: "contracts", AsOf: p.Filter.AsOf}}
	if p.TotalEvents != 2 || p.Due != 1 || p.Asked != 3 || p.InCall != 1 || p.NotUndecided != 0 {
		t.Errorf("%+v", p)
	}
	done, err := r.Waiting.RetryNow(t.Context(), p, "mended")
	r.must(err)
	if done.Done != 2 || done.Skipped != 0 {
		t.Errorf("%+v", done)
	}
	r.want(`SELECT event_id FROM event WHERE next_attempt_at <= now() ORDER BY 1`, "c00002", "c00003", "c00005")
	r.want(`SELECT action, reason, events FROM operator_action`, "retry-now mended 2")
	r.want(`SELECT event_id FROM operator_action_event ORDER BY 1`, "c00003", "c00005")
	done, err = r.Waiting.RetryNow(t.Context(), p, "mended")
	r.must(err)
	if done.Done != 0 || done.Skipped != 2 {
		t.Errorf("again: %+v", done)
	}
	tx, err := r.pool.Begin(t.Context())
	r.must(err)
	defer tx.Rollback(t.Context())
	r.exec(`UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id = 'c00003'`)
	p, err = r.Waiting.PlanRetryNow(t.Context(), Undecided{Status: outbox.Retry, Before: time.Now().Add(time.Minute)})
	r.must(err)
	_, err = tx.Exec(t.Context(), `SELECT FROM event WHERE event_id = 'c00003' FOR UPDATE`)
	r.must(err)
	done, err = r.Waiting.RetryNow(t.Context(), p, "")
	r.must(err)
	if done.Done != 0 || done.Skipped != 1 {
		t.Errorf("of a locked row: %+v", done)
	}
	if _, err := r.Waiting.PlanRetryNow(t.Context(), Undecided{}); !errors.Is(err, ErrEverything) {
		t.Error(err)
	}
	if _, err := r.Waiting.RetryNow(t.Context(), RetryNowPlan{}, ""); !errors.Is(err, ErrNoPlan) {
		t.Error(err)
	}
}
