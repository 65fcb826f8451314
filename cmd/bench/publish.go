package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/worker/jetstream"
)

type publishCmd struct {
	Window []int  `help:"How many publishes may be unconfirmed at a time." default:"1,64,4096" placeholder:"N,…"`
	Events int    `help:"Events of a run, of about 300 bytes each, but no more than 1,000 for each unconfirmed one." default:"10000" placeholder:"N"`
	Runs   int    `help:"Runs of each, in turn; the median counts." default:"3" placeholder:"N"`
	Output string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// publishFigures are events a second with so many unconfirmed: where the server syncs every two minutes, as it does by
// default, and before each confirmation.
type publishFigures struct {
	Window int    `json:"window"`
	Later  spread `json:"later"`
	Always spread `json:"always"`
}

func (c *publishCmd) Run(ctx context.Context, s streams) error {
	if c.Events < 1 || c.Runs < 1 || len(c.Window) == 0 {
		return usagef("--window, --events and --runs: want at least 1")
	}
	for _, w := range c.Window {
		if w < 1 {
			return usagef("--window: want at least 1")
		}
	}
	say := s.teller()
	dir, remove, err := local.TempDir("crmintake-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = remove() }()
	later, always := make([][]float64, len(c.Window)), make([][]float64, len(c.Window))
	for n := range c.Runs {
		for i, window := range c.Window {
			for _, way := range []struct {
				name string
				to   *[]float64
				args []string
			}{{"later", &later[i], nil}, {"always", &always[i], []string{"--sync-always"}}} {
				say(fmt.Sprintf("run %d of %d: %d unconfirmed, synced %s", n+1, c.Runs, window, way.name))
				rate, err := c.measure(ctx, filepath.Join(dir, fmt.Sprint(n, "-", i, "-", way.name)), window, way.args...)
				if err != nil {
					return err
				}
				*way.to = append(*way.to, rate)
			}
		}
	}
	var list []publishFigures
	for i, window := range c.Window {
		list = append(list, publishFigures{window, middle(later[i]), middle(always[i])})
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"events": c.Events, "runs": c.Runs, "windows": list})
	}
	return c.print(s.out, list)
}

// measure publishes to a server of its own, and returns how many were confirmed in a second.
func (c *publishCmd) measure(ctx context.Context, dir string, window int, args ...string) (rate float64, err error) {
	server, err := startPart(ctx, append([]string{"part-nats", "--dir", dir}, args...)...)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Kill()
		_ = server.Wait()
	}()
	nc, err := nats.Connect(server.url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	if _, err := jetstream.Init(ctx, nc, jetstream.InitConfig{}); err != nil {
		return 0, err
	}
	p, err := jetstream.OpenPublisher(ctx, nc, jetstream.PublisherConfig{Window: window})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	events := min(c.Events, 1000*window)
	begin := time.Now()
	for n := range events {
		id := numbered(n)
		if err := p.Publish(ctx, jetstream.Message{Subject: subject, ID: id, Data: event(n, id), Line: n + 1}); err != nil {
			return 0, err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return 0, err
	}
	return float64(events) / time.Since(begin).Seconds(), nil
}

func (c *publishCmd) print(out io.Writer, list []publishFigures) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "events/s confirmed, median of %d (min–max)\tsynced every 2m\tsynced always\n", c.Runs)
	for _, f := range list {
		fmt.Fprintf(t, "%d unconfirmed at a time\t%s\t%s\n", f.Window, rates(f.Later), rates(f.Always))
	}
	return t.Flush()
}

func rates(s spread) string { return fmt.Sprintf("%.0f (%.0f–%.0f)", s.Median, s.Min, s.Max) }
