package operator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
)

// byName lets contracts be found by a property that the test's events have if their payload is "named".
var byName = Records{
	Property: map[string]string{"contracts": "name"},
	Value: func(payload []byte, property string) string {
		if property == "name" && string(payload) == "named" {
			return "n"
		}
		return ""
	},
}

// replayRig is an outbox with a person and a worker's feeder before it.
type replayRig struct {
	t     *testing.T
	store *outbox.Store
	*Operator
	feeder *Feeder
}

func newReplayRig(t *testing.T) *replayRig {
	t.Helper()
	store, err := outbox.Open(t.Context(), outboxtest.New(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return &replayRig{t, store, New(store, Config{Name: "anna"}), NewFeeder(store, byName)}
}

func (r *replayRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// exec does what only a test does: it changes rows past the store.
func (r *replayRig) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), sql, args...)
	r.must(err)
}

// rows asks the database; a row is its columns as text.
func (r *replayRig) rows(sql string, args ...any) []string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), sql, args...)
	r.must(err)
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return strings.TrimSuffix(fmt.Sprintln(values...), "\n"), err
	})
	r.must(err)
	return list
}

func (r *replayRig) want(sql string, want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.rows(sql)); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", sql, diff)
	}
}

// dead adds n dead events.
func (r *replayRig) dead(objectType, prefix string, n int) {
	r.t.Helper()
	r.exec(`
INSERT INTO event (event_id, object_type, status, payload,
  content_hash, reason, error, attempts, dead_at, fingerprint, stream, stream_seq)
SELECT $2 || lpad(n::text, 5, '0'), $1, 'dead', 'named', 'h', 'exhausted', 'too often', 12, now(), 'f', 's', n
  FROM generate_series(1, $3::int) n`,
		objectType, prefix, n)
}

func (r *replayRig) plan(f Filter) Replay {
	r.t.Helper()
	p, err := r.Replays.Plan(r.t.Context(), f, byName, false)
	r.must(err)
	return Replay{Plan: p, Reason: "mended"}
}

func (r *replayRig) startReplay(p Replay) ReplayJob {
	r.t.Helper()
	job, err := r.Replays.Start(r.t.Context(), p)
	r.must(err)
	return job
}

// step makes the jobs' next step, though it may not be time for it yet.
func (r *replayRig) step() (more bool) {
	r.t.Helper()
	r.exec(`UPDATE replay_job SET next_at = now() - interval '1 minute'`)
	more, err := r.feeder.Feed(r.t.Context())
	r.must(err)
	return more
}

func (r *replayRig) finish() {
	r.t.Helper()
	for range 1000 {
		if more := r.step(); !more {
			return
		}
	}
	r.t.Fatal("a job has no end")
}

func (r *replayRig) wantJob(id int64, state ReplayState, replayed, skipped, held, left int64) {
	r.t.Helper()
	job, err := r.Replays.Progress(r.t.Context(), id)
	r.must(err)
	got := []any{job.State, job.Replayed, job.Skipped, job.Held, job.Left()}
	if diff := cmp.Diff([]any{state, replayed, skipped, held, left}, got); diff != "" {
		r.t.Errorf("job (-want +got):\n%s", diff)
	}
}

const everyStatus = `SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2 ORDER BY 1, 2`
