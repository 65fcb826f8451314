package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/deploy/local"
)

// mostBinary is how large the program may be, built as the README says.
const mostBinary = 30 << 20

// The program is small, and has in it what production needs and nothing that only tests do. The names of all packages
// whose functions are linked stand in it for stack traces, stripped or not.
func TestBinary(t *testing.T) {
	t.Parallel()
	path, err := local.BuildWorker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(len(program))/(1<<20))
	if len(program) > mostBinary {
		t.Errorf("it has %d bytes, want %d at most", len(program), mostBinary)
	}
	for name, want := range map[string]bool{
		"crmintake/worker/hubspot.(*Client)":   true,
		"github.com/nats-io/nats%2ego.(*Conn)": true,
		"github.com/nats-io/nats-server":       false,
		"crmintake/worker/hubspot/hubspottest": false,
		"github.com/go-analyze/charts":         false,
	} {
		if bytes.Contains(program, []byte(name)) != want {
			t.Errorf("%s is in it: %v, want %v", name, !want, want)
		}
	}
}

// A build without a git repository is told what it is.
func TestVersionOfABuild(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "crmintake")
	command := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags",
		"-X main.version=1.2.3 -X main.commit=abcdef", "-o", path, "crmintake/cmd/crmintake")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), path, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "crmintake 1.2.3 (commit abcdef, go") {
		t.Errorf("%q, %v", out, err)
	}
}

// cmd/bench has the program's profiles from a hidden flag.
func TestProfile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop, err := flags.Profiling{Profile: dir}.Start()
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cpu.pprof", "allocs.pprof"} {
		if f, err := os.Stat(dir + "/" + name); err != nil || f.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
