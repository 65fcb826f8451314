package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// A short soak: all adds up though rows are removed, and all that is watched is seen.
func TestSoak(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"soak", "--minutes", "0.3", "--output", "json"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, &out, &errs)
	}
	var r soakReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Published < 15_000 || r.Removed == 0 || r.Published != r.Created+r.Dead+r.Removed || r.Lost != 0 ||
		r.Duplicates != 0 || r.Calls429 != 0 {
		t.Errorf("%+v", r.report)
	}
	if len(r.Samples) < 5 || len(r.Levels) != len(soakLevels) || r.Flat {
		t.Errorf("%d samples, levels %+v, flat: %v", len(r.Samples), r.Levels, r.Flat)
	}
	last := r.Samples[len(r.Samples)-1]
	if last.Memory < 5 || last.Goroutines < 5 || last.Connections < 2 || last.Tables <= 0 || last.Indexes <= 0 ||
		last.Seconds < 10 {
		t.Errorf("%+v", last)
	}
}

// Interrupted in the middle, it leaves no process and no file.
func TestSoakInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	errs := &trigger{on: "soaking for", do: cancel}
	if code := execute(ctx, []string{"soak"}, &out, errs); code != 1 || !strings.Contains(errs.text, "interrupted") {
		t.Errorf("exit code %d\n%s%s", code, &out, errs.text)
	}
}

func TestSoakUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--minutes", "0"}, {"--workers", "0"}, {"--quota", "off"}, {"--quota", "many"},
		{"--output", "xml"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), append([]string{"soak"}, args...), &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
}

// What grows is found, and what only differs a little is not.
func TestSoakJudge(t *testing.T) {
	t.Parallel()
	fair := func(s *sample, _ int) {
		*s = sample{Memory: 40, Goroutines: 60, Connections: 12, Tables: 300, Indexes: 40}
	}
	for name, c := range map[string]struct {
		of      func(*sample, int)
		minutes float64
		flat    bool
		good    bool
	}{
		"flat":                {fair, 60, true, true},
		"too short to tell":   {fair, 9, false, true},
		"it fills up first":   {func(s *sample, n int) { fair(s, n); s.Tables = min(float64(n)*3, 300) }, 60, true, true},
		"it goes up and down": {func(s *sample, n int) { fair(s, n); s.Memory += float64(n % 7) }, 60, true, true},
		"memory grows":        {func(s *sample, n int) { fair(s, n); s.Memory += float64(n) / 10 }, 60, false, false},
		"goroutines grow":     {func(s *sample, n int) { fair(s, n); s.Goroutines += float64(n) / 3 }, 60, false, false},
		"connections grow":    {func(s *sample, n int) { fair(s, n); s.Connections += float64(n) / 10 }, 60, false, false},
		"indexes grow":        {func(s *sample, n int) { fair(s, n); s.Indexes += float64(n) / 8 }, 60, false, false},
	} {
		r := soakReport{Minutes: c.minutes, Samples: make([]sample, 300)}
		for n := range r.Samples {
			c.of(&r.Samples[n], n)
		}
		if r.judge(); r.Flat != c.flat || r.good() != c.good {
			t.Errorf("%s: flat %v, good %v: %+v", name, r.Flat, r.good(), r.Levels)
		}
	}
	var none soakReport
	if none.judge(); none.Flat {
		t.Error("flat without a sample")
	}
}
