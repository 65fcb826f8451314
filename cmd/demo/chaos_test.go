package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A short run of faults, with an id property and without.
// It runs alone, for calls must be under way when things go wrong.
func TestChaos(t *testing.T) {
	for name, args := range map[string][]string{
		"id property":    {"--minutes", "0.4"},
		"no id property": {"--minutes", "0.25", "--no-id-property"},
	} {
		t.Run(name, func(t *testing.T) {
			logs := t.TempDir()
			args := append([]string{"chaos", "--rate", "500", "--seed", "7", "--output", "json", "--log", logs}, args...)
			var out, errs bytes.Buffer
			if code := execute(t.Context(), args, &out, &errs); code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, &out, &errs)
			}
			var r chaosReport
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.Events < 7000 || r.Events != r.Created+r.Dead || r.Lost != 0 || r.Duplicates != 0 ||
				r.PossibleDuplicates != 0 || r.Denied != 0 || r.ClaimedTwice != 0 || r.Undecided != 0 {
				t.Errorf("%+v", r)
			}
			if r.Kills == 0 || r.Restarts == 0 || r.Ambiguous == 0 || r.InDoubt == 0 ||
				r.Recovery[killWorker].Worst <= 0 || sum(r.Faults) == 0 {
				t.Errorf("it was a calm day: %+v", r)
			}
			if r.Backlog < 4000 || r.BacklogCreated == 0 || r.BacklogCreated > r.Backlog || r.OtherSettings == 0 ||
				r.P99Wait <= 0 || r.LongestWait < r.P99Wait {
				t.Errorf("%+v", r)
			}
			if left := r.LeftOut[stepClock]; (left == "") != (r.WentWrong[stepClock] > 0) {
				t.Errorf("%d steps of the clock, left out: %q", r.WentWrong[stepClock], left)
			}
			read := r.Settled["found by a read"] > 0
			if (name == "id property") != read {
				t.Errorf("events in doubt were settled so: %v", r.Settled)
			}
		})
	}
}

// Interrupted in the middle of the chaos, it leaves no process and no file.
func TestChaosInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	errs := &trigger{on: "chaos for", do: cancel}
	if code := execute(ctx, []string{"chaos"}, &out, errs); code != 1 || !strings.Contains(errs.text, "interrupted") {
		t.Errorf("exit code %d\n%s%s", code, &out, errs.text)
	}
}

func TestChaosUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--minutes", "0"}, {"--minutes", "NaN"}, {"--workers", "0"}, {"--rate", "0"},
		{"--backlog", "-2"}, {"--events", "5"}, {"--output", "xml"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), append([]string{"chaos"}, args...), &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
}

// A transaction's time is that of the first tick that had seen it, also where the database's clock says another one.
func TestTimeOf(t *testing.T) {
	t.Parallel()
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	ticks := []tick{{100, at(1)}, {100, at(2)}, {103, at(3)}, {103, at(4)}, {110, at(9)}}
	for number, want := range map[uint32]int64{99: 1, 100: 3, 102: 3, 103: 9, 109: 9, 110: 9} {
		if got := timeOf(ticks, number); got != at(want) {
			t.Errorf("transaction %d at %v, want %v", number, got, at(want))
		}
	}
}

// The time to recover is that to the next row, and what happened after the last row counts for nothing.
func TestRecoveries(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time { return time.Unix(0, int64(seconds*1e9)) }
	var r chaosReport
	r.recoveries([]injection{{killWorker, at(1)}, {killWorker, at(2)}, {cutCRM, at(2.5)}, {restartNATS, at(4)},
		{killWorker, at(9)}},
		[]time.Time{at(0.5), at(1.5), at(3), at(3.5), at(7)})
	if got, want := r.Recovery[killWorker], (recovery{Median: 1, Worst: 1}); got != want {
		t.Errorf("after kills %v, want %v", got, want)
	}
	if got, want := r.Recovery[cutCRM], (recovery{Median: 0.5, Worst: 0.5}); got != want {
		t.Errorf("after a cut %v, want %v", got, want)
	}
	if r.RecoverMedian != 1 || r.RecoverWorst != 3 {
		t.Errorf("over all: median %v, worst %v, want 1 and 3", r.RecoverMedian, r.RecoverWorst)
	}
}
