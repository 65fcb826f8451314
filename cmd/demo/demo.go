package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

// demo is one run.
type demo struct {
	options
	quota quota
	say   io.Writer // progress, for people

	stack *local.Stack
	store *outbox.Store
	nc    *nats.Conn
}

// run does it all, tells the result, and cleans up. With Keep it cleans up only when ctx ends.
func (d *demo) run(ctx context.Context, tell func(report) error) (r report, err error) {
	begin := time.Now()
	d.stack, err = local.StartStack(ctx, local.StackConfig{
		CRM:      account(d.quota, d.Latency, d.Faults),
		Postgres: pgcluster.Config{Durable: true},
		Progress: func(what string) { fmt.Fprintf(d.say, "%5.1fs  %s\n", time.Since(begin).Seconds(), what) },
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.stack.Stop()) }()
	if d.store, err = outbox.Open(ctx, d.stack.DatabaseURL(), 2); err != nil {
		return r, err
	}
	defer d.store.Close()
	if d.nc, err = nats.Connect(d.stack.NATS.URL(), nats.MaxReconnects(-1)); err != nil {
		return r, err
	}
	defer d.nc.Close()

	var log io.Writer
	if d.Log != "" {
		file, err := os.Create(d.Log)
		if err != nil {
			return r, err
		}
		defer file.Close()
		log = file
	}
	// It is ended in order, also after a Ctrl-C; the kernel ends it if this process dies.
	worker, err := d.stack.Start(context.WithoutCancel(ctx), log, d.workerArgs()...)
	if err != nil {
		return r, err
	}
	defer func() { _ = worker.Kill(); _ = worker.Wait() }() // if it still runs: after an error

	fmt.Fprintf(d.say, "%5.1fs  publishing %d events and creating their records\n", time.Since(begin).Seconds(), d.Events)
	start := time.Now()
	published, err := d.work(ctx, worker)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w\nthe worker's log ends with:\n%s", err, worker.LogEnd())
		}
		return r, err
	}
	seconds := time.Since(start).Seconds()
	if r, err = d.compare(ctx, published); err != nil {
		return r, err
	}
	r.Seconds, r.EventsPerSecond = seconds, float64(published)/seconds
	if err := tell(r); err != nil {
		return r, err
	}
	if d.Keep {
		d.wait(ctx)
	}
	return r, d.end(worker)
}

func (d *demo) workerArgs() []string {
	args := []string{"run", "--id-property", objectType + "=" + idProperty, "--quota", d.Quota}
	if d.Faults == "mixed" {
		// What takes minutes in production takes seconds here.
		args = append(args, "--call-timeout", callTimeout.String(), "--lease", "10s", "--settle", settle.String(), "--trial-interval", "1s",
			"--retry-initial", "200ms", "--retry-max", "5s", "--retry-attempts", "50")
	}
	return args
}

// work publishes, and returns when each event has its outcome.
func (d *demo) work(ctx context.Context, worker *local.Process) (published int, err error) {
	bar := d.bar()
	defer func() { _ = bar.Finish() }()
	group, ctx := errgroup.WithContext(ctx)
	publishing := make(chan struct{})
	group.Go(func() (err error) {
		defer close(publishing)
		published, err = d.publish(ctx)
		return err
	})
	group.Go(func() error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-worker.Done():
				return fmt.Errorf("the worker has ended: %v", worker.Wait())
			case <-tick.C:
			}
			_ = bar.Set(min(d.stack.CRM.Len(objectType), d.Events))
			select {
			case <-publishing:
			default:
				continue
			}
			if done, err := d.done(ctx); err != nil || done {
				return err
			}
		}
	})
	err = group.Wait()
	return published, err
}

func (d *demo) bar() *progressbar.ProgressBar {
	w := io.Discard
	if f, ok := d.say.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w = d.say
	}
	return progressbar.NewOptions(d.Events, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("creating records"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond))
}

// publish sends all events and returns how many JetStream confirmed.
func (d *demo) publish(ctx context.Context) (int, error) {
	p, err := jetstream.OpenPublisher(ctx, d.nc, jetstream.PublisherConfig{})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for n := range d.Events {
		if err := p.Publish(ctx, jetstream.Message{Subject: subject, ID: eventID(n), Data: event(n), Line: n + 1}); err != nil {
			return p.Progress().Confirmed, fmt.Errorf("publish: %w", err)
		}
	}
	err = p.Flush(ctx)
	return p.Progress().Confirmed, err
}

// done tells whether the stream and the outbox have nothing left to do. The stream is asked first: what left it is in the
// outbox by then.
func (d *demo) done(ctx context.Context) (bool, error) {
	source, err := jetstream.Open(ctx, d.nc, jetstream.Config{})
	if err != nil {
		return false, err
	}
	pending, unacked, err := source.Outstanding(ctx)
	if err != nil || pending > 0 || unacked > 0 {
		return false, err
	}
	left, err := d.store.Outstanding(ctx)
	return !left, err
}

// wait keeps all running until ctx ends.
func (d *demo) wait(ctx context.Context) {
	fmt.Fprintf(d.say, "\nEverything is left running. To use it from another terminal:\n\n")
	for _, v := range d.stack.Env() {
		fmt.Fprintf(d.say, "  export '%s'\n", v)
	}
	fmt.Fprintf(d.say, "\nCtrl-C stops it and removes everything.\n")
	<-ctx.Done()
}

// end stops the worker as an operator would, and expects it to end well.
func (d *demo) end(worker *local.Process) error {
	if err := worker.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the worker has ended: %w", err)
	}
	if err := worker.Wait(); err != nil {
		return fmt.Errorf("the worker did not stop well: %w\nits log ends with:\n%s", err, worker.LogEnd())
	}
	return nil
}
