package operator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

const statusRows = `
INSERT INTO event (event_id, object_type, status, payload,
  content_hash, record_id, next_attempt_at, misses, dead_at, reason, attempt_id,
  received_at, stream, stream_seq)
SELECT $1 || n, $2, $3, 'p', 'h', 'r' || $1 || n, CASE WHEN $3 IN ('retry', 'unknown') THEN now() END, CASE
  WHEN $3 = 'unknown' THEN 0 END,
  CASE WHEN $3 = 'dead' THEN now() - n * interval '1 minute' END, CASE WHEN $3 = 'dead' THEN 'rejected' END, gen_random_uuid(),
  now() - n * interval '1 hour', 's', n
FROM generate_series(1, $4::int) n`

func counts(s Status) (lines []string) {
	for _, e := range s.Events {
		line := fmt.Sprintf("%s %s %d", e.ObjectType, e.Status, e.Events)
		if e.Estimated {
			line += " estimated"
		}
		if !e.Oldest.IsZero() {
			line += fmt.Sprintf(" %v", s.At.Sub(e.Oldest).Round(time.Minute))
		}
		lines = append(lines, line)
	}
	return lines
}

func TestStatus(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	o := New(store, Config{Name: "ann"})
	ctx := t.Context()
	s, err := o.Status(ctx)
	if err != nil || len(s.Events) != 0 || s.Quota != nil {
		t.Fatalf("of an empty outbox: %+v, %v", s, err)
	}
	for _, r := range []struct {
		objectType, status string
		n                  int
	}{{"contracts", "created", 5}, {"contracts", "retry", 3}, {"contracts", "unknown", 2}, {"deals", "dead", 4},
		{"deals", "discarded", 1}} {
		exec(t, store, statusRows, r.objectType+r.status, r.objectType, r.status, r.n)
	}
	exec(t, store, `
INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs, started_at)
SELECT gen_random_uuid(), kind, 'contracts', 'w', now(), ids, 3, now() - interval '3 minutes'
FROM (VALUES ('create', '{a,b}'::text[]), ('create', '{c}'), ('create', '{}'), ('read', '{d}')) AS v(kind, ids)`)
	if err := store.Fleet.Heartbeat(ctx, "alive", outbox.Capacity{Batch: 50, Rate: 2.5}, outbox.Told{}); err != nil {
		t.Fatal(err)
	}
	exec(t, store,
		`INSERT INTO worker (name, seen_at, batch_size, events_per_second)
  VALUES ('gone', now() - interval '1 minute', 1, 0)`)
	quota := outbox.Quota{Account: outbox.QuotaAccount, Calls: 5, Window: 10 * time.Second, Daily: 1000, Reserve: 0.2}
	if _, err := store.Quota.Take(ctx, quota, outbox.Ask{Want: 1}); err != nil {
		t.Fatal(err)
	}
	exec(t, store,
		`UPDATE quota SET calls = ARRAY[now() - interval '20 seconds',
  now(), now(), now() + interval '1 minute'], effective = 5, day_used = 321`)

	if s, err = o.Status(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"contracts created 5", "contracts retry 3 3h0m0s", "contracts sending 3 3m0s",
		"contracts unknown 3 2h0m0s",
		"deals dead 4 4m0s", "deals discarded 1"}, counts(s)); diff != "" {
		t.Error(diff)
	}
	if s.Calls.Create != 3 || s.Calls.Read != 1 || s.Calls.Oldest.IsZero() {
		t.Errorf("calls: %+v", s.Calls)
	}
	if q := s.Quota; q.Calls != 5 || q.Window != outbox.Duration(10*time.Second) || q.Used != 2 || q.Left != 3 || q.UsedToday != 321 ||
		q.DayLimit != 800 {
		t.Errorf("quota: %+v", s.Quota)
	}
	exec(t, store, `UPDATE quota SET effective = 3`)
	if s, err = o.Status(ctx); err != nil || s.Quota.Left != 1 {
		t.Errorf("beside others: %+v, %v", s.Quota, err)
	}
	if len(s.Workers) != 2 || !s.Workers[0].Alive || s.Workers[0].Batch != 50 || s.Workers[0].Rate != 2.5 ||
		s.Workers[1].Alive {
		t.Errorf("workers: %+v", s.Workers)
	}
	if err := store.Quota.Throttle(ctx, quota, outbox.Refusal{Wait: time.Minute, Why: "429"}); err != nil {
		t.Fatal(err)
	}
	if s, err = o.Status(ctx); err != nil || s.Quota.Left != 0 || s.Quota.BlockedUntil.IsZero() ||
		s.Quota.BlockedWhy != "429" {
		t.Errorf("blocked: %+v, %v", s.Quota, err)
	}
	exec(t, store, `UPDATE quota SET day_ends = now()`)
	if s, err = o.Status(ctx); err != nil || s.Quota.UsedToday != 0 {
		t.Errorf("after midnight, before the first call: %+v, %v", s.Quota, err)
	}
}

