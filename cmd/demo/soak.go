package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// soakCmd is the command soak.
type soakCmd struct {
	Minutes float64 `help:"How long it lasts." default:"60" placeholder:"N"`
	Workers int     `help:"How many workers run." default:"2" placeholder:"N"`
	Quota   string  `help:"The account's quota of calls; events are published for half of it." default:"190/10s" placeholder:"CALLS/TIME"`
	Output  string  `help:"How to print the result: text for people, json for programs, and for bench plot." enum:"text,json" default:"text" placeholder:"text|json"`
}

const (
	// soakSamples is how many there are.
	soakSamples = 360
	// soakShortest is how often one is taken at most.
	soakShortest = time.Second
	// soakKeep is the part of the time that created rows are kept: the tables have grown to what they stay at when a
	// third of the time is over.
	soakKeep = 6
	// soakLatency is how long a call takes on average.
	soakLatency = 150 * time.Millisecond
	// mildness is how much rarer faults are than in the demo: one call in a hundred meets one.
	mildness = 10
)

// Run does it all, tells the result, and cleans up.
func (c *soakCmd) Run(ctx context.Context, s streams) (err error) {
	limit, err := parseQuota(c.Quota)
	switch {
	case err != nil:
		return usagef("%w", err)
	case limit.calls == 0:
		return usagef("--quota: want one; half of it is published")
	case !(c.Minutes > 0) || c.Minutes > 7*24*60:
		return usagef("--minutes: want more than 0, and a week at most")
	case c.Workers < 1:
		return usagef("--workers: want at least 1")
	}
	p, err := startParts(ctx, s.say, local.StackConfig{CRM: mild(limit), Postgres: pgcluster.Config{Durable: true}})
	if err != nil {
		return err
	}
	p.forgets = true
	defer func() { err = errors.Join(err, p.stop()) }()
	r, err := (&soak{soakCmd: c, parts: p, rate: float64(limit.calls) * 100 / limit.window.Seconds() / 2}).run(ctx)
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

// mild is an account where everything happens now and then.
func mild(q quota) hubspottest.Config {
	cfg := account(q, soakLatency, "none")
	cfg.Rates, cfg.ReadRates = frequent(hubspottest.All()), frequent(hubspottest.AllReads())
	for _, rates := range []map[hubspottest.Fault]float64{cfg.Rates, cfg.ReadRates} {
		for f := range rates {
			rates[f] /= mildness
		}
	}
	cfg.Delay, cfg.RetryAfter = slowAnswer, time.Second
	return cfg
}

// soak is one run.
type soak struct {
	*soakCmd
	*parts
	rate      float64 // events a second
	confirmed atomic.Int64
	workers   []*soaked
}

func (c *soak) long() time.Duration { return time.Duration(c.Minutes * float64(time.Minute)) }

// soaked is a worker, and where it serves its metrics.
type soaked struct {
	*local.Process
	log adminURL
}

// adminURL finds the address of the admin endpoints in a worker's log.
type adminURL struct {
	mu  sync.Mutex
	url string
}

var adminLine = regexp.MustCompile(`msg="admin endpoints" url=(\S+)`)

// Write implements io.Writer.
func (a *adminURL) Write(p []byte) (int, error) {
	if m := adminLine.FindSubmatch(p); m != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.url = string(m[1])
	}
	return len(p), nil
}

func (a *adminURL) get() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.url
}

func (c *soak) run(ctx context.Context) (r soakReport, err error) {
	keep := max(c.long()/soakKeep, time.Second)
	for range c.Workers {
		w := &soaked{}
		// They are ended in order, also after a Ctrl-C; the kernel ends them if this process dies.
		if w.Process, err = c.stack.Start(context.WithoutCancel(ctx), &w.log, "run", "--id-property",
			objectType+"="+idProperty, "--quota", c.Quota,
			"--keep-created", keep.String(), "--call-timeout", callTimeout.String(), "--lease", "10s", "--settle",
			settle.String(),
			"--trial-interval", "1s", "--retry-initial", "200ms", "--retry-max", "5s", "--retry-attempts", "1000"); err != nil {
			return r, err
		}
		defer func() { _ = w.Kill(); _ = w.Wait() }() // if it still runs: after an error
		c.workers = append(c.workers, w)
	}
	c.progress("soaking for %v with %d workers, %.0f events a second, created rows kept for %v", c.long(), c.Workers,
		c.rate, keep)
	begin := time.Now()
	published := 0
	group, groupCtx := errgroup.WithContext(ctx)
	watching, stopWatching := context.WithCancel(groupCtx)
	group.Go(func() (err error) {
		defer stopWatching()
		published, err = c.publish(groupCtx)
		return err
	})
	group.Go(func() (err error) {
		r.Samples, err = c.watch(watching, begin)
		return err
	})
	if err := group.Wait(); err != nil {
		return r, err
	}
	r.Minutes, r.Workers, r.KeptSeconds = time.Since(begin).Minutes(), c.Workers, keep.Seconds()
	if err := c.finish(ctx); err != nil {
		return r, err
	}
	c.progress("comparing")
	if r.balance, err = c.compare(ctx, ordinary(published)); err != nil {
		return r, err
	}
	r.report = newReport(r.balance, c.stack.CRM.Stats(), time.Since(begin).Seconds())
	r.judge()
	return r, nil
}

