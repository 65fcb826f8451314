package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// report is what came of a run.
type report struct {
	Published          int            `json:"published"` // confirmed by JetStream
	Created            int            `json:"created"`
	Dead               int            `json:"dead"`
	DeadBy             map[string]int `json:"dead_by_reason"`
	Lost               int            `json:"lost"`       // published, but neither a record nor a dead letter
	Duplicates         int            `json:"duplicates"` // records beyond the first of an event
	PossibleDuplicates int            `json:"possible_duplicates"`
	Calls              int            `json:"calls"`
	Calls429           int            `json:"calls_429"`
	Faults             int            `json:"faults"` // calls that met one
	RecordsPerCall     float64        `json:"records_per_call"`
	Seconds            float64        `json:"seconds"`
	EventsPerSecond    float64        `json:"events_per_second"`
}

func (r report) good() bool {
	return r.Published == r.Created+r.Dead && r.Lost == 0 && r.Duplicates == 0
}

// compare holds against each other, by name, what was published, what the outbox says and which records there are.
func (d *demo) compare(ctx context.Context, published int) (r report, err error) {
	conn, err := pgx.Connect(ctx, d.stack.DatabaseURL())
	if err != nil {
		return r, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	records := d.stack.CRM.Count(objectType, idProperty)
	r = report{Published: published, DeadBy: map[string]int{}}
	settled := make(map[string]bool, published)
	rows, err := conn.Query(ctx, `SELECT event_id, status, coalesce(reason, ''), possible_duplicate FROM outbox`)
	if err != nil {
		return r, err
	}
	var id, status, reason string
	var possible bool
	_, err = pgx.ForEachRow(rows, []any{&id, &status, &reason, &possible}, func() error {
		switch outbox.Status(status) {
		case outbox.Created:
			r.Created++
			settled[id] = records[id] > 0 // a row that says so is not enough
		case outbox.Dead:
			r.Dead++
			r.DeadBy[reason]++
			settled[id] = true
		}
		if possible {
			r.PossibleDuplicates++
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	for n := range published {
		if !settled[eventID(n)] {
			r.Lost++
		}
	}
	for _, n := range records {
		r.Duplicates += max(n-1, 0)
	}
	stats := d.stack.CRM.Stats()
	r.Calls, r.Calls429 = stats.Requests, stats.Statuses[429]
	for _, n := range stats.Faults {
		r.Faults += n
	}
	if stats.Creates > 0 {
		r.RecordsPerCall = float64(stats.Created) / float64(stats.Creates)
	}
	return r, nil
}

// print writes the table for people.
func (r report) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, value any) { fmt.Fprintf(t, "%v\t  %s\t\n", value, name) }
	fmt.Fprintln(out)
	line("events published", r.Published)
	line("records created", r.Created)
	line("dead letters", r.Dead)
	for _, reason := range slices.Sorted(maps.Keys(r.DeadBy)) {
		line("  "+reason, r.DeadBy[reason])
	}
	line("lost", r.Lost)
	line("records that exist twice", r.Duplicates)
	line("possible duplicates", r.PossibleDuplicates)
	line("calls", r.Calls)
	line("  answered 429", r.Calls429)
	line("  that met a fault", r.Faults)
	line("records a call", fmt.Sprintf("%.1f", r.RecordsPerCall))
	line("seconds", fmt.Sprintf("%.1f", r.Seconds))
	line("events a second", fmt.Sprintf("%.0f", r.EventsPerSecond))
	return t.Flush()
}
