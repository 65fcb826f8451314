package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// chaosReport is what came of a run of chaos.
type chaosReport struct {
	Events  int `json:"events"`  // as published
	Backlog int `json:"backlog"` // those of them whose object type was paused until the end of the chaos
	// The CRM rejects some of those too.
	BacklogCreated int `json:"backlog_created"`
	balance
	Kills     int            `json:"kills"`    // of workers, SIGKILL
	Restarts  int            `json:"restarts"` // of NATS and Postgres, after a crash too
	Cuts      int            `json:"cuts"`     // of all connections to a server
	WentWrong map[string]int `json:"went_wrong"`
	// Starts of workers in the place of others, with other settings, and kinds of trouble that there were none of, with
	// the reason.
	OtherSettings int               `json:"other_settings"`
	LeftOut       map[string]string `json:"left_out"`
	// workers that ended with an error unkilled, as when a server is away at their start
	FailedExits int `json:"failed_exits"`

	Faults       map[string]int `json:"faults_by_kind"`
	Ambiguous    int            `json:"ambiguous"`     // create calls whose outcome was unknown
	LeaseExpired int            `json:"lease_expired"` // those of them whose worker did not report
	InDoubt      int            `json:"in_doubt"`      // events that were part of one
	Settled      map[string]int `json:"in_doubt_settled"`

	// From the moment when something went wrong to the next created row, of any worker.
	RecoverMedian float64             `json:"recover_median_seconds"` // over kills and restarts
	RecoverWorst  float64             `json:"recover_worst_seconds"`
	Recovery      map[string]recovery `json:"recovery"`

	// From publishing to the created row, over the events whose object type was not paused.
	LongestWait float64 `json:"longest_wait_seconds"`
	P99Wait     float64 `json:"p99_wait_seconds"`

	Workers      int     `json:"workers"`
	Seed         uint64  `json:"seed"`
	Seconds      float64 `json:"seconds"`       // of chaos
	DrainSeconds float64 `json:"drain_seconds"` // until all that was left was done
}

// recovery tells how long it took until there was a created row, in seconds.
type recovery struct {
	Median float64 `json:"median_seconds"`
	Worst  float64 `json:"worst_seconds"`
}

// fillIn looks at all accounts after the end.
func (c *chaos) fillIn(ctx context.Context, r *chaosReport, published, backlog int) (err error) {
	if r.balance, err = c.compare(ctx, ordinary(published), backlogOf(backlog)); err != nil {
		return err
	}
	err = c.query(ctx, `SELECT count(*) FROM outbox WHERE object_type = $1 AND status = 'created'`,
		func(rows pgx.Rows) error { return rows.Scan(&r.BacklogCreated) }, backlogType)
	if err != nil {
		return err
	}
	created, waits, err := c.created(ctx)
	if err != nil {
		return err
	}
	if n := len(waits); n > 0 {
		r.LongestWait, r.P99Wait = waits[n-1].Seconds(), waits[n*99/100].Seconds()
	}
	moments := c.injector.injected()
	r.Events, r.Backlog, r.Workers, r.Seed = r.Published, backlog, c.Workers, c.Seed
	r.OtherSettings, r.LeftOut = int(c.starts.Load())-c.Workers, c.leftOut
	r.WentWrong = counts(moments)
	n := r.WentWrong
	r.Kills, r.Restarts = n[killWorker], n[restartNATS]+n[restartPostgres]+n[killPostgres]
	r.Cuts = n[cutNATS] + n[cutPostgres] + n[cutCRM]
	var last string
	if r.FailedExits, last = c.injector.fleet.failed(); r.FailedExits > 0 {
		c.progress("%d workers ended with an error of their own, as those do that start while a server is away; the "+
			"last one: %s", r.FailedExits, last)
	}
	r.Faults = map[string]int{}
	for fault, n := range c.stack.CRM.Stats().Faults {
		r.Faults[string(fault)] = n
	}
	r.recoveries(moments, created)
	return c.doubts(ctx, r)
}

