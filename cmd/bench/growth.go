package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"crmintake/deploy/local"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

type growthCmd struct {
	Rows   int    `help:"Rows that the grown outbox has, created ones but for --dead." default:"20000000" placeholder:"N"`
	Dead   int    `help:"Dead rows among them, about." default:"100000" placeholder:"N"`
	Events int    `help:"Events of a run, of about 300 bytes each." default:"100000" placeholder:"N"`
	Runs   int    `help:"Runs with each outbox, in turn; the median counts." default:"3" placeholder:"N"`
	Output string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// growthKeep has all loaded rows be old enough to go, and retention come round in two minutes, if it can: it removes as
// fast as it ever does for as long as a run takes. A run's own rows are too young.
const growthKeep = time.Hour

// kind is how event ids sort.
type kind struct {
	name string
	next func(n int) string // a new event's id
	sql  string             // the id of loaded row n, of the time at
	fill int                // of the index: what so many inserts leave behind
}

var kinds = []kind{
	{"time-ordered", func(int) string { return uuid.Must(uuid.NewV7()).String() }, v7 + "::text", 90},
	{"random", func(int) string { return uuid.NewString() }, `md5(n::text)::uuid::text`, 70},
}

// growth is one kind's result.
type growth struct {
	IDs     string            `json:"ids"`
	Empty   map[string]spread `json:"empty"`
	Grown   map[string]spread `json:"grown"`
	Ratio   spread            `json:"ratio"`              // of the speed with the grown outbox to that with the empty one
	Removed float64           `json:"removed_per_second"` // rows, by retention, in the median run
	TableMB float64           `json:"table_mb"`
	IndexMB float64           `json:"index_mb"`
	Queries []queryTimes      `json:"queries"`
}

type queryTimes struct {
	Name  string  `json:"name"`
	Empty float64 `json:"empty_ms"`
	Grown float64 `json:"grown_ms"`
}

func (c *growthCmd) Run(ctx context.Context, s streams) error {
	if c.Dead < 1 || c.Rows < c.Dead || c.Events < 1 || c.Runs < 1 {
		return usagef("--rows: want at least as many as --dead, and --dead, --events and --runs at least 1")
	}
	if err := enoughRoom(c.Rows); err != nil {
		return err
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	var list []growth
	for n := range kinds {
		g, err := c.measure(ctx, site, s.err, say, &kinds[n])
		if err != nil {
			return err
		}
		say(fmt.Sprintf("%s ids: %.2f of the speed with an empty outbox", g.IDs, g.Ratio.Median))
		list = append(list, g)
	}
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"rows": c.Rows, "events": c.Events, "runs": c.Runs,
			"growth": list})
	}
	return c.print(s.out, list)
}

func (c *growthCmd) measure(ctx context.Context, s *site, bar io.Writer, say func(string), k *kind) (g growth,
	err error) {
	grownName := "bench_grown"
	g.IDs = k.name
	if err := s.createDatabase(ctx, grownName); err != nil {
		return g, err
	}
	grown := &round{site: s, database: s.postgres.URL(grownName)}
	if err := grown.migrate(ctx); err != nil {
		return g, err
	}
	if g.Queries, err = timeQueries(ctx, grown.database); err != nil {
		return g, err
	}
	say(fmt.Sprintf("loading %d rows with %s ids", c.Rows, k.name))
	if err := load(ctx, grown.database, k, c.Rows, c.Dead, bar); err != nil {
		return g, err
	}
	say("asking the operators' queries")
	after, err := timeQueries(ctx, grown.database)
	if err != nil {
		return g, err
	}
	for n := range g.Queries {
		g.Queries[n].Grown = after[n].Empty
	}
	var empties, growns []figures
	var removed []float64
	for n := range c.Runs {
		say(fmt.Sprintf("run %d of %d, empty outbox, %s ids", n+1, c.Runs, k.name))
		name := fmt.Sprintf("bench_empty_%d", n)
		if err := s.createDatabase(ctx, name); err != nil {
			return g, err
		}
		f, _, err := c.run(ctx, s, name, k)
		if err != nil {
			return g, err
		}
		empties = append(empties, f)
		if err := s.dropDatabase(ctx, name); err != nil {
			return g, err
		}
		say(fmt.Sprintf("run %d of %d, %d rows, %s ids", n+1, c.Runs, c.Rows, k.name))
		f, gone, err := c.run(ctx, s, grownName, k)
		if err != nil {
			return g, err
		}
		growns, removed = append(growns, f), append(removed, gone)
	}
	g.Empty, g.Grown, g.Ratio = spreads(empties), spreads(growns), ratios(growns, empties, rows[0].of)
	slices.Sort(removed)
	g.Removed = removed[len(removed)/2]
	if g.TableMB, g.IndexMB, err = sizes(ctx, grown.database); err != nil {
		return g, err
	}
	return g, s.dropDatabase(ctx, grownName)
}

