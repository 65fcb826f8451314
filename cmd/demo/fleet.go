package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"crmintake/deploy/local"
)

// fleet keeps workers running, as a service manager would: whatever ends one, another takes its place. The methods may
// be called by many goroutines at once.
type fleet struct {
	start func(ctx context.Context, log io.Writer) (*local.Process, error)
	log   string // a directory for the workers' logs; "" for none

	ending    chan struct{} // closed when those that end are not replaced any more
	endingNow sync.Once

	mu       sync.Mutex
	running  []*worker // one for each place; nil while it is empty
	failures int       // ends with an error that nobody had killed
	lastWord string    // of the last of these
}

// worker is one process.
type worker struct {
	*local.Process
	killed bool // by us; the fleet's mu guards it
}

// endedWell tells whether it ended as it was told. One that is told to stop in its first moment has no ears for that
// yet, and has said nothing either.
func (w *worker) endedWell(err error) bool {
	if err == nil || w.killed {
		return true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM && w.LogEnd() == ""
}

// Between the end of a worker and the start of its successor, at random.
const (
	shortestGap = 100 * time.Millisecond
	longestGap  = time.Second
)

func newFleet(size int, log string, start func(context.Context, io.Writer) (*local.Process, error)) *fleet {
	return &fleet{start: start, log: log, ending: make(chan struct{}), running: make([]*worker, size)}
}

// keep fills one place until the fleet ends. When ctx ends, the worker is killed.
func (f *fleet) keep(ctx context.Context, place int) error {
	var log io.Writer
	if f.log != "" {
		file, err := os.Create(filepath.Join(f.log, fmt.Sprintf("worker-%d.log", place+1)))
		if err != nil {
			return err
		}
		defer file.Close()
		log = file
	}
	for {
		p, err := f.start(ctx, log)
		if err != nil {
			return err
		}
		w := &worker{Process: p}
		f.put(place, w)
		err = p.Wait()
		f.put(place, nil)
		f.note(w, err)
		gap := time.NewTimer(shortestGap + rand.N(longestGap-shortestGap))
		select {
		case <-ctx.Done():
			gap.Stop()
			return ctx.Err()
		case <-f.ending:
			gap.Stop()
			return f.endedWell(w, err)
		case <-gap.C:
		}
	}
}

func (f *fleet) put(place int, w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[place] = w
	select {
	case <-f.ending: // it was started too late for end to see it
		if w != nil {
			_ = w.Signal(syscall.SIGTERM)
		}
	default:
	}
}

func (f *fleet) note(w *worker, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.endedWell(err) {
		return
	}
	f.failures++
	lines := strings.Split(strings.TrimSpace(w.LogEnd()), "\n")
	f.lastWord = fmt.Sprintf("%v: %s", err, lines[len(lines)-1])
}

func (f *fleet) endedWell(w *worker, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.endedWell(err) {
		return nil
	}
	return fmt.Errorf("a worker did not stop well: %w\nits log ends with:\n%s", err, w.LogEnd())
}

// pick takes a worker at random, nil if none runs.
func (f *fleet) pick(rng *rand.Rand) *worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := slices.DeleteFunc(slices.Clone(f.running), func(w *worker) bool { return w == nil })
	if len(there) == 0 {
		return nil
	}
	return there[rng.IntN(len(there))]
}

// kill kills a worker. It reports false if there was none.
func (f *fleet) kill(rng *rand.Rand) bool {
	w := f.pick(rng)
	if w == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.Kill() != nil {
		return false
	}
	w.killed = true
	return true
}

// stop tells a worker to stop in order.
func (f *fleet) stop(rng *rand.Rand) bool {
	w := f.pick(rng)
	return w != nil && w.Signal(syscall.SIGTERM) == nil
}

// freeze stops a worker in its tracks for a while, or until ctx ends.
func (f *fleet) freeze(ctx context.Context, rng *rand.Rand, long time.Duration) bool {
	w := f.pick(rng)
	if w == nil || w.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	pause(ctx, long)
	_ = w.Signal(syscall.SIGCONT) // it may have been killed meanwhile
	return true
}

// end stops the workers in order; keep returns then.
func (f *fleet) end() {
	f.endingNow.Do(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		close(f.ending)
		for _, w := range f.running {
			if w != nil {
				_ = w.Signal(syscall.SIGTERM)
			}
		}
	})
}

// failed tells how many workers ended with an error of their own, and the last one's words.
func (f *fleet) failed() (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures, f.lastWord
}

// pause waits for d. It reports false if ctx ended before that.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
