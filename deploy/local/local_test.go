package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
)

// helperVariable makes the test binary a program to run: "sleep" waits for a signal, "parent" starts such a sleeper and
// a directory and waits, "spin" uses some CPU and ends with status 3.
const helperVariable = "LOCAL_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVariable) {
	case "sleep":
		fmt.Println("up")
		time.Sleep(time.Minute) // to be killed before that
	case "parent":
		dir, _, err := TempDir("local-test-")
		if err != nil {
			panic(err)
		}
		p, err := StartProcess(context.Background(), ProcessConfig{Path: os.Args[0], Env: append(os.Environ(),
			helperVariable+"=sleep")})
		if err != nil {
			panic(err)
		}
		fmt.Println(dir, p.Pid())
		p.Wait()
	case "spin":
		for used := (syscall.Rusage{}); time.Duration(used.Utime.Nano()) < 300*time.Millisecond; {
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
				panic(err)
			}
		}
		os.Exit(3)
	default:
		parallel.Default()
		goleak.VerifyTestMain(m)
	}
}

func helper(t *testing.T, ctx context.Context, kind string, stdout io.Writer) *Process {
	t.Helper()
	p, err := StartProcess(ctx, ProcessConfig{Path: os.Args[0], Env: append(os.Environ(), helperVariable+"="+kind),
		Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); p.Wait() })
	return p
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// eventually polls a condition of another process, which has no channel to us.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestNATS(t *testing.T) {
	own := t.TempDir()
	for _, dir := range []string{"", own} {
		n, err := StartNATS(NATSConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		url, store := n.URL(), n.options.StoreDir
		publish := func() uint64 {
			nc, err := nats.Connect(n.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "s", nil); err != nil {
				t.Fatal(err)
			}
			return s.CachedInfo().State.Msgs + 1
		}
		publish()
		if err := n.Restart(); err != nil {
			t.Fatal(err)
		}
		if msgs := publish(); msgs != 2 || n.URL() != url {
			t.Errorf("after the restart: %d messages at %s, want 2 at %s", msgs, n.URL(), url)
		}
		for range 2 {
			if err := n.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if missing(store) != (dir == "") {
			t.Errorf("directory %q: removed %v", dir, missing(store))
		}
		if err := n.Restart(); err == nil {
			t.Error("a stopped server starts again")
		}
	}
}

func TestProcess(t *testing.T) {
	// The child's peak must not include what we had resident when it was started.
	ballast := bytes.Repeat([]byte{1}, 300<<20)
	p := helper(t, t.Context(), "spin", nil)
	runtime.KeepAlive(ballast)
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("Wait: %v, want status 3", err)
	}
	if cpu := p.CPUTime(); cpu < 50*time.Millisecond || cpu > 5*time.Second {
		t.Errorf("CPU time %v", cpu)
	}
	if peak := p.PeakMemory(); peak < 1<<20 || runtime.GOOS == "linux" && peak > 200<<20 {
		t.Errorf("peak memory %d", peak)
	}
	if own := p.PeakAnonymous(); runtime.GOOS == "linux" && (own < 1<<19 || own >= p.PeakMemory()) {
		t.Errorf("%d bytes anonymous, of %d", own, p.PeakMemory())
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v", err)
	}
	if err := p.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Kill after the end: %v", err)
	}
	if _, err := StartProcess(t.Context(), ProcessConfig{Path: "/nowhere"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

func TestProcessEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, end := range map[string]func(*Process){
		"signal":  func(p *Process) { p.Signal(syscall.SIGTERM) },
		"kill":    func(p *Process) { p.Kill() },
		"context": func(*Process) { cancel() },
	} {
		c := t.Context()
		if name == "context" {
			c = ctx
		}
		p := helper(t, c, "sleep", nil)
		end(p)
		if err := p.Wait(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestKilledProcessLeavesNothing(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	p := helper(t, t.Context(), "parent", w)
	var dir string
	var pid int
	if _, err := fmt.Fscanln(r, &dir, &pid); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r)
	if missing(dir) {
		t.Fatal("no directory")
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directory is gone", func() bool { return missing(dir) })
	if runtime.GOOS != "linux" {
		syscall.Kill(pid, syscall.SIGKILL)
		return
	}
	eventually(t, "the grandchild is gone", func() bool { return memory(pid) == usage{} })
}

func TestBuildWorker(t *testing.T) {
	module := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                "module crmintake\n\ngo 1.26\n",
		"cmd/crmintake/main.go": "package main\n\nfunc main() { println(\"built\") }\n",
	} {
		path := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(module, "cmd"))
	path, err := BuildWorker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path).CombinedOutput(); err != nil || string(out) != "built\n" {
		t.Errorf("the program says %q, %v", out, err)
	}
	t.Chdir(t.TempDir())
	if _, err := BuildWorker(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no Go module") {
		t.Errorf("outside of a module: %v", err)
	}
}
