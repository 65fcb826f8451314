package operator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crmintake/deploy/local/proxy"
	"crmintake/outbox"
)

// A replayed event gets all its attempts and its whole time again, and what it was dead for is no more.
func TestReplayNow(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "a", 2)
	r.exec(`UPDATE event SET received_at = now() - interval '9 days'`)
	p := r.plan(Filter{EventIDs: []string{"a00001"}})
	done, err := r.Replays.Now(t.Context(), p)
	r.must(err)
	if diff := cmp.Diff(ReplayDone{Replayed: 1}, done); diff != "" {
		t.Error(diff)
	}
	r.want(
		`SELECT event_id, status, attempts, next_attempt_at <= now(),
  reason IS NULL, fingerprint IS NULL, possible_duplicate FROM outbox ORDER BY 1`,
		"a00001 retry 12 true true true false", "a00002 dead 12 <nil> false false false")
	rows, err := r.store.Schedule.Claim(t.Context(), outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts",
		Worker: "w", Lease: 1e9}, outbox.Retry, 10, 1<<20)
	r.must(err)
	if len(rows) != 1 || rows[0].Attempts != 0 || rows[0].Age.Hours() > 1 {
		t.Errorf("%+v", rows)
	}
	r.want(
		`SELECT a.operator, a.action, a.reason, a.events, e.event_id FROM operator_action a
  JOIN operator_action_event e ON e.action_id = a.id`,
		"anna replay mended 1 a00001")

	// The same plan once more finds nothing.
	if _, err := r.Replays.Now(t.Context(), p); !errors.Is(err, ErrNothing) {
		t.Errorf("%v", err)
	}
	r.want(`SELECT count(*) FROM operator_action`, "1")
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "a", 1)
	_, err := r.Replays.Plan(t.Context(), Filter{}, byName, false)
	if !errors.Is(err, ErrEverything) {
		t.Errorf("%v", err)
	}
	if _, err := r.Replays.Now(t.Context(), Replay{}); !errors.Is(err, ErrNoPlan) {
		t.Errorf("%v", err)
	}
	if _, err := r.Replays.Start(t.Context(), Replay{}); !errors.Is(err, ErrNoPlan) {
		t.Errorf("%v", err)
	}
	p := r.plan(Filter{All: true})
	p.Rate = -1
	if _, err := r.Replays.Start(t.Context(), p); !errors.As(err, new(*FilterError)) {
		t.Errorf("%v", err)
	}
	p = r.plan(Filter{ObjectType: "deals"})
	if _, err := r.Replays.Start(t.Context(), p); !errors.Is(err, ErrNothing) {
		t.Errorf("%v", err)
	}
	for _, steer := range []func(context.Context, int64, string) (ReplayJob, bool, error){r.Replays.Pause,
		r.Replays.Resume, r.Replays.Cancel} {
		if _, _, err := steer(t.Context(), 7, ""); !errors.Is(err, ErrNoReplay) {
			t.Errorf("%v", err)
		}
	}
	if _, err := r.Replays.Get(t.Context(), 7); !errors.Is(err, ErrNoReplay) {
		t.Errorf("%v", err)
	}
	r.want(`SELECT count(*) FROM operator_action`, "0")
	r.want(`SELECT count(*) FROM replay_job`, "0")
	r.want(everyStatus, "contracts dead 1")
}

func TestReplayJob(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 1500)
	r.dead("deals", "d", 300)
	r.dead("", "x", 2)
	r.dead("tickets", "t", 5)
	plan, err := r.Replays.Plan(t.Context(), Filter{Text: "OFTEN", Until: time.Now().Add(time.Hour)}, byName, false)
	r.must(err)
	if plan.TotalEvents != 1807 || plan.Sent != 1805 || plan.Never != 2 || plan.Calls != 15+3+1 {
		t.Errorf("%+v", plan)
	}
	job := r.startReplay(Replay{Plan: plan})
	r.wantJob(job.ID, ReplayRunning, 0, 0, 0, 1807)
	if left, err := r.store.Schedule.Outstanding(t.Context()); err != nil || !left {
		t.Errorf("a job that runs is outstanding: %v, %v", left, err)
	}
	r.dead("contracts", "late", 3) // not the job's
	r.finish()
	r.wantJob(job.ID, ReplayFinished, 1805, 2, 0, 0)
	r.want(everyStatus, " dead 2", "contracts dead 3", "contracts retry 1500", "deals retry 300", "tickets retry 5")
	r.want(`SELECT count(*) FROM replay_event`, "0")
	got, err := r.Replays.Get(t.Context(), job.ID)
	r.must(err)
	if diff := cmp.Diff(map[outbox.Status]int64{outbox.Retry: 1805}, got.Now); diff != "" || got.Answered() != 0 {
		t.Errorf("%s %d", diff, got.Answered())
	}
	list, err := r.Replays.List(t.Context(), 10)
	r.must(err)
	if len(list) != 1 || list[0].Operator != "anna" || list[0].Filter.Text != "OFTEN" || list[0].EndedAt.IsZero() {
		t.Errorf("%+v", list)
	}
}

