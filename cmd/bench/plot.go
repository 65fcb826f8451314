package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-analyze/charts"
)

type plotCmd struct {
	File string `arg:"" help:"What compare or growth printed with --output json." type:"existingfile"`
	Out  string `help:"Where to draw it." required:"" type:"path" placeholder:"FILE.svg"`
}

// results is what is drawn of the JSON of either command.
type results struct {
	Events  int                          `json:"events"`
	Runs    int                          `json:"runs"`
	Systems map[string]map[string]spread `json:"systems"`
	Rows    int                          `json:"rows"`
	Growth  []growth                     `json:"growth"`
}

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
	var chart bars
	switch {
	case len(r.Systems) > 0:
		chart = r.compared()
	case len(r.Growth) > 0:
		chart = r.grown()
	default:
		return usagef("%s is not what compare or growth print with --output json", c.File)
	}
	svg, err := chart.draw()
	if err != nil {
		return err
	}
	return os.WriteFile(c.Out, svg, 0o644)
}

const speed = "events_per_second"

// compared has one group: the systems side by side, ours first.
func (r *results) compared() bars {
	b := bars{title: "Events a second", groups: []string{""},
		subtitle: fmt.Sprintf("%d events, median of %d, all parts on one machine", r.Events, r.Runs)}
	for _, name := range []string{"crmintake", "floor", "peer"} {
		if s, ok := r.Systems[name]; ok {
			b.series, b.values = append(b.series, name), append(b.values, []float64{s[speed].Median})
		}
	}
	return b
}

// grown has a group for each kind of ids.
func (r *results) grown() bars {
	b := bars{title: "Events a second as the outbox grows", series: []string{"empty", fmt.Sprintf("%d created rows", r.Rows)}, values: make([][]float64, 2),
		subtitle: fmt.Sprintf("%d events, median of %d, retention running", r.Events, r.Runs)}
	for _, g := range r.Growth {
		b.groups = append(b.groups, g.IDs+" ids")
		b.values[0], b.values[1] = append(b.values[0], g.Empty[speed].Median), append(b.values[1], g.Grown[speed].Median)
	}
	return b
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
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 700, Height: 400})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}
