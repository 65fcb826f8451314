package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
)

// TestMain gives the tests a directory for temporary files of their own, which Postgres' user can enter. Nothing may be
// left there at their end: no test leaves a file.
func TestMain(m *testing.M) {
	parallel.Default()
	dir, err := os.MkdirTemp("", "demo-test-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		left, err := os.ReadDir(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		for _, f := range left {
			fmt.Fprintln(os.Stderr, f.Name(), "is left behind")
			code = 1
		}
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func TestDemo(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"plain":  {"--events", "3000"},
		"faults": {"--events", "3000", "--faults", "mixed", "--quota", "off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if code := execute(t.Context(), append(args, "--output", "json"), &out, &errs); code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, &out, &errs)
			}
			var r report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.Published != 3000 || r.Created+r.Dead != 3000 || r.Lost != 0 || r.Duplicates != 0 || r.Dead < 4 ||
				r.Calls < 30 {
				t.Errorf("%+v", r)
			}
			if (r.Faults > 0) != (name == "faults") {
				t.Errorf("%d faults were met", r.Faults)
			}
		})
	}
}

// Interrupted at any moment, it leaves no process and no file.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"starting Postgres", "creating stream", "creating their records"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			errs := &trigger{on: moment, do: cancel}
			if code := execute(ctx, []string{"--events", "500000"}, &out, errs); code != 1 ||
				!strings.Contains(errs.text, "interrupted") {
				t.Errorf("exit code %d\n%s%s", code, &out, errs.text)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--events", "0"}, {"--quota", "lots"}, {"--faults", "some"}, {"--frob"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
}

// Accounts that do not agree are not good.
func TestGood(t *testing.T) {
	t.Parallel()
	for _, b := range []balance{
		{Published: 2, Created: 1}, {Published: 1, Created: 2}, {Published: 1, Created: 1, Lost: 1}, {Published: 1,
			Created: 1, Duplicates: 1},
		{Published: 1, Created: 1, WrongRecords: 1}, {Published: 1, Dead: 1, Denied: 1},
		{Published: 1, Created: 1, ClaimedTwice: 1}, {Published: 1, Created: 1, Undecided: 1},
	} {
		if b.good() {
			t.Errorf("%+v is taken for good", b)
		}
	}
	if !(balance{Published: 2, Created: 1, Dead: 1, DeadWithRecord: map[string]int{"unknown_outcome": 1}}).good() {
		t.Error("what agrees is not good")
	}
}

// trigger does something once a text has been written.
type trigger struct {
	on   string
	do   func()
	text string
}

func (w *trigger) Write(p []byte) (int, error) {
	w.text += string(p)
	if strings.Contains(w.text, w.on) {
		w.do()
	}
	return len(p), nil
}