// Who gives up while the commit is under way hears of the job all the same.
func TestStartReplayInterrupted(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 3)
	plan := r.plan(Filter{All: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	u, err := url.Parse(r.pool.Config().ConnString())
	r.must(err)
	p, err := proxy.StartPostgres(u.Host, proxy.PostgresHooks{Answer: func(statements []string) bool {
		if slices.ContainsFunc(statements, func(sql string) bool { return strings.Contains(sql, "INSERT INTO replay_job") }) {
			cancel()
			select {
			case <-ended: // without the answer
			case <-time.After(200 * time.Millisecond):
			}
		}
		return true
	}})
	r.must(err)
	t.Cleanup(p.Close)
	u.Host = p.Addr()
	store, err := outbox.Open(t.Context(), u.String(), 1)
	r.must(err)
	defer store.Close()
	job, err := New(store, Config{Name: "anna"}).Replays.Start(ctx, plan)
	close(ended)
	r.must(err)
	if ctx.Err() == nil {
		t.Error("nobody gave up")
	}
	r.wantJob(job.ID, ReplayRunning, 0, 0, 0, 3)

	// Before that, it ends with ctx.
	if _, err := New(store, Config{Name: "anna"}).Replays.Start(ctx, plan); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.want(`SELECT count(*) FROM replay_job`, "1")
}

// An event that comes anew when the row that was replayed is gone is none of the replay's.
func TestReplayOfRowsThatWent(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 2)
	job := r.startReplay(r.plan(Filter{All: true}))
	r.finish()
	id := r.rows(`DELETE FROM event WHERE event_id = (SELECT min(event_id) FROM event) RETURNING event_id`)[0]
	_, err := r.store.Batches.Intend(t.Context(), outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts",
		Worker: "w", Lease: time.Minute},
		[]outbox.Event{{ID: id, ObjectType: "contracts", Payload: []byte("{}"), Stream: "S"}})
	r.must(err)
	got, err := r.Replays.Get(t.Context(), job.ID)
	r.must(err)
	if diff := cmp.Diff(map[outbox.Status]int64{outbox.Retry: 1}, got.Now); diff != "" {
		t.Error(diff)
	}
}