// recoveries finds the first created row after each moment.
func (r *chaosReport) recoveries(moments []injection, created []time.Time) {
	by := map[string][]float64{}
	var all []float64
	for _, m := range moments {
		next, _ := slices.BinarySearchFunc(created, m.at, time.Time.Compare)
		if next == len(created) { // nothing was left to be created
			continue
		}
		took := created[next].Sub(m.at).Seconds()
		by[m.what] = append(by[m.what], took)
		switch m.what {
		case killWorker, restartNATS, restartPostgres, killPostgres:
			all = append(all, took)
		}
	}
	r.Recovery = map[string]recovery{}
	for what, took := range by {
		r.Recovery[what] = newRecovery(took)
	}
	over := newRecovery(all)
	r.RecoverMedian, r.RecoverWorst = over.Median, over.Worst
}

func newRecovery(took []float64) recovery {
	if len(took) == 0 {
		return recovery{}
	}
	slices.Sort(took)
	return recovery{Median: took[len(took)/2], Worst: took[len(took)-1]}
}

const ambiguousCalls = `
SELECT count(*) FILTER (WHERE unknown > 0 OR state = 'expired'), count(*) FILTER (WHERE state = 'expired')
FROM attempt WHERE kind = 'create'`

// The last attempt of an event in doubt tells what settled it.
const doubtSettled = `
SELECT CASE
    WHEN o.status = 'created' AND a.kind = 'read' THEN 'found by a read'
    WHEN o.status = 'created' THEN 'created by sending again'
    WHEN o.status = 'dead' THEN 'dead: ' || o.reason
    ELSE o.status END, count(*)
FROM outbox o LEFT JOIN attempt a ON a.id = o.attempt_id WHERE o.in_doubt GROUP BY 1`

// doubts tells how many calls were ambiguous, and what became of their events.
func (c *chaos) doubts(ctx context.Context, r *chaosReport) error {
	err := c.query(ctx, ambiguousCalls, func(rows pgx.Rows) error { return rows.Scan(&r.Ambiguous, &r.LeaseExpired) })
	if err != nil {
		return err
	}
	r.Settled = map[string]int{}
	return c.query(ctx, doubtSettled, func(rows pgx.Rows) error {
		var how string
		var n int
		err := rows.Scan(&how, &n)
		r.Settled[how] = n
		r.InDoubt += n
		return err
	})
}

// print writes the table for people.
func (r chaosReport) print(out io.Writer) error {
	t := newTable(out)
	r.lines(t)
	t.line("of a paused object type", r.Backlog)
	t.line("  created", r.BacklogCreated)
	t.line("kills of workers", r.Kills)
	t.line("restarts of servers", r.Restarts)
	t.line("cuts of connections", r.Cuts)
	t.line("what went wrong, in all", sum(r.WentWrong))
	t.by(r.WentWrong)
	for _, what := range slices.Sorted(maps.Keys(r.LeftOut)) {
		t.line("  "+what, "left out: "+r.LeftOut[what])
	}
	t.line("workers started with other settings", r.OtherSettings)
	t.line("workers that failed by themselves", r.FailedExits)
	t.line("calls that met a fault", sum(r.Faults))
	t.by(r.Faults)
	t.line("ambiguous calls", r.Ambiguous)
	t.line("  whose lease ran out", r.LeaseExpired)
	t.line("events in doubt", r.InDoubt)
	t.by(r.Settled)
	seconds := func(name string, value float64) { t.line(name, fmt.Sprintf("%.3f", value)) }
	seconds("seconds to recover from a kill or restart, median", r.RecoverMedian)
	seconds("  worst", r.RecoverWorst)
	for _, what := range slices.Sorted(maps.Keys(r.Recovery)) {
		seconds("  "+what+", median", r.Recovery[what].Median)
		seconds("  "+what+", worst", r.Recovery[what].Worst)
	}
	seconds("seconds from publishing to the created row, p99", r.P99Wait)
	seconds("  longest", r.LongestWait)
	t.seconds("seconds of chaos", r.Seconds)
	t.seconds("seconds until the rest was done", r.DrainSeconds)
	t.line("seed", r.Seed)
	return t.Flush()
}

func sum(kinds map[string]int) (n int) {
	for _, k := range kinds {
		n += k
	}
	return n
}
