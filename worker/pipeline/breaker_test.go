package pipeline

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
	"crmintake/worker"
)

func TestSortOut(t *testing.T) {
	e := func(category, rule, property string) worker.Outcome {
		return worker.Outcome{Verdict: worker.Rejected, Errors: []worker.APIError{{Message: "a value of the event"}, {Category: category, Rule: rule, Property: property}}}
	}
	dead := func(reason outbox.Reason) outbox.Settlement {
		return outbox.Settlement{Status: outbox.Dead, Reason: reason}
	}
	outcomes := []worker.Outcome{
		{Verdict: worker.Created}, {Verdict: worker.Unknown}, {Verdict: worker.NotApplied}, {Verdict: worker.NotApplied},
		e("VALIDATION_ERROR", "INVALID_OPTION", "stage"), e("VALIDATION_ERROR", "INVALID_OPTION", "stage"), e("VALIDATION_ERROR", "", ""),
		{Verdict: worker.Rejected, Conflict: true}, {Verdict: worker.Rejected, Conflict: true}, {Verdict: worker.Rejected},
	}
	settlements := []outbox.Settlement{
		{Status: outbox.Created}, {Status: outbox.Unknown}, {Status: outbox.Retry}, dead(outbox.Exhausted),
		dead(outbox.Rejected), dead(outbox.Rejected), dead(outbox.Rejected),
		dead(outbox.Conflict), {Status: outbox.Created}, dead(outbox.Rejected), // one conflict was adopted
	}
	others, rejected := sortOut(outcomes, settlements)
	want := map[string]int{"VALIDATION_ERROR INVALID_OPTION stage": 2, "VALIDATION_ERROR": 1, "CONFLICT": 1, "for a reason that has no name": 1}
	if diff := cmp.Diff(want, rejected); diff != "" || others != 2 {
		t.Errorf("%d others; %s", others, diff)
	}
}

// What was not rejected is counted once, however often it had to be told.
func TestDiluteTellsAgain(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	database := outboxtest.New(t)
	store, err := outbox.Open(t.Context(), database, 1)
	must(err)
	defer store.Close()
	w := &follower{parts: &parts{store: store}}
	w.successes.Add("deals", 5, 100)
	w.successes.Add("contracts", 7, 100)
	w.cfg.Breaker.Window = 100
	for _, objectType := range []string{"deals", "contracts"} {
		_, _, err := store.Breaker.RecordOutcomes(t.Context(), objectType, outbox.NewAttemptID(), 0, map[string]int{"a": 1}, 100)
		must(err)
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if w.recordSuccesses(away) == nil {
		t.Fatal("the database was away, and was told")
	}
	w.successes.Add("deals", 30, 100)
	lost := w.untold
	must(w.recordSuccesses(t.Context()))
	w.untold = lost // as if its answer had not come
	must(w.recordSuccesses(t.Context()))
	must(w.recordSuccesses(t.Context()))
	conn, err := pgx.Connect(t.Context(), database)
	must(err)
	defer conn.Close(context.Background())
	var counts string
	must(conn.QueryRow(t.Context(), `SELECT string_agg(object_type || ' ' || n, ', ' ORDER BY object_type)
		FROM (SELECT object_type, sum(inputs) AS n FROM breaker GROUP BY 1) AS sums`).Scan(&counts))
	if counts != "contracts 8, deals 36" {
		t.Errorf("in the window: %s; want contracts 8, deals 36", counts)
	}
}
