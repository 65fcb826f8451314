package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A short run counts what it should: how well the quota is used is for a quiet machine to show.
func TestQuota(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	args := strings.Fields("quota --workers 1,2 --quota 20/1s --seconds 2 --other 30% --output json")
	if code := execute(t.Context(), args, streams{&out, &progress}); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &progress)
	}
	var report struct{ Runs []quotaRun }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if len(report.Runs) != 3 {
		t.Fatalf("%d runs", len(report.Runs))
	}
	for i, r := range report.Runs {
		if r.Workers != min(i+1, 2) || r.Calls < 1 || r.Calls > 60 || r.Used <= 0 || r.RecordsPerCall < 1 ||
			(r.Other > 0) != (i == 2) {
			t.Errorf("run %d: %+v", i, r)
		}
	}
}

func TestQuotaUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--workers 0", "--seconds 0", "--quota 190", "--jitter 5ms", "--jitter 5ms-1ms",
		"--other 30", "--other 100%"} {
		var out, told bytes.Buffer
		if code := execute(t.Context(), append([]string{"quota"}, strings.Fields(args)...),
			streams{&out, &told}); code == 0 || told.Len() == 0 {
			t.Errorf("%s: exit code %d, %s", args, code, &told)
		}
	}
}
