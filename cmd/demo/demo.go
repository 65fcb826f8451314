package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/jetstream"
)

// runCmd is the command that runs when none is named.
type runCmd struct {
	Events  int           `help:"How many events to publish." default:"10000" placeholder:"N"`
	Faults  string        `help:"How the simulated CRM behaves: none, or mixed (every fault of its list, one call in ten)." enum:"none,mixed" default:"none" placeholder:"none|mixed"`
	Quota   string        `help:"The account's quota of calls, as 190/10s; or off." default:"190/10s" placeholder:"CALLS/TIME"`
	Latency time.Duration `help:"How long a call takes, on average." default:"30ms" placeholder:"TIME"`
	Output  string        `help:"How to print the result: text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
	Keep    bool          `help:"Leave everything running at the end, and print the addresses, until Ctrl-C."`
	Log     string        `help:"A file for the worker's log." placeholder:"FILE"`
}

// Run does it all, tells the result, and cleans up. With Keep it cleans up only when ctx ends.
func (c *runCmd) Run(ctx context.Context, s streams) (err error) {
	if c.Events < 1 {
		return usagef("--events: want at least 1")
	}
	limit, err := parseQuota(c.Quota)
	if err != nil {
		return usagef("%w", err)
	}
	p, err := startParts(ctx, s.say, local.StackConfig{
		CRM:      account(limit, c.Latency, c.Faults),
		Postgres: pgcluster.Config{Durable: true},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	d := &demo{runCmd: c, parts: p}
	return d.run(ctx, func(r report) error {
		if err := s.tell(c.Output, r); err != nil {
			return err
		}
		if !r.good() {
			return errDisagree
		}
		return nil
	})
}

// demo is one run.
type demo struct {
	*runCmd
	*parts
}

func (d *demo) run(ctx context.Context, tell func(report) error) error {
	var log io.Writer
	if d.Log != "" {
		file, err := os.Create(d.Log)
		if err != nil {
			return err
		}
		defer file.Close()
		log = file
	}
	// It is ended in order, also after a Ctrl-C; the kernel ends it if this process dies.
	worker, err := d.stack.Start(context.WithoutCancel(ctx), log, d.workerArgs()...)
	if err != nil {
		return err
	}
	defer func() { _ = worker.Kill(); _ = worker.Wait() }() // if it still runs: after an error

	d.progress("publishing %d events and creating their records", d.Events)
	start := time.Now()
	published, err := d.work(ctx, worker)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w\nthe worker's log ends with:\n%s", err, worker.LogEnd())
		}
		return err
	}
	seconds := time.Since(start).Seconds()
	b, err := d.compare(ctx, ordinary(published))
	if err != nil {
		return err
	}
	disagree := tell(newReport(b, d.stack.CRM.Stats(), seconds))
	if disagree != nil && !errors.Is(disagree, errDisagree) {
		return disagree
	}
	if d.Keep {
		d.wait(ctx)
	}
	return errors.Join(disagree, d.end(worker))
}

func (d *demo) workerArgs() []string {
	args := []string{"run", "--id-property", objectType + "=" + idProperty, "--quota", d.Quota}
	if d.Faults == "mixed" {
		// What takes minutes in production takes seconds here.
		args = append(args, "--call-timeout", callTimeout.String(), "--lease", "10s", "--settle", settle.String(),
			"--trial-interval", "1s",
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
			if l, err := d.left(ctx); err != nil || l.none() {
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
	return progressbar.NewOptions(d.Events, progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("creating records"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"),
		progressbar.OptionClearOnFinish(),
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
		if err := p.Publish(ctx, message(n)); err != nil {
			return p.Progress().Confirmed, fmt.Errorf("publish: %w", err)
		}
	}
	err = p.Flush(ctx)
	return p.Progress().Confirmed, err
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
