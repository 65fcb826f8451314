package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"crmintake/deploy/local"
	"crmintake/worker/jetstream"
)

type pausedCmd struct {
	Backlog []int  `help:"Events of a paused type that wait; at 0 none is." default:"0,1000000" placeholder:"N,…"`
	Events  int    `help:"Events of the other object type, of about 300 bytes each." default:"200000" placeholder:"N"`
	Runs    int    `help:"Runs with each backlog, in turn; the median counts." default:"3" placeholder:"N"`
	Output  string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

const pausedType = "deals"

// pausedRun is what one run came to. An event is one of the other type.
type pausedRun struct {
	figures
	firstCreated time.Duration // from the start of the program
	oneMore      time.Duration // from publishing to created of an event that comes once all others are
	paused       int           // deliveries of what is paused, or of the others for a second time
}

// pausedRows are the figures of the table.
var pausedRows = []struct {
	name, key string
	of        func(pausedRun) float64
}{
	{"events/s", "events_per_second", func(r pausedRun) float64 { return r.EventsPerSecond }},
	{"NATS CPU, µs/event", "nats_cpu_us_per_event", func(r pausedRun) float64 { return r.NATSCPU }},
	{"worker CPU, µs/event", "cpu_us_per_event", func(r pausedRun) float64 { return r.CPU }},
	{"first created after, ms", "first_created_ms", func(r pausedRun) float64 { return milliseconds(r.firstCreated) }},
	{"one more is created within, ms", "one_more_ms", func(r pausedRun) float64 { return milliseconds(r.oneMore) }},
	{"deliveries of what is paused", "paused_deliveries", func(r pausedRun) float64 { return float64(r.paused) }},
}

// pausedFigures are those of one backlog, by key.
type pausedFigures struct {
	Backlog int               `json:"backlog"`
	Figures map[string]spread `json:"figures"`
	Ratios  map[string]spread `json:"ratios"` // to the first backlog's, run by run; none to what is 0
}

func (c *pausedCmd) Run(ctx context.Context, s streams) error {
	if c.Events < 1 || c.Runs < 1 {
		return usagef("--events and --runs: want at least 1")
	}
	if len(c.Backlog) == 0 || slices.Min(c.Backlog) < 0 {
		return usagef("--backlog: want at least 0")
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	runs := make([][]pausedRun, len(c.Backlog))
	for n := range c.Runs {
		for i, backlog := range c.Backlog {
			say(fmt.Sprintf("run %d of %d: %d paused events wait", n+1, c.Runs, backlog))
			run, err := c.measure(ctx, site, backlog)
			if err != nil {
				return err
			}
			runs[i] = append(runs[i], run)
		}
	}
	var list []pausedFigures
	for i, backlog := range c.Backlog {
		list = append(list, pausedFiguresOf(backlog, runs[i], runs[0]))
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"events": c.Events, "runs": c.Runs, "backlogs": list})
	}
	return c.print(s.out, list)
}

func pausedFiguresOf(backlog int, runs, first []pausedRun) pausedFigures {
	f := pausedFigures{backlog, map[string]spread{}, map[string]spread{}}
	for _, row := range pausedRows {
		var values, ratios []float64
		for n := range runs {
			values = append(values, row.of(runs[n]))
			if to := row.of(first[n]); to > 0 {
				ratios = append(ratios, values[n]/to)
			}
		}
		f.Figures[row.key] = middle(values)
		if len(ratios) == len(runs) {
			f.Ratios[row.key] = middle(ratios)
		}
	}
	return f
}

// measure pauses an object type whose events wait, lets a worker do those of the other, and publishes one more then.
func (c *pausedCmd) measure(ctx context.Context, s *site, backlog int) (run pausedRun, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the parts
	name := fmt.Sprintf("bench_paused_%d", s.rounds)
	if err := s.createDatabase(ctx, name); err != nil {
		return run, err
	}
	r, err := s.open(ctx, name)
	if err != nil {
		return run, err
	}
	defer r.close(ctx)
	if backlog > 0 {
		if err := r.pause(ctx, backlog); err != nil {
			return run, err
		}
	}
	if err := r.publish(ctx, c.Events, numbered); err != nil {
		return run, err
	}
	unix.Sync() // the system's writing of what has just been published is no part of it
	var worker *local.Process
	work := func(ctx context.Context, r *round) (_ *local.Process, last time.Time, err error) {
		worker, err = r.start(ctx, nil, "run", "--quota", "off", "--id-property", objectType+"="+idProperty)
		if err != nil {
			return nil, last, err
		}
		first, last, err := r.created(ctx, worker)
		run.firstCreated = first.Sub(r.begin)
		return worker, last, err
	}
	if run.figures, err = r.measure(ctx, system{name: "crmintake", run: work}); err != nil {
		return run, err
	}
	var published time.Time
	if err := r.withPublisher(ctx, func(p *jetstream.Publisher) error {
		published = time.Now()
		return r.publishOne(ctx, p, r.events, numbered(r.events))
	}); err != nil {
		return run, err
	}
	_, last, err := r.created(ctx, worker)
	if err != nil {
		return run, err
	}
	run.oneMore = last.Sub(published)
	if err := end(worker); err != nil {
		return run, err
	}
	delivered, err := r.delivered(ctx)
	run.paused = delivered - r.events
	return run, err
}

// pause publishes events of another object type, and pauses it.
func (r *round) pause(ctx context.Context, events int) error {
	err := r.withPublisher(ctx, func(p *jetstream.Publisher) error {
		for n := range events {
			id := "paused-" + numbered(n)
			m := jetstream.Message{Subject: "crm.create." + pausedType, ID: id, Data: event(n, id), Line: n + 1}
			if err := p.Publish(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.command(ctx, "pause", pausedType, "--reason", "the benchmark's backlog")
}

// created returns once all that counts as published is created: when the first was, and when the last.
func (r *round) created(ctx context.Context, worker *local.Process) (first, last time.Time, err error) {
	err = r.until(ctx, worker, fmt.Sprintf(`SELECT coalesce(sum(created), 0) = %d FROM attempt`, r.events))
	if err == nil {
		err = r.conn.QueryRow(ctx, `SELECT min(closed_at), max(closed_at) FROM attempt WHERE created > 0`).
			Scan(&first, &last)
	}
	return first, last, err
}

// delivered counts what the stream's consumers have delivered, each time of a message.
func (r *round) delivered(ctx context.Context) (n int, err error) {
	nc, err := nats.Connect(r.nats.url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(ctx, "CRM_EVENTS")
	if err != nil {
		return 0, err
	}
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		n += int(info.Delivered.Consumer)
	}
	return n, consumers.Err()
}

func (c *pausedCmd) print(out io.Writer, list []pausedFigures) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d events, median of %d (min–max)", c.Events, c.Runs)
	for n, f := range list {
		fmt.Fprintf(t, "\t%d paused events wait", f.Backlog)
		if n > 0 {
			fmt.Fprintf(t, "\tof the first's")
		}
	}
	fmt.Fprintln(t)
	for _, row := range pausedRows {
		fmt.Fprint(t, row.name)
		for n, f := range list {
			v := f.Figures[row.key]
			fmt.Fprintf(t, "\t%s (%s–%s)", number(v.Median), number(v.Min), number(v.Max))
			if n == 0 {
				continue
			}
			if v, ok := f.Ratios[row.key]; ok {
				fmt.Fprintf(t, "\t%.2f (%.2f–%.2f)", v.Median, v.Min, v.Max)
			} else {
				fmt.Fprint(t, "\t")
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
