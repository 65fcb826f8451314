package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/batcher"
	"crmintake/deploy/local"
	"crmintake/worker/jetstream"
)

type latencyCmd struct {
	Rate    []int         `help:"Events a second; several rates one after the other." default:"100,1000,5000" placeholder:"N,…"`
	Seconds int           `help:"How long to publish at each rate." default:"20" placeholder:"N"`
	Call    time.Duration `help:"How long each call takes the simulated CRM." default:"150ms" placeholder:"TIME"`
	Output  string        `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// latencyMargin is what all but the batch's wait and the call may take: the aim for the 99th percentile.
const latencyMargin = 20 * time.Millisecond

// warmUp comes before what is measured: connections and caches are not those of a start.
const warmUp = time.Second

// latencies is what one rate came to.
type latencies struct {
	Rate       int     `json:"rate"`
	Events     int     `json:"events"`
	Published  float64 `json:"published_per_second"` // less than the rate if the machine can't publish so fast
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	Aim        float64 `json:"p99_aim_ms"`
	PeakMemory float64 `json:"peak_memory_mb"`
}

func (c *latencyCmd) Run(ctx context.Context, s streams) error {
	if c.Seconds < 1 || c.Call < 0 || len(c.Rate) == 0 || slices.Min(c.Rate) < 1 {
		return usagef("--rate and --seconds: want at least 1, and --call no less than 0")
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	var list []latencies
	for n, rate := range c.Rate {
		say(fmt.Sprintf("%d events a second for %d s", rate, c.Seconds))
		l, err := c.measure(ctx, site, fmt.Sprintf("bench_latency_%d", n), rate)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{
			"call_ms": milliseconds(c.Call), "batch_wait_ms": milliseconds(batcher.DefaultWait), "seconds": c.Seconds,
			"rates": list,
		})
	}
	return c.print(s.out, list)
}

func (c *latencyCmd) print(out io.Writer, list []latencies) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "publish → outcome committed, calls of %v, batch wait %v\n", c.Call, batcher.DefaultWait)
	fmt.Fprint(t, "events/s\tp50, ms\tp99, ms\tmax, ms\taim for p99, ms\tworker peak memory, MB\t\n")
	for _, l := range list {
		fmt.Fprintf(t, "%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t\n", l.Published, l.P50, l.P99, l.Max, l.Aim, l.PeakMemory)
	}
	return t.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measure publishes at an even rate to a worker that runs.
func (c *latencyCmd) measure(ctx context.Context, s *site, database string, rate int) (l latencies, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.createDatabase(ctx, database); err != nil {
		return l, err
	}
	r, err := s.open(ctx, database, "--latency", c.Call.String())
	if err != nil {
		return l, err
	}
	defer r.close(ctx)
	worker, err := r.start(ctx, nil, "run", "--quota", "off", "--id-property", objectType+"="+idProperty)
	if err != nil {
		return l, err
	}
	if err := r.until(ctx, worker, `SELECT EXISTS (SELECT FROM worker)`); err != nil {
		return l, err
	}
	commits, err := watchCommits(ctx, r.database)
	if err != nil {
		return l, err
	}
	var published []time.Time
	warm := int(warmUp.Seconds() * float64(rate))
	err = r.withPublisher(ctx, func(p *jetstream.Publisher) (err error) {
		published, err = r.publishEvenly(ctx, p, rate, warm+rate*c.Seconds)
		return err
	})
	if err == nil {
		err = r.until(ctx, worker, fmt.Sprintf(`SELECT count(*) = %d FROM outbox WHERE status = 'created'`, r.events))
	}
	err = errors.Join(err, commits.stop())
	if err != nil {
		return l, err
	}
	measured := published[warm:]
	took, err := r.outcomes(ctx, commits, warm, measured)
	if err != nil {
		return l, err
	}
	if err := end(worker); err != nil {
		return l, err
	}
	slices.Sort(took)
	at := func(share float64) float64 { return milliseconds(took[int(math.Ceil(share*float64(len(took))))-1]) }
	return latencies{
		Rate: rate, Events: len(took), P50: at(0.5), P99: at(0.99), Max: at(1),
		Published: float64(len(measured)-1) / max(measured[len(measured)-1].Sub(measured[0]).Seconds(), 1e-9),
		Aim:       milliseconds(batcher.DefaultWait + c.Call + latencyMargin), PeakMemory: mebibytes(worker.PeakMemory()),
	}, nil
}

// publishEvenly returns when each event was given to the client.
func (r *round) publishEvenly(ctx context.Context, p *jetstream.Publisher, rate, events int) (published []time.Time,
	err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); len(published) < events; {
		due := min(events, 1+int(time.Since(begin).Seconds()*float64(rate)))
		for n := len(published); n < due; n++ {
			published = append(published, time.Now())
			if err := r.publishOne(ctx, p, n, numbered(n)); err != nil {
				return nil, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return published, nil
}

// outcomes tells how long after its publishing each event was seen committed; the first of published is event number
// first.
func (r *round) outcomes(ctx context.Context, c *commits, first int, published []time.Time) (took []time.Duration,
	err error) {
	// A row's xmin is the transaction that wrote this version of it: of a compact row, its attempt's. Nothing changes
	// it after it became 'created'.
	rows, err := r.conn.Query(ctx, `
SELECT e.event_id, CASE WHEN e.status IS NULL THEN a.xmin ELSE e.xmin END::text::int8 FROM event e
  JOIN attempt a ON a.id = e.attempt_id
WHERE e.status = 'created' OR e.status IS NULL AND a.state = 'settled'`)
	if err != nil {
		return nil, err
	}
	var id string
	var xid int64
	_, err = pgx.ForEachRow(rows, []any{&id, &xid}, func() error {
		n, err := strconv.Atoi(strings.TrimPrefix(id, "event-"))
		if err != nil {
			return err
		}
		if n -= first; n < 0 {
			return nil
		}
		seen, ok := c.seen(xid)
		if !ok {
			return fmt.Errorf("the commit of transaction %d was not seen", xid)
		}
		took = append(took, seen.Sub(published[n]))
		return nil
	})
	if err == nil && len(took) != len(published) {
		err = fmt.Errorf("%d of %d events are created", len(took), len(published))
	}
	return took, err
}

// until waits for a query to say true, while the worker lives.
func (r *round) until(ctx context.Context, worker *local.Process, query string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		if err := r.conn.QueryRow(ctx, query).Scan(&ok); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-worker.Done():
			return fmt.Errorf("crmintake ended: %v\n%s", worker.Wait(), worker.LogEnd())
		case <-tick.C:
		}
	}
}
