package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// families are this program's metrics, without those of Go and of the process.
func families(t *testing.T, s *readiness) (list []*dto.MetricFamily) {
	t.Helper()
	all, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_") {
			list = append(list, f)
		}
	}
	return list
}

// REFERENCE.md has the program's metrics: each that is exported, and no other.
func TestReferenceMetrics(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, f := range families(t, newReadiness()) {
		values := map[string][]string{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(values[l.GetName()], l.GetValue()) {
					values[l.GetName()] = append(values[l.GetName()], l.GetValue())
				}
			}
		}
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(values)) {
			label := "`" + name + "`"
			if f.GetName() != "crmintake_build_info" { // which is another one in each build
				slices.Sort(values[name])
				label += ": " + strings.TrimPrefix(strings.Join(values[name], ", "), ", ")
			}
			labels = append(labels, label)
		}
		heading := "`" + f.GetName() + "`, " + strings.ToLower(f.GetType().String())
		if len(labels) > 0 {
			heading += ", by " + strings.Join(labels, "; ")
		}
		b.WriteString(item(heading, f.GetHelp()))
	}
	section(t, "REFERENCE.md", "metrics", b.String())
}

// All series are there from the start, at zero.
func TestMetricsBeginAtZero(t *testing.T) {
	t.Parallel()
	for _, f := range families(t, newReadiness()) {
		if len(f.Metric) == 0 {
			t.Errorf("%s has no series", f.GetName())
		}
		for _, m := range f.Metric {
			want := 0.0
			if f.GetName() == "crmintake_build_info" {
				want = 1
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()); v != want {
				t.Errorf("%s %v is %v, want %v", f.GetName(), m.Label, v, want)
			}
		}
	}
}

// A worker that stops is not ready, whatever else is so.
func TestNotReadyWhileStopping(t *testing.T) {
	t.Parallel()
	s := newReadiness()
	s.postgres.Store(true)
	if r := s.ready(); r.Ready || !slices.Equal(r.Reasons, []string{"NATS is not there yet"}) {
		t.Errorf("at the start: %+v", r)
	}
	s.stopping.Store(true)
	if r := s.ready(); r.Ready || !slices.Contains(r.Reasons, "it is stopping") {
		t.Errorf("at the end: %+v", r)
	}
}