// publish publishes steadily, and returns how many events JetStream confirmed. None is bad: a dead row stays for ever,
// and keeps its page of the index, whatever is removed around it.
func (c *soak) publish(ctx context.Context) (int, error) {
	p, err := jetstream.OpenPublisher(ctx, c.nc, jetstream.PublisherConfig{})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if err := steadily(ctx, c.long(), c.rate, func(n int) error {
		c.confirmed.Store(int64(p.Progress().Confirmed))
		return p.Publish(ctx, jetstream.Message{Subject: subject, ID: eventID(n), Data: goodEvent(n), Line: n + 1})
	}); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	err = p.Flush(ctx)
	return p.Progress().Confirmed, err
}

// steadily calls do with 0, 1, 2… so often a second, for so long.
func steadily(ctx context.Context, long time.Duration, rate float64, do func(n int) error) error {
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n, over := 0, false; !over; {
		age := time.Since(begin)
		if over = age >= long; over {
			age = long
		}
		for target := int(age.Seconds() * rate); n < target; n++ {
			if err := do(n); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// watch takes samples until ctx ends, and tells people how it goes.
func (c *soak) watch(ctx context.Context, begin time.Time) (list []sample, err error) {
	tick := time.NewTicker(max(c.long()/soakSamples, soakShortest))
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			return list, nil
		case <-tick.C:
		}
		s, err := c.sample(ctx)
		if ctx.Err() != nil {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		s.Seconds = time.Since(begin).Seconds()
		list = append(list, s)
		if time.Since(told) >= watchEach {
			told = time.Now()
			c.progress("published %d  created %d  memory %.1f MB  goroutines %.0f  connections %.0f  tables %.1f MB  "+
				"indexes %.1f MB", c.confirmed.Load(),
				c.stack.CRM.Len(objectType), s.Memory, s.Goroutines, s.Connections, s.Tables, s.Indexes)
		}
	}
}

const soakSizes = `
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crmintake%'
  AND backend_type = 'client backend')::float8,
  sum(pg_table_size(oid)) / 1048576.0::float8, sum(pg_indexes_size(oid)) / 1048576.0::float8
FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace`

// sample looks at the workers and at the database.
func (c *soak) sample(ctx context.Context) (s sample, err error) {
	for _, w := range c.workers {
		select {
		case <-w.Done():
			return s, fmt.Errorf("a worker has ended: %v\nits log ends with:\n%s", w.Wait(), w.LogEnd())
		default:
		}
		url := w.log.get()
		if url == "" {
			continue // it has just been started
		}
		m, err := scrape(ctx, url+"/metrics", "process_resident_memory_bytes", "go_goroutines")
		if err != nil {
			return s, err
		}
		s.Memory = max(s.Memory, m["process_resident_memory_bytes"]/(1<<20))
		s.Goroutines = max(s.Goroutines, m["go_goroutines"])
	}
	conn, err := pgx.Connect(ctx, c.stack.DatabaseURL())
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, soakSizes).Scan(&s.Connections, &s.Tables, &s.Indexes)
	return s, err
}

// scrape reads some metrics without labels.
func scrape(ctx context.Context, url string, names ...string) (map[string]float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if slices.Contains(names, name) {
			if found[name], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(found) < len(names) {
		return nil, fmt.Errorf("%s has only %v", url, slices.Sorted(maps.Keys(found)))
	}
	return found, nil
}

// finish waits until each event has its outcome, and stops the workers as an operator would.
func (c *soak) finish(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for {
		l, err := c.left(limited)
		if err == nil && l.none() {
			break
		}
		if !pause(limited, 200*time.Millisecond) {
			return errors.Join(ctx.Err(), err, fmt.Errorf("%v after the last event not everything is done: %+v", drainLimit, l))
		}
	}
	for _, w := range c.workers {
		if err := w.Signal(syscall.SIGTERM); err != nil {
			return fmt.Errorf("a worker has ended: %w", err)
		}
	}
	for _, w := range c.workers {
		if err := w.Wait(); err != nil {
			return fmt.Errorf("a worker did not stop well: %w\nits log ends with:\n%s", err, w.LogEnd())
		}
	}
	return nil
}