// run does a run's events in a database, with retention at its fastest, and tells how many rows that removed a second.
func (c *growthCmd) run(ctx context.Context, s *site, database string, k *kind) (f figures, removed float64,
	err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := s.open(ctx, database)
	if err != nil {
		return f, 0, err
	}
	defer r.close(ctx)
	if err := r.publish(ctx, c.Events, k.next); err != nil {
		return f, 0, err
	}
	// The last run's pace is not this one's.
	if _, err := r.conn.Exec(ctx, `UPDATE retention SET due_at = now()`); err != nil {
		return f, 0, err
	}
	before, err := r.removed(ctx)
	if err != nil {
		return f, 0, err
	}
	f, err = r.measure(ctx, system{"crmintake", func(ctx context.Context, r *round) (*local.Process, time.Time, error) {
		return r.drain(ctx, "--keep-created", growthKeep.String())
	}, true})
	if err != nil {
		return f, 0, err
	}
	after, err := r.removed(ctx)
	return f, float64(after-before) / (float64(c.Events) / f.EventsPerSecond), err
}

// removed is how many rows have been removed so far: worker connections report that when they end.
func (r *round) removed(ctx context.Context) (n int, err error) {
	err = r.conn.QueryRow(ctx, `SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'event'`).Scan(&n)
	return n, err
}

// spreads are all figures by name.
func spreads(list []figures) map[string]spread {
	m := map[string]spread{}
	for _, r := range rows {
		m[r.key] = spreadOf(list, r.of)
	}
	return m
}

// queryRuns is how often a query is timed; the median counts.
const queryRuns = 5

// timeQueries asks what operators and workers ask about the outbox as a whole; the times are in Empty.
func timeQueries(ctx context.Context, databaseURL string) (list []queryTimes, err error) {
	store, err := outbox.Open(ctx, databaseURL, 2)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	desk := operator.New(store, operator.Config{Name: "bench"})
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	some := "none"
	// Any row will do; an outbox without rows has none.
	if err := conn.QueryRow(ctx,
		`SELECT coalesce((SELECT event_id FROM event TABLESAMPLE SYSTEM (0.1) LIMIT 1), 'none')`).Scan(&some); err != nil {
		return nil, err
	}
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"outbox get", func() error {
			_, err := store.Read.Get(ctx, some)
			if errors.Is(err, outbox.ErrNotFound) {
				err = nil
			}
			return err
		}},
		{"status", func() error { _, err := desk.Status(ctx); return err }},
		{"dead list", func() error { _, err := desk.DeadLetters.List(ctx, operator.Filter{}, "", 50); return err }},
		{"dead groups", func() error { _, err := desk.DeadLetters.Groups(ctx, operator.Filter{}, 20); return err }},
		{"dead show", func() error {
			_, err := desk.Show(ctx, some)
			if errors.As(err, new(*operator.UnknownEventError)) {
				err = nil
			}
			return err
		}},
		{"what is due (each second)", func() error { _, err := store.Schedule.Due(ctx); return err }},
		{"whether anything is left", func() error { _, err := store.Schedule.Outstanding(ctx); return err }},
		{"SELECT status, count(*) … GROUP BY status", func() error {
			_, err := conn.Exec(ctx, `SELECT status, reason, count(*) FROM outbox GROUP BY 1, 2`)
			return err
		}},
	} {
		var times []time.Duration
		for range queryRuns {
			begin := time.Now()
			if err := q.ask(); err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
			times = append(times, time.Since(begin))
		}
		slices.Sort(times)
		list = append(list, queryTimes{Name: q.name, Empty: milliseconds(times[len(times)/2])})
	}
	return list, nil
}

func (c *growthCmd) print(out io.Writer, list []growth) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d events, median of %d (min–max)", c.Events, c.Runs)
	for _, g := range list {
		fmt.Fprintf(t, "\t%s ids, empty\twith %d rows", g.IDs, c.Rows)
	}
	fmt.Fprintln(t)
	for _, r := range rows {
		fmt.Fprint(t, r.name)
		for _, g := range list {
			for _, v := range []spread{g.Empty[r.key], g.Grown[r.key]} {
				fmt.Fprintf(t, "\t%s (%s–%s)", number(v.Median), number(v.Min), number(v.Max))
			}
		}
		fmt.Fprintln(t)
	}
	line := func(name string, of func(*growth) string) {
		fmt.Fprint(t, name)
		for n := range list {
			fmt.Fprintf(t, "\t\t%s", of(&list[n]))
		}
		fmt.Fprintln(t)
	}
	line("speed, of the empty one's", func(g *growth) string {
		return fmt.Sprintf("%.2f (%.2f–%.2f)", g.Ratio.Median, g.Ratio.Min, g.Ratio.Max)
	})
	line("rows removed meanwhile, a second", func(g *growth) string { return number(g.Removed) })
	line("table, MB", func(g *growth) string { return number(g.TableMB) })
	line("its indexes, MB", func(g *growth) string { return number(g.IndexMB) })
	for n := range list[0].Queries {
		fmt.Fprintf(t, "%s, ms", list[0].Queries[n].Name)
		for _, g := range list {
			fmt.Fprintf(t, "\t%s\t%s", number(g.Queries[n].Empty), number(g.Queries[n].Grown))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
