package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"crmintake/worker/hubspot/hubspottest"
)

// report is what came of a run.
type report struct {
	balance
	Calls           int     `json:"calls"`
	Calls429        int     `json:"calls_429"`
	Faults          int     `json:"faults"` // calls that met one
	RecordsPerCall  float64 `json:"records_per_call"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
}

func newReport(b balance, stats hubspottest.Stats, seconds float64) report {
	r := report{balance: b, Calls: stats.Requests, Calls429: stats.Statuses[429], Seconds: seconds,
		EventsPerSecond: float64(b.Published) / seconds}
	for _, n := range stats.Faults {
		r.Faults += n
	}
	if stats.Creates > 0 {
		r.RecordsPerCall = float64(stats.Created) / float64(stats.Creates)
	}
	return r
}

// table is for people: a number a line.
type table struct{ *tabwriter.Writer }

func newTable(out io.Writer) table {
	fmt.Fprintln(out)
	return table{tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)}
}

func (t table) line(name string, value any) { fmt.Fprintf(t, "%v\t  %s\t\n", value, name) }

func (t table) seconds(name string, value float64) { t.line(name, fmt.Sprintf("%.1f", value)) }

// by adds a line for each kind.
func (t table) by(kinds map[string]int) {
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.line("  "+kind, kinds[kind])
	}
}

func (b balance) lines(t table) {
	t.line("events published", b.Published)
	t.line("records created", b.Created+b.Removed)
	if b.Removed > 0 {
		t.line("  whose rows were removed since", b.Removed)
	}
	t.line("dead letters", b.Dead)
	t.by(b.DeadBy)
	t.line("lost", b.Lost)
	t.line("records that exist twice", b.Duplicates)
	t.line("possible duplicates", b.PossibleDuplicates)
	t.line("wrong record ids", b.WrongRecords)
	t.line("denied", b.Denied)
	t.line("claimed twice", b.ClaimedTwice)
	t.line("undecided", b.Undecided)
	if len(b.DeadWithRecord) > 0 {
		t.line("dead letters whose record exists", "")
		t.by(b.DeadWithRecord)
	}
}

// print writes the table for people.
func (r report) print(out io.Writer) error {
	t := newTable(out)
	r.lines(t)
	t.line("calls", r.Calls)
	t.line("  answered 429", r.Calls429)
	t.line("  that met a fault", r.Faults)
	t.line("records a call", fmt.Sprintf("%.1f", r.RecordsPerCall))
	t.seconds("seconds", r.Seconds)
	t.line("events a second", fmt.Sprintf("%.0f", r.EventsPerSecond))
	return t.Flush()
}
