package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"crmintake/deploy/local"
)

type compareCmd struct {
	Events   int    `help:"Events of a run, of about 300 bytes each." default:"200000" placeholder:"N"`
	Runs     int    `help:"Runs of each system, in turn; the median counts." default:"3" placeholder:"N"`
	Output   string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
	Peer     string `help:"Another system to measure: a shell command. It finds the addresses in NATS_URL, DATABASE_URL, HUBSPOT_URL and HUBSPOT_TOKEN, and reads the stream CRM_EVENTS." placeholder:"COMMAND"`
	Profile  string `help:"Leave CPU and allocation profiles of crmintake's runs in this directory, for go tool pprof." type:"path" placeholder:"DIR"`
	PeerDone string `help:"SQL that counts what the peer has done; at --events it is finished." placeholder:"SQL"`
}

// spread is a figure over all runs.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(list []figures, of func(figures) float64) spread {
	var v []float64
	for _, f := range list {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return spread{v[len(v)/2], v[0], v[len(v)-1]}
}

// row is one figure of the table.
type row struct {
	name, key string
	of        func(figures) float64
}

var rows = []row{
	{"events/s", "events_per_second", func(f figures) float64 { return f.EventsPerSecond }},
	{"worker CPU, µs/event", "cpu_us_per_event", func(f figures) float64 { return f.CPU }},
	{"worker peak memory, MB", "peak_memory_mb", func(f figures) float64 { return f.PeakMemory }},
	{"of it anonymous, at its peak, MB", "anonymous_memory_mb", func(f figures) float64 { return f.AnonymousMemory }},
	{"Postgres CPU, µs/event", "postgres_cpu_us_per_event", func(f figures) float64 { return f.PostgresCPU }},
	{"NATS CPU, µs/event", "nats_cpu_us_per_event", func(f figures) float64 { return f.NATSCPU }},
	{"simulated CRM CPU, µs/event", "crm_cpu_us_per_event", func(f figures) float64 { return f.CRMCPU }},
	{"WAL, bytes/event", "wal_bytes_per_event", func(f figures) float64 { return f.WAL }},
	{"row updates an event", "row_updates_per_event", func(f figures) float64 { return f.RowUpdates }},
	{"HOT share of updates", "hot_share", func(f figures) float64 { return f.HOTShare }},
	{"records a call", "records_per_call", func(f figures) float64 { return f.RecordsPerCall }},
}

