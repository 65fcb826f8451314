package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	nats "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// chaosCmd is the command chaos.
type chaosCmd struct {
	Minutes    float64 `help:"How long it lasts, before what is left is worked off." default:"10" placeholder:"N"`
	Workers    int     `help:"How many workers run." default:"3" placeholder:"N"`
	Rate       int     `help:"How many events are published a second." default:"1700" placeholder:"N"`
	Seed       uint64  `help:"Repeats what happens and when, as far as it is up to chance here; 0 for another one each time." default:"0" placeholder:"N"`
	IDProperty bool    `name:"id-property" help:"The object type has an id property. Without one, events in doubt become dead letters." default:"true" negatable:""`
	Backlog    int     `help:"Events of a type that is paused to the end; -1: 20,000 a minute, 100,000 at most." default:"-1" placeholder:"N"`
	ClockSteps bool    `help:"The database's clock steps, where libfaketime is installed." default:"true" negatable:""`
	Output     string  `help:"How to print the result: text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
	Log        string  `help:"A directory for the logs of workers, NATS and Postgres." placeholder:"DIR"`
}

// What takes minutes in production takes seconds here.
const (
	chaosLease   = 6 * time.Second
	chaosAckWait = 10 * time.Second
	chaosLatency = 120 * time.Millisecond // long enough that most kills meet a call
)

// drainLimit bounds the time after the chaos in which everything must come to its end.
const drainLimit = 5 * time.Minute

// longestStep is how far the database's clock goes at once.
const longestStep = 2 * time.Minute

// workerStream begins the numbers of the workers' random settings; those below are the faults'.
const workerStream = 1 << 32

// Run does it all, tells the result, and cleans up.
func (c *chaosCmd) Run(ctx context.Context, s streams) (err error) {
	switch {
	case !(c.Minutes > 0) || c.Minutes > 24*60:
		return usagef("--minutes: want more than 0, and a day at most")
	case c.Workers < 1:
		return usagef("--workers: want at least 1")
	case c.Rate < 1:
		return usagef("--rate: want at least 1")
	case c.Backlog < -1:
		return usagef("--backlog: want at least 0, or -1")
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	cfg := local.StackConfig{CRM: c.account(), Postgres: pgcluster.Config{Durable: true}}
	leftOut := map[string]string{}
	if !c.ClockSteps {
		leftOut[stepClock] = "--no-clock-steps"
	} else if cfg.Postgres.Faketime, err = pgcluster.Faketime(); err != nil {
		leftOut[stepClock] = err.Error()
	}
	if c.Log != "" {
		if err := os.MkdirAll(c.Log, 0o755); err != nil {
			return err
		}
		for name, log := range map[string]*io.Writer{"nats": &cfg.NATS.Log, "postgres": &cfg.Postgres.Log} {
			file, err := os.Create(filepath.Join(c.Log, name+".log"))
			if err != nil {
				return err
			}
			defer file.Close()
			*log = file
		}
	}
	p, err := startParts(ctx, s.say, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	r, err := (&chaos{chaosCmd: c, parts: p, leftOut: leftOut}).run(ctx)
	if err != nil {
		return err
	}
	if err := s.tell(c.Output, r); err != nil {
		return err
	}
	if !r.good() {
		return errDisagree
	}
	return nil
}

// account is one where every fault happens, most of them often.
func (c *chaosCmd) account() hubspottest.Config {
	cfg := hubspottest.Config{
		MinLatency: chaosLatency / 4,
		MaxLatency: 2*chaosLatency - chaosLatency/4,
		Rates:      frequent(hubspottest.All()),
		ReadRates:  frequent(hubspottest.AllReads()),
		Delay:      slowAnswer,
		RetryAfter: time.Second,
		Seed:       c.Seed,
	}
	var ids []string
	if c.IDProperty {
		ids = idProperties
	}
	cfg.ObjectTypes = objectTypes(ids...)
	cfg.ObjectTypes[backlogType] = companies(ids)
	return cfg
}

// idProperties are the account's unique properties. Which of them the workers use is up to each.
var idProperties = []string{idProperty, "old_id"}

// workerArgs are those of one worker. Some settings are other ones with each.
func (c *chaosCmd) workerArgs(rng *rand.Rand) []string {
	between := func(least, most int) string { return strconv.Itoa(least + rng.IntN(most-least+1)) }
	args := []string{"run", "--quota", "off", "--lease", chaosLease.String(), "--call-timeout", callTimeout.String(),
		"--settle", settle.String(),
		"--trial-interval", "1s", "--retry-initial", "200ms", "--retry-max", "5s",
		"--retry-attempts", between(100, 1000), "--batch-size", between(30, 100), "--in-flight", between(8, 64)}
	if c.IDProperty {
		property := idProperties[rng.IntN(len(idProperties))]
		args = append(args, "--id-property", objectType+"="+property+","+backlogType+"="+property)
	}
	return args
}

func (c *chaosCmd) long() time.Duration { return time.Duration(c.Minutes * float64(time.Minute)) }

// chaos is one run.
type chaos struct {
	*chaosCmd
	*parts
	injector  *injector
	leftOut   map[string]string
	confirmed atomic.Int64 // events that JetStream has confirmed
	starts    atomic.Uint64
	sent      []time.Time // when each event was published
	ticks     []tick
}

func (c *chaos) run(ctx context.Context) (r chaosReport, err error) {
	if err := c.shortenAckWait(ctx); err != nil {
		return r, err
	}
	proxies, err := openProxies(c.stack)
	if err != nil {
		return r, err
	}
	defer proxies.close()
	env, err := proxies.env(c.stack)
	if err != nil {
		return r, err
	}
	fleet := newFleet(c.Workers, c.Log, func(ctx context.Context, log io.Writer) (*local.Process, error) {
		rng := rand.New(rand.NewPCG(c.Seed, workerStream+c.starts.Add(1)))
		return local.StartProcess(ctx, local.ProcessConfig{Path: c.stack.Worker, Args: c.workerArgs(rng),
			Env: append(cleanEnviron(), env...), Stderr: log})
	})
	c.injector = &injector{seed: c.Seed, stack: c.stack, fleet: fleet, proxies: proxies, lease: chaosLease}
	if c.leftOut[stepClock] == "" {
		c.injector.step = min(longestStep, c.long()/2) // what waits for a time when it steps back waits so much longer
	}
	backlog, err := c.fillBacklog(ctx)
	if err != nil {
		return r, err
	}
	ticking, stopTicks := context.WithCancel(ctx)
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		c.keepTicks(ticking)
	}()
	defer func() { stopTicks(); <-ticked }()

	c.progress("chaos for %v with %d workers, %d events a second, seed %d", c.long(), c.Workers, c.Rate, c.Seed)
	start := time.Now()
	var published int
	group, ctxAll := errgroup.WithContext(ctx)
	for place := range c.Workers {
		group.Go(func() error { return fleet.keep(ctxAll, place) })
	}
	group.Go(func() (err error) {
		defer fleet.end()
		if published, err = c.publishAmidFaults(ctxAll); err != nil {
			return err
		}
		r.Seconds = time.Since(start).Seconds()
		c.progress("chaos is over; working off what is left")
		if err := c.freeBacklog(ctxAll); err != nil {
			return err
		}
		return c.drain(ctxAll)
	})
	if err := group.Wait(); err != nil {
		return r, err
	}
	r.DrainSeconds = time.Since(start).Seconds() - r.Seconds
	pause(ctx, 2*tickEach) // so that there is one after the last row
	stopTicks()
	<-ticked
	c.progress("comparing")
	err = c.fillIn(ctx, &r, published, backlog)
	return r, err
}

// shortenAckWait lets what a dead worker had in hand be delivered again soon.
func (c *chaos) shortenAckWait(ctx context.Context) error {
	js, err := nats.New(c.nc)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, "CRM_EVENTS", "crmintake")
	if err != nil {
		return err
	}
	cfg := consumer.CachedInfo().Config
	cfg.AckWait = chaosAckWait
	_, err = js.UpdateConsumer(ctx, "CRM_EVENTS", cfg)
	return err
}

// publishAmidFaults publishes while everything goes wrong. It returns when all is confirmed and nothing goes wrong any
// more.
func (c *chaos) publishAmidFaults(ctx context.Context) (published int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	watching, stopWatching := context.WithCancel(ctx)
	group.Go(func() (err error) {
		published, err = c.publish(ctx)
		return err
	})
	group.Go(func() error { return c.injector.run(ctx, c.long()) })
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(watching)
	}()
	err = group.Wait()
	stopWatching()
	<-watched
	if err != nil {
		return published, err
	}
	return published, errors.Join(c.stack.CRM.SetRates(nil), c.stack.CRM.SetReadRates(nil))
}

// publish publishes steadily, through the same bad connection that the workers have, and returns how many events
// JetStream confirmed.
func (c *chaos) publish(ctx context.Context) (int, error) {
	nc, err := jetstream.Connect("nats://"+c.injector.proxies.nats.Addr(), "demo publisher", slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	p, err := jetstream.OpenPublisher(ctx, nc, jetstream.PublisherConfig{})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if err := steadily(ctx, c.long(), float64(c.Rate), func(n int) error {
		c.confirmed.Store(int64(p.Progress().Confirmed))
		c.sent = append(c.sent, time.Now())
		return p.Publish(ctx, message(n))
	}); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	if err := p.Flush(ctx); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	c.confirmed.Store(int64(p.Progress().Confirmed))
	return p.Progress().Confirmed, nil
}

// drain waits until each event has its outcome.
func (c *chaos) drain(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	watching, stopWatching := context.WithCancel(limited)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(watching)
	}()
	defer func() { stopWatching(); <-watched }()
	var l left
	var err error
	for {
		// After what was done to them, a server may take a moment.
		if l, err = c.left(limited); err == nil && l.none() {
			return nil
		}
		if !pause(limited, 200*time.Millisecond) {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	rows, rowsErr := c.unsettled(ctx)
	return errors.Join(fmt.Errorf("%v after the chaos not everything is done: in the stream %d events wait and %d "+
		"are delivered and unacked; in the outbox are %s",
		drainLimit, l.pending, l.unacked, rows), err, rowsErr)
}