// What is created is not counted in a large table, and what is not done is.
func TestStatusOfALargeTable(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	o := New(store, Config{Name: "ann"})
	exec(t, store, statusRows, "a", "contracts", "created", 300_000)
	exec(t, store, statusRows, "b", "deals", "created", 100_000)
	exec(t, store, statusRows, "c", "deals", "dead", 1_000)
	near := func(n, want int64) bool { return n > want*9/10 && n < want*11/10 }

	// as after a VACUUM; no sample yet
	exec(t, store, `UPDATE pg_class SET reltuples = 401000 WHERE oid = 'event'::regclass`)
	s, err := o.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Events) != 2 || !s.Events[0].Estimated || s.Events[0].ObjectType != "" || !near(s.Events[0].Events, 400_000) {
		t.Errorf("without a sample: %v", counts(s))
	}
	// What is reported after an ANALYZE that saw it already counts twice.
	for told := false; !told; {
		if err := store.Pool().QueryRow(t.Context(),
			`SELECT pg_stat_get_live_tuples('event'::regclass) >= 401000 FROM pg_stat_force_next_flush()`).Scan(
			&told); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, store, `ANALYZE event`)
	if s, err = o.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.Events) != 3 || !s.Events[0].Estimated || !near(s.Events[0].Events, 300_000) || !near(s.Events[1].Events,
		100_000) ||
		s.Events[2].Estimated || s.Events[2].Events != 1_000 {
		t.Errorf("%v", counts(s))
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	ann, bob := New(store, Config{Name: "ann"}), New(store, Config{Name: "bob"})
	ctx := t.Context()
	if _, err := store.Pauses.Begin(ctx, outbox.Pause{ObjectType: "deals", Cause: outbox.ByAnswer, Reason: "404",
		By: "w", TrialIn: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who                *Operator
		objectType, reason string
		already            bool
	}{{ann, "deals", "a mess", true}, {ann, outbox.Account, "closing time", false}, {bob, outbox.Account,
		"still closed", true}} {
		if already, err := c.who.Pauses.Pause(ctx, c.objectType, c.reason); err != nil || already != c.already {
			t.Errorf("pause %s: %v, %v", c.objectType, already, err)
		}
	}
	// Nothing but a person ends a person's pause.
	if fresh, err := store.Pauses.Begin(ctx, outbox.Pause{ObjectType: "deals", Cause: outbox.ByAnswer,
		Reason: "404 again", By: "w"}); err != nil || fresh {
		t.Errorf("%v, %v", fresh, err)
	}
	if err := store.Pauses.TryNow(ctx); err != nil {
		t.Fatal(err)
	}
	for _, objectType := range []string{"deals", outbox.Account} {
		if may, err := store.Pauses.Try(ctx, objectType, time.Second); may || err != nil {
			t.Errorf("a trial of %s: %v, %v", objectType, may, err)
		}
		if was, err := store.Pauses.Resume(ctx, objectType); was || err != nil {
			t.Errorf("a trial ends %s: %v, %v", objectType, was, err)
		}
	}
	list, err := store.Pauses.List(ctx)
	if err != nil || len(list) != 2 || list[0].By != "bob" || list[0].Reason != "still closed" ||
		list[1].Cause != "operator" ||
		list[1].Reason != "a mess" || !list[1].TrialAt.IsZero() || list[1].Since.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	seen, err := store.Pauses.List(ctx)
	if err != nil || len(seen) != 2 || seen[0].Cause != outbox.ByOperator {
		t.Errorf("what workers see: %+v, %v", seen, err)
	}
	for _, want := range []bool{true, false} {
		ended, err := bob.Pauses.Resume(ctx, "deals")
		if err != nil || (ended != nil) != want {
			t.Errorf("resume: %+v, %v", ended, err)
		}
	}
	rows, err := store.Pool().Query(ctx,
		`SELECT operator || ' ' || action || ' ' || coalesce(reason, '-') || ' ' || (detail ->> 'object_type')
  FROM operator_action ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	audit, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if diff := cmp.Diff([]string{"ann pause a mess deals", "ann pause closing time *", "bob pause still closed *",
		"bob resume - deals"}, audit); diff != "" || err != nil {
		t.Error(diff, err)
	}
	var detail json.RawMessage
	if err := store.Pool().QueryRow(ctx, `SELECT detail FROM operator_action WHERE action = 'resume'`).Scan(
		&detail); err != nil || !strings.Contains(string(detail), "a mess") {
		t.Errorf("%s, %v", detail, err)
	}
}

// Resume of everything ends a wait that an answer asked for, with a pause and without, and says until when it was.
func TestResumeEndsABlock(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	ann := New(store, Config{Name: "ann"})
	q := outbox.Quota{Account: outbox.QuotaAccount, Calls: 10, Window: time.Second}
	take := func() int {
		t.Helper()
		g, err := store.Quota.Take(t.Context(), q, outbox.Ask{Want: 1})
		if err != nil {
			t.Fatal(err)
		}
		return len(g.Tokens)
	}
	resume := func(objectType string) *Ended {
		t.Helper()
		p, err := ann.Pauses.Resume(t.Context(), objectType)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := resume(outbox.Account); p != nil || take() != 1 {
		t.Errorf("nothing was in the way: %+v", p)
	}
	for _, paused := range []bool{false, true} {
		err := store.Quota.Throttle(t.Context(), q, outbox.Refusal{Wait: time.Hour, Asked: true, Why: "Retry-After"})
		if err == nil && paused {
			_, err = ann.Pauses.Pause(t.Context(), outbox.Account, "wait")
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ann.Status(t.Context()); err != nil || s.Quota == nil || s.Quota.BlockedWhy != "Retry-After" ||
			time.Until(s.Quota.BlockedUntil) < 50*time.Minute {
			t.Errorf("status: %+v", s.Quota)
		}
		if p := resume("deals"); p != nil || take() != 0 {
			t.Errorf("an object type's is not all: %+v", p)
		}
		p := resume(outbox.Account)
		if p == nil || time.Until(p.BlockedUntil) < 50*time.Minute || p.Since.IsZero() == paused || take() != 1 {
			t.Errorf("%+v", p)
		}
	}
	for ago, want := range map[time.Duration]bool{0: false, time.Minute: true} {
		if resumed, err := store.Quota.Resumed(t.Context(), outbox.QuotaAccount, ago); err != nil || resumed != want {
			t.Errorf("%v ago: %v, %v", ago, resumed, err)
		}
	}
}
