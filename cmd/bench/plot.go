package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/go-analyze/charts"
)

type plotCmd struct {
	File string `arg:"" help:"What compare, growth or demo soak printed with --output json." type:"existingfile"`
	Out  string `help:"Where to draw it." required:"" type:"path" placeholder:"FILE.svg"`
}

// results is what is drawn of the JSON of either command.
type results struct {
	Events  int                          `json:"events"`
	Runs    int                          `json:"runs"`
	Systems map[string]map[string]spread `json:"systems"`
	Rows    int                          `json:"rows"`
	Growth  []growth                     `json:"growth"`
	Samples []map[string]float64         `json:"samples"` // of a soak
	Minutes float64                      `json:"minutes"`
}

// chart is something that can be drawn.
type chart interface{ draw() ([]byte, error) }

// bars are groups of bars, one of each series.
type bars struct {
	title, subtitle string
	groups          []string
	series          []string
	values          [][]float64 // by series, then group
}

func (c *plotCmd) Run(context.Context, streams) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var r results
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	var drawn chart
	switch {
	case len(r.Systems) > 0:
		drawn = r.compared()
	case len(r.Growth) > 0:
		drawn = r.grown()
	case len(r.Samples) > 0:
		drawn = r.soaked()
	default:
		return usagef("%s is not what compare, growth or demo soak print with --output json", c.File)
	}
	svg, err := drawn.draw()
	if err != nil {
		return err
	}
	return os.WriteFile(c.Out, svg, 0o644)
}

const speed = "events_per_second"

// compared has one group: the systems side by side, ours first.
func (r *results) compared() *bars {
	b := bars{title: "Events a second", groups: []string{""},
		subtitle: fmt.Sprintf("%d events, median of %d, all parts on one machine", r.Events, r.Runs)}
	for _, name := range []string{"crmintake", "floor", "peer"} {
		if s, ok := r.Systems[name]; ok {
			b.series, b.values = append(b.series, name), append(b.values, []float64{s[speed].Median})
		}
	}
	return &b
}

// grown has a group for each kind of ids.
func (r *results) grown() *bars {
	b := bars{title: "Events a second as the outbox grows", series: []string{"empty", fmt.Sprintf("%d rows", r.Rows)},
		values:   make([][]float64, 2),
		subtitle: fmt.Sprintf("%d events, median of %d, retention running", r.Events, r.Runs)}
	for _, g := range r.Growth {
		b.groups = append(b.groups, g.IDs+" ids")
		b.values[0], b.values[1] = append(b.values[0], g.Empty[speed].Median), append(b.values[1], g.Grown[speed].Median)
	}
	return &b
}

func (b *bars) draw() ([]byte, error) {
	o := charts.NewBarChartOptionWithData(b.values)
	o.Title = charts.TitleOption{Text: b.title, Subtext: b.subtitle}
	o.CategoryAxis.Labels = b.groups
	o.Legend = charts.LegendOption{SeriesNames: b.series, Offset: charts.OffsetRight}
	o.Padding = charts.NewBoxEqual(20)
	o.ValueFormatter = func(v float64) string { return fmt.Sprintf("%.0f", v) }
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0)}}
	for n := range o.SeriesList {
		o.SeriesList[n].Label.Show = charts.Ptr(true)
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 860, Height: 400})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}

// lines are what was watched over time.
type lines struct {
	title, subtitle string
	times           []string
	names           []string
	values          [][]float64 // by name, then time
}

// soakLines are the members of a sample, and what they are called.
var soakLines = []struct{ member, name string }{
	{"memory_mb", "memory of a worker, MB"}, {"goroutines", "its goroutines"}, {"connections",
		"connections to Postgres"}, {"tables_mb", "tables, MB"}, {"indexes_mb", "indexes, MB"},
}

// soaked has all in parts of its own median in the second third of the time, so that what is flat lies at 100.
func (r *results) soaked() *lines {
	l := &lines{title: "What must not grow", subtitle: fmt.Sprintf("%.0f minutes at half the quota; 100%% is the "+
		"median of the second third", r.Minutes)}
	for _, s := range r.Samples {
		l.times = append(l.times, fmt.Sprintf("%.0f min", s["seconds"]/60))
	}
	for _, x := range soakLines {
		values := make([]float64, len(r.Samples))
		for i, s := range r.Samples {
			values[i] = s[x.member]
		}
		middle := slices.Sorted(slices.Values(values[len(values)/3 : max(2*len(values)/3, len(values)/3+1)]))
		whole := middle[len(middle)/2]
		for i := range values {
			values[i] *= 100 / max(whole, 1e-9)
		}
		l.names = append(l.names, fmt.Sprintf("%s (%.1f)", x.name, whole))
		l.values = append(l.values, values)
	}
	return l
}

func (l *lines) draw() ([]byte, error) {
	o := charts.NewLineChartOptionWithData(l.values)
	o.Title = charts.TitleOption{Text: l.title, Subtext: l.subtitle}
	o.XAxis.Labels = l.times
	o.XAxis.LabelCount = 7
	o.Legend = charts.LegendOption{SeriesNames: l.names, Offset: charts.OffsetStr{Left: charts.PositionCenter, Top: "50"}}
	o.Padding = charts.NewBoxEqual(20)
	o.Symbol = charts.Symbol{Shape: charts.SymbolNone}
	o.LineStrokeWidth = 1.5
	o.ValueFormatter = func(v float64) string { return fmt.Sprintf("%.0f%%", v) }
	o.YAxis = []charts.YAxisOption{{Min: charts.Ptr(0.0)}}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 900, Height: 480})
	if err := p.LineChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}
