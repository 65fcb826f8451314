package operator

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// A job whose step fails keeps no other one waiting, says why, and goes on when it can.
func TestReplayJobThatFails(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "bad", 3)
	r.dead("deals", "good", 3)
	r.exec(`
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER fail BEFORE UPDATE ON event FOR EACH ROW WHEN (OLD.object_type = 'contracts') EXECUTE FUNCTION fail()`)
	bad := r.startReplay(r.plan(Filter{ObjectType: "contracts"}))
	good := r.startReplay(r.plan(Filter{ObjectType: "deals"}))
	feed := func() (failed *StepError) {
		t.Helper()
		for range 10 {
			more, err := r.feeder.Feed(t.Context())
			if err != nil && !errors.As(err, &failed) {
				t.Fatal(err)
			}
			if !more {
				return failed
			}
		}
		t.Fatal("a job that fails has no end")
		return nil
	}
	if failed := feed(); failed == nil || failed.Job != bad.ID || failed.Failures != 1 ||
		!strings.Contains(failed.Error(), "not this one") {
		t.Errorf("%+v", failed)
	}
	r.wantJob(bad.ID, ReplayRunning, 0, 0, 0, 3)
	r.wantJob(good.ID, ReplayFinished, 3, 0, 0, 0)

	// It waits for longer each time.
	const again = `UPDATE replay_job SET next_at = now() WHERE state = 'running'`
	r.exec(again)
	if failed := feed(); failed == nil || failed.Failures != 2 {
		t.Errorf("%+v", failed)
	}
	job, err := r.Replays.Progress(t.Context(), bad.ID)
	r.must(err)
	if job.Failures != 2 || !strings.Contains(job.Failure, "not this one") || job.RetryAt.IsZero() {
		t.Errorf("%+v", job)
	}
	r.want(
		`SELECT next_at - now() BETWEEN interval '1 second' AND interval '2 seconds' FROM replay_job
  WHERE state = 'running'`, "true")
	r.exec(`UPDATE replay_job SET failures = 1000 WHERE state = 'running'`)
	r.exec(again)
	feed()
	r.want(
		`SELECT next_at - now() BETWEEN interval '4 minutes' AND interval '5 minutes' FROM replay_job
  WHERE state = 'running'`, "true")

	// A person who has mended something need not wait for that.
	r.exec(`DROP TRIGGER fail ON event`)
	_, _, err = r.Replays.Pause(t.Context(), bad.ID, "")
	r.must(err)
	_, _, err = r.Replays.Resume(t.Context(), bad.ID, "")
	r.must(err)
	if failed := feed(); failed != nil {
		t.Errorf("%+v", failed)
	}
	r.wantJob(bad.ID, ReplayFinished, 3, 0, 0, 0)
	job, err = r.Replays.Progress(t.Context(), bad.ID)
	r.must(err)
	if job.Failures != 0 || job.Failure != "" || !job.RetryAt.IsZero() {
		t.Errorf("%+v", job)
	}
}

func TestReplayRates(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t)
	r.dead("contracts", "a", 1)
	p := r.plan(Filter{All: true})
	for _, rate := range []float64{-1, 1e-14, SlowestReplay / 2, 2 * FastestReplay, math.Inf(1), math.NaN()} {
		p.Rate = rate
		if _, err := r.Replays.Start(t.Context(), p); !errors.As(err, new(*FilterError)) {
			t.Errorf("%v: %v", rate, err)
		}
	}
	for _, rate := range []float64{SlowestReplay, FastestReplay} {
		r.dead("deals", fmt.Sprint(rate), 2)
		p := r.plan(Filter{ObjectType: "deals"})
		p.Rate = rate
		job := r.startReplay(p)
		r.finish()
		if job, err := r.Replays.Progress(t.Context(), job.ID); err != nil || job.State != ReplayFinished {
			t.Errorf("%v: %+v, %v", rate, job, err)
		}
	}
}
