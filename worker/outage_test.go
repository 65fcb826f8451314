package worker

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
		o := &outage{log: slog.New(slog.NewTextHandler(&log, nil)), what: "it", quiet: time.Second}
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
