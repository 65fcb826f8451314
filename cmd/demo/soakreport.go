package main

import (
	"fmt"
	"io"
	"slices"
)

// soakReport is what came of a soak.
type soakReport struct {
	report
	Minutes     float64  `json:"minutes"`
	Workers     int      `json:"workers"`
	KeptSeconds float64  `json:"kept_seconds"` // how long created rows stayed
	Levels      []level  `json:"levels"`
	Flat        bool     `json:"flat"` // none of the levels grew; false too when it was too short to tell
	Samples     []sample `json:"samples"`
}

// sample is one look at the workers, of which the highest counts, and at the database.
type sample struct {
	Seconds     float64 `json:"seconds"` // since the beginning
	Memory      float64 `json:"memory_mb"`
	Goroutines  float64 `json:"goroutines"`
	Connections float64 `json:"connections"` // to Postgres, of all workers
	Tables      float64 `json:"tables_mb"`
	Indexes     float64 `json:"indexes_mb"`
}

// level is how high something stood, in the median: in the second and in the last third of the time. In the first, all
// is still filling up.
type level struct {
	Name   string  `json:"name"`
	Middle float64 `json:"middle"`
	Last   float64 `json:"last"`
	Flat   bool    `json:"flat"`
}

// soakLevels are what must not grow: by a tenth and a little at most, which is how far the same work differs from
// itself.
var soakLevels = []struct {
	name   string
	of     func(sample) float64
	little float64
}{
	{"memory of a worker, MB", func(s sample) float64 { return s.Memory }, 4},
	{"goroutines of a worker", func(s sample) float64 { return s.Goroutines }, 10},
	{"connections to Postgres", func(s sample) float64 { return s.Connections }, 2},
	{"tables, MB", func(s sample) float64 { return s.Tables }, 4},
	{"indexes, MB", func(s sample) float64 { return s.Indexes }, 4},
}

// soakEnough is how many minutes it takes to tell: Postgres' autovacuum comes round once in one.
const soakEnough = 10

// judge compares the last third with the one before.
func (r *soakReport) judge() {
	third := len(r.Samples) / 3
	r.Flat = r.Minutes >= soakEnough
	if third == 0 {
		r.Flat = false
		return
	}
	for _, x := range soakLevels {
		median := func(list []sample) float64 {
			var values []float64
			for _, s := range list {
				values = append(values, x.of(s))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		l := level{Name: x.name, Middle: median(r.Samples[third : 2*third]), Last: median(r.Samples[2*third:])}
		l.Flat = l.Last <= l.Middle*1.1+x.little
		r.Flat = r.Flat && l.Flat
		r.Levels = append(r.Levels, l)
	}
}

// good is true of a soak that was too short to tell.
func (r soakReport) good() bool {
	return r.report.good() && (r.Flat || r.Minutes < soakEnough)
}

// print writes the table for people.
func (r soakReport) print(out io.Writer) error {
	if err := r.report.print(out); err != nil {
		return err
	}
	t := newTable(out)
	for _, l := range r.Levels {
		word := "flat"
		if !l.Flat {
			word = "GREW"
		}
		t.line(fmt.Sprintf("%s, in the last third; %.1f in the second: %s", l.Name, l.Middle, word), fmt.Sprintf("%.1f",
			l.Last))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var err error
	if r.Minutes < soakEnough {
		_, err = fmt.Fprintf(out, "\nToo short to tell whether anything grows: that takes %d minutes.\n", soakEnough)
	}
	return err
}