// Two persons at once, and a worker each: each event is sent again once.
func TestReplayAtOnce(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 3000)
	var plans []Replay
	for range 4 {
		plans = append(plans, r.plan(Filter{Groups: []string{"f"}}))
	}
	plans[3] = r.plan(Filter{EventIDs: []string{"c00007", "c00009"}})
	var all sync.WaitGroup
	jobs := make([]ReplayJob, 3)
	var now ReplayDone
	for i := range jobs {
		all.Go(func() {
			job, err := r.Replays.Start(t.Context(), plans[i])
			if errors.Is(err, ErrNothing) {
				return // the others have done it all
			}
			jobs[i] = job
			for more := true; more && err == nil; {
				more, err = r.feeder.Feed(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		done, err := r.Replays.Now(t.Context(), plans[3])
		if err != nil && !errors.Is(err, ErrNothing) {
			t.Error(err)
		}
		now = done
	})
	all.Wait()
	if t.Failed() {
		return
	}
	r.finish()
	sum := now.Replayed
	for _, j := range jobs {
		if j.ID == 0 {
			continue
		}
		job, err := r.Replays.Progress(t.Context(), j.ID)
		r.must(err)
		if job.State != ReplayFinished || job.Replayed+job.Skipped != 3000 {
			t.Errorf("%+v", job)
		}
		sum += job.Replayed
	}
	if sum != 3000 {
		t.Errorf("%d events sent again, want 3000", sum)
	}
	r.want(everyStatus, "contracts retry 3000")
	r.want(`SELECT count(*), count(DISTINCT event_id) FROM operator_action_event`, "3000 3000")
}

// What was edited, discarded or replayed meanwhile is not as the person saw it who made the plan, or the job.
func TestReplaySkipsWhatChanged(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 6)
	edit := func(id string) {
		r.exec(`UPDATE event SET payload = 'edited', updated_at = clock_timestamp() WHERE event_id = $1`, id)
	}
	p := r.plan(Filter{All: true})
	edit("c00001")
	job := r.startReplay(p)
	r.wantJob(job.ID, ReplayRunning, 0, 1, 0, 5)
	edit("c00002")
	r.exec(
		`UPDATE event SET status = 'discarded', dead_at = NULL, updated_at = clock_timestamp() WHERE event_id = 'c00003'`)
	_, err := r.Replays.Now(t.Context(), r.plan(Filter{EventIDs: []string{"c00004"}}))
	r.must(err)
	r.exec(
		`UPDATE event SET status = 'created', record_id = 'r', next_attempt_at = NULL, payload = NULL
  WHERE event_id = 'c00004'`)
	r.finish()
	r.wantJob(job.ID, ReplayFinished, 2, 4, 0, 0)
	r.want(`SELECT event_id, status FROM outbox ORDER BY 1`,
		"c00001 dead", "c00002 dead", "c00003 discarded", "c00004 created", "c00005 retry", "c00006 retry")
	r.want(`SELECT convert_from(payload, 'UTF8') FROM outbox WHERE event_id = 'c00002'`, "edited")
}

// An event that dies again while its job is still at work is left to a person.
func TestReplayTakesNothingTwice(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 4)
	p := r.plan(Filter{All: true})
	p.Rate = 2
	job := r.startReplay(p)
	other := r.startReplay(p) // another terminal
	r.step()
	r.step()
	r.wantJob(job.ID, ReplayRunning, 2, 0, 0, 2)
	r.exec(
		`UPDATE event SET status = 'dead', reason = 'rejected', dead_at = clock_timestamp(),
  next_attempt_at = NULL, updated_at = clock_timestamp() WHERE status = 'retry'`)
	r.finish()
	r.wantJob(job.ID, ReplayFinished, 4, 0, 0, 0)
	r.wantJob(other.ID, ReplayFinished, 0, 4, 0, 0)
	r.want(`SELECT event_id, status FROM outbox ORDER BY 1`, "c00001 dead", "c00002 dead", "c00003 retry", "c00004 retry")
}

func TestReplaySteered(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 10)
	p := r.plan(Filter{All: true})
	p.Rate = 3
	job := r.startReplay(p)
	r.step()
	r.wantJob(job.ID, ReplayRunning, 3, 0, 0, 7)
	steer := func(do func(context.Context, int64, string) (ReplayJob, bool, error), state ReplayState, wantChanged bool) {
		t.Helper()
		got, changed, err := do(t.Context(), job.ID, "why")
		r.must(err)
		if got.State != state || changed != wantChanged {
			t.Errorf("%s, changed %v; want %s, %v", got.State, changed, state, wantChanged)
		}
	}
	steer(r.Replays.Resume, ReplayRunning, false)
	steer(r.Replays.Pause, ReplayPaused, true)
	steer(r.Replays.Pause, ReplayPaused, false)
	if r.step() {
		t.Error("a paused job makes a step")
	}
	if left, err := r.store.Schedule.Outstanding(t.Context()); err != nil || !left { // the three
		t.Error(left, err)
	}
	steer(r.Replays.Resume, ReplayRunning, true)
	r.step()
	r.wantJob(job.ID, ReplayRunning, 6, 0, 0, 4)
	steer(r.Replays.Cancel, ReplayCancelled, true)
	steer(r.Replays.Cancel, ReplayCancelled, false)
	steer(r.Replays.Resume, ReplayCancelled, false)
	if r.step() {
		t.Error("a cancelled job makes a step")
	}
	r.wantJob(job.ID, ReplayCancelled, 6, 0, 0, 4)
	r.want(everyStatus, "contracts dead 4", "contracts retry 6")
	r.want(`SELECT action, reason, events, detail->>'job' FROM operator_action ORDER BY id`,
		"replay mended 10 1", "replay pause why 7 1", "replay resume why 7 1", "replay cancel why 4 1")

	// What it left can be replayed anew.
	r.startReplay(r.plan(Filter{All: true}))
	r.finish()
	r.want(everyStatus, "contracts retry 10")
}

