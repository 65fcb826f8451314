package crash

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// The worker that does a replay job is killed in the middle of it: before a step is committed, or after that and before
// it knows. Whatever it is, each event is sent again once, and each record made once.
func TestKilledInAReplay(t *testing.T) {
	t.Parallel()
	const step = "UPDATE replay_job SET replayed"
	for _, c := range []struct {
		name string
		hook func(w *worker)
		left int // on the job's list
	}{
		{"before the commit", func(w *worker) {
			w.statement = func(sql string) bool { return !strings.Contains(sql, step) || w.kill() }
		}, 2 * batch},
		{"after the commit", func(w *worker) {
			w.answer = func(statements []string) bool {
				return !slices.ContainsFunc(statements, func(s string) bool { return strings.Contains(s, step) }) || w.kill()
			}
		}, batch},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, withoutID) // nothing but the outbox keeps a second record away
			r.bury()
			job := r.startReplay()
			w := r.worker()
			c.hook(w)
			w.start()
			w.awaitKill()

			if left := ask[int](r, `SELECT count(*)::int FROM replay_event`)[0]; left != c.left {
				t.Errorf("%d events are left to the job, want %d", left, c.left)
			}
			if retry := ask[int](r, `SELECT count(*)::int FROM outbox WHERE status = 'retry'`)[0]; retry != 2*batch-c.left {
				t.Errorf("%d events are sent again, want %d", retry, 2*batch-c.left)
			}
			r.drain()
			for _, id := range ids() {
				if got, want := r.fates()[id], (fate{Status: "created", Records: 1}); got != want {
					t.Errorf("%s: %+v, want %+v", id, got, want)
				}
			}
			got, err := job()
			r.must(err)
			if got.State != operator.ReplayFinished || got.Replayed != 2*batch || got.Now[outbox.Created] != 2*batch {
				t.Errorf("%+v", got)
			}
		})
	}
}

// bury takes the events out of the stream, and into the outbox as dead letters that were never sent.
func (r *rig) bury() {
	r.t.Helper()
	js, err := jetstream.New(r.nc)
	r.must(err)
	stream, err := js.Stream(r.t.Context(), "CRM_EVENTS")
	r.must(err)
	r.must(stream.Purge(r.t.Context()))
	for _, id := range ids() {
		_, err := r.database.Exec(r.t.Context(), `
INSERT INTO event (event_id, object_type, status, payload, content_hash, reason, dead_at, stream, stream_seq)
VALUES ($1, $2, 'dead', convert_to('{"properties":{"name":"' || $1 || '"}}',
  'UTF8'), '', 'exhausted', now(), '', 0)`, id, r.objectType)
		r.must(err)
	}
}

// startReplay has them all sent again, a batch a second.
func (r *rig) startReplay() (job func() (operator.ReplayJob, error)) {
	r.t.Helper()
	store, err := outbox.Open(r.t.Context(), r.url.String(), 2)
	r.must(err)
	r.t.Cleanup(store.Close)
	o := operator.New(store, operator.Config{Name: "test"})
	plan, err := o.Replays.Plan(r.t.Context(), operator.Filter{All: true}, operator.Records{}, false)
	r.must(err)
	started, err := o.Replays.Start(r.t.Context(), operator.Replay{Plan: plan, Rate: batch})
	r.must(err)
	return func() (operator.ReplayJob, error) { return o.Replays.Get(r.t.Context(), started.ID) }
}
