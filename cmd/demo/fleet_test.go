package main

import (
	"context"
	"io"
	"testing"
	"time"

	"crmintake/deploy/local"
)

// A worker that is told to stop before it can hear that stops well; one that has begun, and then ends of the signal,
// does not.
func TestFleetEndsWorkersThatJustStarted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says string
		well bool
	}{"just started": {"", true}, "begun": {"here", false}} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(1, "", func(ctx context.Context, log io.Writer) (*local.Process, error) {
				return local.StartProcess(ctx, local.ProcessConfig{Path: "/bin/sh", Args: []string{"-c",
					"printf '" + c.says + "' >&2; exec sleep 600"}, Stderr: log})
			})
			ended := make(chan error, 1)
			go func() { ended <- f.keep(t.Context(), 0) }()
			said := func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.running[0] != nil && f.running[0].LogEnd() == c.says
			}
			for limit := time.Now().Add(time.Minute); !said(); time.Sleep(time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatal("no worker in a minute")
				}
			}
			f.end()
			err := <-ended
			if failures, _ := f.failed(); (err == nil) != c.well || (failures == 0) != c.well {
				t.Errorf("%d failures, %v", failures, err)
			}
		})
	}
}