func (c *compareCmd) Run(ctx context.Context, s streams) error {
	if c.Events < 1 || c.Runs < 1 {
		return usagef("--events and --runs: want at least 1")
	}
	if (c.Peer == "") != (c.PeerDone == "") {
		return usagef("--peer and --peer-done go together")
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	systems := []system{{"crmintake", runWorker, true}, {"floor", runFloor, false}}
	if c.Peer != "" {
		systems = append(systems, system{"peer", c.runPeer, false})
	}
	results := map[string][]figures{}
	for n := range c.Runs {
		for _, sys := range systems {
			say(fmt.Sprintf("run %d of %d: %s", n+1, c.Runs, sys.name))
			f, err := site.measure(ctx, sys, n, c.Events, c.Profile)
			if err != nil {
				return err
			}
			results[sys.name] = append(results[sys.name], f)
		}
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(c.report(results))
	}
	return c.print(s.out, systems, results)
}

// runWorker runs crmintake until the stream and the outbox are done.
func runWorker(ctx context.Context, r *round) (p *local.Process, end time.Time, err error) {
	return r.drain(ctx)
}

// drain runs crmintake, with more flags, until nothing is left to do, and checks that it did all that was published.
func (r *round) drain(ctx context.Context, flags ...string) (p *local.Process, end time.Time, err error) {
	args := append([]string{"run", "--drain", "--quota", "off", "--id-property", objectType + "=" + idProperty}, flags...)
	if r.profile != "" {
		if err := os.MkdirAll(r.profile, 0o755); err != nil {
			return nil, end, err
		}
		args = append(args, "--profile", r.profile)
	}
	p, err = r.start(ctx, nil, args...)
	if err != nil {
		return nil, end, err
	}
	if err := p.Wait(); err != nil {
		return nil, end, fmt.Errorf("%w\n%s", err, p.LogEnd())
	}
	var created int
	err = r.conn.QueryRow(ctx, `
SELECT coalesce(sum(created), 0), coalesce(max(closed_at), 'epoch') FROM attempt
  WHERE started_at >= $1`, r.begin).Scan(&created, &end)
	if err == nil && created != r.events {
		err = fmt.Errorf("%d of %d events are created", created, r.events)
	}
	return p, end, err
}

func runFloor(ctx context.Context, r *round) (p *local.Process, end time.Time, err error) {
	if _, err := r.conn.Exec(ctx, floorTable); err != nil {
		return nil, end, err
	}
	floor, err := startPart(ctx, "part-floor", "--nats", r.nats.url, "--database", r.database, "--crm", r.crm.url,
		"--events", fmt.Sprint(r.events))
	if err != nil {
		return nil, end, err
	}
	if err := floor.Wait(); err != nil {
		return nil, end, fmt.Errorf("%w\n%s", err, floor.LogEnd())
	}
	var done int
	err = r.conn.QueryRow(ctx, `SELECT count(nullif(record_id, '')), max(updated_at) FROM floor`).Scan(&done, &end)
	if err == nil && done != r.events {
		err = fmt.Errorf("%d of %d events are done", done, r.events)
	}
	return floor.Process, end, err
}

// peerLook is how often the peer's progress is asked for: it may miss the end by so much.
const peerLook = 50 * time.Millisecond

func (c *compareCmd) runPeer(ctx context.Context, r *round) (p *local.Process, end time.Time, err error) {
	env := append(r.env(), "NATS_URL="+r.nats.url, "DATABASE_URL="+r.database, "HUBSPOT_URL="+r.crm.url,
		"HUBSPOT_TOKEN="+token)
	p, err = local.StartProcess(ctx, local.ProcessConfig{Path: "/bin/sh", Args: []string{"-c", "exec " + c.Peer},
		Env: env})
	if err != nil {
		return nil, end, err
	}
	tick := time.NewTicker(peerLook)
	defer tick.Stop()
	for ended := false; ; {
		var done int
		if err := r.conn.QueryRow(ctx, c.PeerDone).Scan(&done); err != nil && ctx.Err() == nil {
			done = 0 // its table may not be there yet
		}
		if done >= r.events {
			end = time.Now()
			_ = p.Kill()
			_ = p.Wait()
			return p, end, nil
		}
		if ended {
			return nil, end, fmt.Errorf("it ended with %d of %d events done: %v\n%s", done, r.events, p.Wait(), p.LogEnd())
		}
		select {
		case <-ctx.Done():
			return nil, end, ctx.Err()
		case <-p.Done():
			ended = true // of itself, as it should when all is done: counted once more
		case <-tick.C:
		}
	}
}

// ratios compare run by run, since both are of the same minute.
func ratios(of, to []figures, figure func(figures) float64) spread {
	var list []figures
	for i := range of {
		list = append(list, figures{CPU: figure(of[i]) / figure(to[i])})
	}
	return spreadOf(list, func(f figures) float64 { return f.CPU })
}

// report is the JSON: the medians by name, their spread, and the other systems beside them.
func (c *compareCmd) report(results map[string][]figures) map[string]any {
	report := map[string]any{"events": c.Events, "runs": c.Runs}
	own, floor := results["crmintake"], results["floor"]
	for _, r := range rows {
		report[r.key] = spreadOf(own, r.of).Median
	}
	report["floor_ratio"] = ratios(own, floor, rows[0].of).Median
	report["wal_floor_ratio"] = ratios(own, floor, func(f figures) float64 { return f.WAL }).Median
	all := map[string]map[string]spread{}
	for name, list := range results {
		all[name] = map[string]spread{}
		for _, r := range rows {
			all[name][r.key] = spreadOf(list, r.of)
		}
	}
	report["systems"] = all
	if peer := results["peer"]; peer != nil {
		report["peer_ratio"] = ratios(own, peer, rows[0].of).Median
	}
	return report
}

func (c *compareCmd) print(out io.Writer, systems []system, results map[string][]figures) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d events, median of %d (min–max)", c.Events, c.Runs)
	for _, sys := range systems {
		fmt.Fprintf(t, "\t%s", sys.name)
	}
	fmt.Fprintln(t)
	for _, r := range rows {
		fmt.Fprint(t, r.name)
		for _, sys := range systems {
			v := spreadOf(results[sys.name], r.of)
			if v.Max == 0 && !sys.has {
				fmt.Fprint(t, "\t")
				continue
			}
			fmt.Fprintf(t, "\t%s (%s–%s)", number(v.Median), number(v.Min), number(v.Max))
		}
		fmt.Fprintln(t)
	}
	for _, sys := range systems[1:] {
		speed := ratios(results["crmintake"], results[sys.name], rows[0].of)
		fmt.Fprintf(t, "speed, of the %s's\t%.2f (%.2f–%.2f)\n", sys.name, speed.Median, speed.Min, speed.Max)
		wal := ratios(results["crmintake"], results[sys.name], func(f figures) float64 { return f.WAL })
		fmt.Fprintf(t, "WAL, of the %s's\t%.2f (%.2f–%.2f)\n", sys.name, wal.Median, wal.Min, wal.Max)
	}
	return t.Flush()
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", math.Round(v))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
