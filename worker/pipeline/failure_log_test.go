package pipeline

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An outage is not over, and does not begin anew, while one that has failed still waits to try again.
func TestOutageLastsAsLongAsOneMeetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &failureLog{log: slog.New(slog.NewTextHandler(&log, nil)), what: "it", quiet: time.Second}
		expect := func(when string, fails, works int) {
			t.Helper()
			if f, w := strings.Count(log.String(), "it fails"), strings.Count(log.String(), "it works again"); f != fails || w != works {
				t.Errorf("%s: logged %d failures and %d recoveries, want %d and %d", when, f, w, fails, works)
			}
		}
		o.failed(errors.New("no"))
		done := o.wait()
		time.Sleep(time.Minute)
		o.worked()
		expect("another works", 1, 0)
		o.failed(errors.New("no"))
		done()
		o.worked()
		expect("just after a failure", 1, 0)
		time.Sleep(time.Second)
		o.worked()
		o.worked()
		expect("nobody fails any more", 1, 1)
		o.failed(errors.New("no"))
		expect("the next outage", 2, 1)
	})
}

// The cause that an outage has by now is told, once it lasts; and how long it all took, from the first failure to the
// first success.
func TestOutageTellsTheCauseThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &failureLog{log: slog.New(slog.NewTextHandler(&log, nil)), what: "it", quiet: 2 * time.Second,
			cause: func(err error) string { cause, _, _ := strings.Cut(err.Error(), " "); return cause }}
		fail := func(errs ...string) {
			for _, err := range errs {
				o.failed(errors.New(err))
				time.Sleep(time.Second)
			}
		}
		o.worked()
		fail("terminated", "starting", "terminated", "starting") // none of these lasts
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines:\n%s", n, &log)
		}
		fail("readonly 1", "readonly 2", "readonly 3", "readonly 4", "readonly 5")
		if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text,
			"another reason\" error=\"readonly 4") {
			t.Errorf("of the cause that lasts:\n%s", text)
		}
		if lasting, err := o.failure(); err.Error() != "readonly 5" || lasting != 9*time.Second {
			t.Errorf("%v, for %v", err, lasting)
		}
		time.Sleep(time.Minute)
		for range 5 {
			o.worked()
			time.Sleep(time.Second)
		}
		if text := log.String(); !strings.Contains(text, "works again\" after=1m9s failures=9") {
			t.Errorf("of its end:\n%s", text)
		}
		if lasting, err := o.failure(); err != nil || lasting != 0 {
			t.Errorf("after its end: %v, for %v", err, lasting)
		}
		log.Reset()
		fail("readonly")
		if !strings.Contains(log.String(), "fails; trying again") {
			t.Errorf("of the next:\n%s", &log)
		}
	})
}

// After the database was away, no lease is taken before workers that are alive had their time; failures that go on
// while it answers keep no lease for good.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g grace
		o := &failureLog{log: slog.New(slog.DiscardHandler), what: "it"}
		no := errors.New("no")
		round := func(err error) (ago time.Duration, ok bool) {
			time.Sleep(time.Second)
			if err != nil {
				o.failed(err)
			}
			g.beat(time.Now(), err)
			return g.over(o)
		}
		first := func(when string, fail func(second int) (beat, other error), ago time.Duration, from, to int) {
			t.Helper()
			for second := range 1000 {
				beat, other := fail(second)
				if other != nil {
					o.failed(other)
				}
				if got, ok := round(beat); ok && beat == nil {
					if second < from || second > to || got != ago {
						t.Errorf("%s: leases that ran out %v ago are taken after %d s", when, got, second)
					}
					return
				}
			}
			t.Errorf("%s: no lease is taken", when)
		}
		well := func(int) (beat, other error) { return nil, nil }
		often := func(second int) (beat, other error) { // a beat now and then, and something else all the time
			if second%7 == 6 {
				beat = no
			}
			return beat, no
		}
		first("at the start", well, 0, 0, 0)
		first("after one failure", func(second int) (beat, other error) {
			if second == 0 {
				return no, nil
			}
			return nil, nil
		}, 0, 20, 21)
		away := func() {
			for range 600 {
				round(no)
			}
		}
		away()
		first("after an outage", well, 0, 19, 21)
		away()
		first("failures after an outage", often, mostGrace, 60, 62)
		first("failures that go on", often, mostGrace, 0, 1)
	})
}
