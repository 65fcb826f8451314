package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

type quotaCmd struct {
	Workers []int     `help:"How many workers share the quota, a run each." default:"1,2,4,8" placeholder:"N,…"`
	Quota   limitFlag `help:"Calls that the account allows in any such time." default:"190/10s" placeholder:"CALLS/TIME"`
	Seconds int       `help:"How long to measure, in whole windows of the quota, after two to get going." default:"60" placeholder:"N"`
	Jitter  rangeFlag `help:"How long a request is under way to the CRM." default:"5ms-50ms" placeholder:"TIME-TIME"`
	Other   shareFlag `help:"Share of the quota that another app takes unannounced, in a last run with the most workers; 0% for no such run." default:"30%" placeholder:"SHARE"`
	Output  string    `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// limitFlag is so many calls in a time.
type limitFlag hubspottest.Limit

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *limitFlag) UnmarshalText(text []byte) error {
	calls, window, _ := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(calls)
	d, derr := time.ParseDuration(window)
	if err != nil || derr != nil || n < 1 || d <= 0 {
		return fmt.Errorf("%q: want calls and a time, as 190/10s", text)
	}
	*f = limitFlag{Calls: n, Window: d}
	return nil
}

func (f limitFlag) String() string { return fmt.Sprintf("%d/%v", f.Calls, f.Window) }

// rangeFlag is from a shortest to a longest time.
type rangeFlag struct{ least, most time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *rangeFlag) UnmarshalText(text []byte) error {
	from, to, _ := strings.Cut(string(text), "-")
	least, err := time.ParseDuration(from)
	most, merr := time.ParseDuration(to)
	if err != nil || merr != nil || least < 0 || most < least {
		return fmt.Errorf("%q: want two times, as 5ms-50ms", text)
	}
	*f = rangeFlag{least, most}
	return nil
}

// shareFlag is a percentage; 0.3 is 30%.
type shareFlag float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *shareFlag) UnmarshalText(text []byte) error {
	percent, ok := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(percent, 64)
	if !ok || err != nil || !(v >= 0 && v < 100) {
		return fmt.Errorf("%q: want a share below 100%%, as 30%%", text)
	}
	*f = shareFlag(v / 100)
	return nil
}

// quotaRun is what one run came to. Only the CRM's word counts.
type quotaRun struct {
	Workers        int     `json:"workers"`
	Other          float64 `json:"other_share"` // of the quota, that the other app asked for
	OtherCalls     int     `json:"other_calls"` // that were admitted
	Calls          int     `json:"calls"`       // of ours that were admitted
	Used           float64 `json:"used_share"`  // of what the other app left
	RecordsPerCall float64 `json:"records_per_call"`
	Throttled      int     `json:"throttled"` // of ours that were answered 429
	ThrottledShare float64 `json:"throttled_share"`
}

// Of ten events so many are of each object type: full batches of the rare ones take time to fill.
var quotaTypes = []struct {
	name   string
	events int
}{{"contracts", 6}, {"deals", 3}, {"tickets", 1}}

// The CRM takes this long for a call, beside the way there.
const leastLatency, mostLatency = 50 * time.Millisecond, 200 * time.Millisecond

// Run measures what a fleet makes of a quota.
func (c *quotaCmd) Run(ctx context.Context, s streams) error {
	if len(c.Workers) == 0 || c.Seconds < 1 {
		return errors.New("--workers and --seconds: want at least 1")
	}
	most := 0
	for _, n := range c.Workers {
		if n < 1 {
			return errors.New("--workers: want at least 1")
		}
		most = max(most, n)
	}
	begin := time.Now()
	say := func(what string) { fmt.Fprintf(s.err, "%6.1fs  %s\n", time.Since(begin).Seconds(), what) }
	types := map[string]hubspottest.ObjectType{}
	for _, t := range quotaTypes {
		types[t.name] = hubspottest.ObjectType{Unique: []string{idProperty}}
	}
	stack, err := local.StartStack(ctx, local.StackConfig{Progress: say, CRM: hubspottest.Config{
		Token: token, ObjectTypes: types, Limit: hubspottest.Limit(c.Quota), MinTransit: c.Jitter.least,
		MaxTransit: c.Jitter.most,
		MinLatency: leastLatency, MaxLatency: mostLatency,
	}})
	if err != nil {
		return err
	}
	defer func() { _ = stack.Stop() }()
	b := &quotaBench{quotaCmd: c, stack: stack, windows: max(1,
		(c.Seconds*int(time.Second)+int(c.Quota.Window)-1)/int(c.Quota.Window))}
	var runs []quotaRun
	for _, n := range c.Workers {
		say(fmt.Sprintf("%d workers", n))
		run, err := b.measure(ctx, n, 0)
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	if c.Other > 0 {
		say(fmt.Sprintf("%d workers beside another app", most))
		run, err := b.measure(ctx, most, float64(c.Other))
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"quota": c.Quota.String(), "seconds": b.span().Seconds(),
			"runs": runs})
	}
	return c.print(s.out, runs)
}

type quotaBench struct {
	*quotaCmd
	stack     *local.Stack
	windows   int // that are measured
	published int
}

func (b *quotaBench) span() time.Duration { return time.Duration(b.windows) * b.Quota.Window }

// quotaWarmUp is how many windows pass before the measurement: in the first, the workers start and use what the quiet
// time before has left.
const quotaWarmUp = 2

// measure has the fleet work at a backlog that it can't finish, and counts, once it is going, what the CRM sees.
func (b *quotaBench) measure(ctx context.Context, workers int, other float64) (run quotaRun, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills what is left of the workers
	if err := b.publish(ctx, workers); err != nil {
		return run, err
	}
	var fleet []*local.Process
	for range workers {
		p, err := b.stack.Start(ctx, nil, "run", "--quota", b.Quota.String(), "--log-level", "warn")
		if err != nil {
			return run, err
		}
		fleet = append(fleet, p)
	}
	app := &otherApp{url: b.stack.CRM.URL + "/crm/objects/" + hubspottest.DefaultVersion + "/" + objectType +
		"/batch/read"}
	var others sync.WaitGroup
	stopOther := func() {}
	if other > 0 {
		var appCtx context.Context
		appCtx, stopOther = context.WithCancel(ctx)
		others.Go(func() { app.run(appCtx, time.Duration(float64(b.Quota.Window)/float64(b.Quota.Calls)/other)) })
	}
	defer func() { stopOther(); others.Wait() }()

	started := b.stack.CRM.Stats().Creates
	for b.stack.CRM.Stats().Creates == started {
		if err := pass(ctx, fleet, 10*time.Millisecond); err != nil {
			return run, err
		}
	}
	if err := pass(ctx, fleet, quotaWarmUp*b.Quota.Window); err != nil {
		return run, err
	}
	before, otherBefore := b.stack.CRM.Stats(), app.counts()
	if err := pass(ctx, fleet, b.span()); err != nil {
		return run, err
	}
	after, otherAfter := b.stack.CRM.Stats(), app.counts()
	if after.Created >= b.published {
		return run, errors.New("the backlog was worked off before the end: nothing was measured")
	}
	for _, p := range fleet {
		_ = p.Signal(syscall.SIGTERM)
	}
	for _, p := range fleet {
		if err := p.Wait(); err != nil {
			return run, fmt.Errorf("a worker: %w\n%s", err, p.LogEnd())
		}
	}
	theirs := otherAfter.minus(otherBefore)
	run = quotaRun{
		Workers: workers, Other: other, OtherCalls: theirs.admitted,
		Calls:     after.Calls - before.Calls - theirs.admitted,
		Throttled: after.Throttled - before.Throttled - theirs.throttled,
	}
	run.Used = float64(run.Calls) / float64(b.windows*b.Quota.Calls-theirs.admitted)
	run.RecordsPerCall = float64(after.Inputs-before.Inputs) / float64(max(1, after.Creates-before.Creates))
	run.ThrottledShare = float64(run.Throttled) / float64(max(1, run.Calls+run.Throttled))
	return run, nil
}

// pass lets time pass, while all workers are alive.
func pass(ctx context.Context, fleet []*local.Process, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	for _, p := range fleet {
		select {
		case <-p.Done():
			return fmt.Errorf("a worker ended: %v\n%s", p.Wait(), p.LogEnd())
		default:
		}
	}
	return nil
}

// publish sees to it that the backlog outlasts the run, with what the workers have in hand at its end.
func (b *quotaBench) publish(ctx context.Context, workers int) error {
	const inHand = 2 * 32 * 100
	want := b.stack.CRM.Stats().Created + (b.windows+quotaWarmUp+2)*b.Quota.Calls*100 + workers*inHand
	nc, err := nats.Connect(b.stack.NATS.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	p, err := jetstream.OpenPublisher(ctx, nc, jetstream.PublisherConfig{})
	if err != nil {
		return err
	}
	defer p.Close()
	for ; b.published < want; b.published++ {
		n, name := b.published, ""
		for k, at := 0, n%10; at >= 0; k++ {
			name = quotaTypes[k].name
			at -= quotaTypes[k].events
		}
		if err := p.Publish(ctx, jetstream.Message{Subject: "crm.create." + name, ID: numbered(n), Data: event(n,
			numbered(n)), Line: n + 1}); err != nil {
			return err
		}
	}
	return p.Flush(ctx)
}

// otherApp calls the same account at random moments, and does not mind what it is answered.
type otherApp struct {
	url string

	mu    sync.Mutex
	count otherCounts
}

type otherCounts struct{ admitted, throttled int }

func (c otherCounts) minus(b otherCounts) otherCounts {
	return otherCounts{c.admitted - b.admitted, c.throttled - b.throttled}
}

func (a *otherApp) counts() otherCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// run makes a call each mean, on average, until ctx ends.
func (a *otherApp) run(ctx context.Context, mean time.Duration) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rand.ExpFloat64() * float64(mean))):
		}
		calls.Go(func() { a.call(context.WithoutCancel(ctx)) })
	}
}

func (a *otherApp) call(ctx context.Context) {
	body := fmt.Sprintf(`{"idProperty":%q,"inputs":[{"id":"nothing"}],"properties":[],"propertiesWithHistory":[]}`,
		idProperty)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if resp.StatusCode == http.StatusTooManyRequests {
		a.count.throttled++
	} else {
		a.count.admitted++
	}
}

func (c *quotaCmd) print(out io.Writer, runs []quotaRun) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "workers\tother app's calls\tcalls\tof the quota left\trecords a call\t429\tof the calls\t")
	for _, r := range runs {
		fmt.Fprintf(t, "%d\t%d\t%d\t%.1f%%\t%.1f\t%d\t%.2f%%\t\n", r.Workers, r.OtherCalls, r.Calls, 100*r.Used,
			r.RecordsPerCall, r.Throttled,
			100*r.ThrottledShare)
	}
	return t.Flush()
}