// A job keeps its rate, over the steps, by the database's clock.
func TestReplayRate(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", 50)
	for _, c := range []struct {
		rate   float64
		step   int64
		within string // of the next step
	}{{10, 10, "1 s"}, {0.5, 1, "2 s"}} {
		p := r.plan(Filter{All: true})
		p.Rate = c.rate
		job := r.startReplay(p)
		if more, err := r.feeder.Feed(t.Context()); err != nil || !more {
			t.Fatal(more, err)
		}
		r.wantJob(job.ID, ReplayRunning, c.step, 0, 0, job.Events-c.step)
		// A step that is late, as on a busy machine, catches up a second at most.
		r.want(
			`SELECT next_at = greatest(started_at, (SELECT max(updated_at) FROM event
  WHERE status = 'retry') - interval '1 second') + interval '`+
				c.within+`' FROM replay_job WHERE state = 'running'`, "true")
		_, _, err := r.Replays.Cancel(t.Context(), job.ID, "")
		r.must(err)
	}
}

// While enough of an object type is due, nothing of it is added, and others go on.
func TestReplayFeedsOnDemand(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "c", feedAhead+1)
	r.dead("deals", "d", 10)
	job := r.startReplay(r.plan(Filter{All: true}))
	for range feedAhead/feedStep + 3 {
		r.step()
	}
	r.wantJob(job.ID, ReplayRunning, feedAhead+10, 0, 0, 1)
	r.exec(`UPDATE event SET status = 'created', record_id = 'r', next_attempt_at = NULL WHERE event_id = 'c00001'`)
	r.finish()
	r.wantJob(job.ID, ReplayFinished, feedAhead+11, 0, 0, 0)
}

// What may have a record already is asked about where that tells, and else held until a person takes the risk.
func TestReplayInDoubt(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct %v", direct), func(t *testing.T) {
			r := newReplayRig(t)
			add := func(id, objectType, reason, payload string, inDoubt bool, revision any) {
				r.dead(objectType, id, 1)
				r.exec(
					`UPDATE event SET event_id = $1, reason = $2, payload = $3, in_doubt = $4, revision = $5 WHERE event_id = $6`,
					id, reason, payload, inDoubt, revision, id+"00001")
			}
			add("asked", "contracts", "unknown_outcome", "named", true, nil)
			add("edited", "contracts", "unknown_outcome", "named", true, 1) // whose record would have the value before
			add("nameless", "contracts", "unknown_outcome", "x", true, nil) // whose record has no value to be found by
			add("no property", "deals", "unknown_outcome", "named", true, nil)
			add("refused", "contracts", "rejected", "x", true, 1) // it was asked about before it was sent again and refused
			add("resent", "deals", "rejected", "named", true, nil)
			add("sure", "deals", "rejected", "x", false, 1)
			replay := func(allow bool) (done ReplayDone) {
				plan, err := r.Replays.Plan(t.Context(), Filter{All: true}, byName, allow)
				r.must(err)
				p := Replay{Plan: plan}
				if direct {
					done, err = r.Replays.Now(t.Context(), p)
					r.must(err)
				} else {
					job := r.startReplay(p)
					r.finish()
					job, err = r.Replays.Progress(t.Context(), job.ID)
					r.must(err)
					done = job.ReplayDone
				}
				if done.Replayed != plan.Sent || !allow && done.Held != plan.Risk {
					t.Errorf("planned %+v, done %+v", plan, done)
				}
				return done
			}
			if diff := cmp.Diff(ReplayDone{Replayed: 3, Held: 4}, replay(false)); diff != "" {
				t.Error(diff)
			}
			const all = `SELECT event_id, status, misses, possible_duplicate FROM outbox ORDER BY 1`
			without := []string{"asked unknown 0 false", "edited dead <nil> false", "nameless dead <nil> false",
				"no property dead <nil> false",
				"refused retry <nil> false", "resent dead <nil> false", "sure retry <nil> false"}
			r.want(all, without...)
			if diff := cmp.Diff(ReplayDone{Replayed: 4}, replay(true)); diff != "" {
				t.Error(diff)
			}
			with := slices.Clone(without)
			for i := range with {
				with[i] = strings.ReplaceAll(with[i], "dead <nil> false", "retry <nil> true")
			}
			r.want(all, with...)
		})
	}
}
