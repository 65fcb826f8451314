package pgcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
)

// helperVariable makes the test binary start a cluster and wait to be killed.
const helperVariable = "PGCLUSTER_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		if err := helper(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	parallel.Default()
	goleak.VerifyTestMain(m)
}

// helper prints the cluster's directory and process id, then "alive" for each interrupt after which a query still
// works.
func helper() error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	c, err := Start(context.Background(), Config{})
	if err != nil {
		return err
	}
	fmt.Println(c.Dir(), c.Pid())
	for range interrupts {
		conn, err := pgx.Connect(context.Background(), c.URL("postgres"))
		if err != nil {
			return err
		}
		if err := conn.Close(context.Background()); err != nil {
			return err
		}
		fmt.Println("alive")
	}
	return nil
}

func begin(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func query[T any](t *testing.T, c *Cluster, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func execute(t *testing.T, c *Cluster, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
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

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"fast", Config{}, "off off off 100"},
		{"durable", Config{Durable: true}, "on on on 100"},
		{"in memory", Config{InMemory: true}, "off off off 100"},
		{"own", Config{Settings: map[string]string{"synchronous_commit": "on", "max_connections": "7", "port": "1"}},
			"off on off 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := begin(t, test.cfg)
			got := query[string](t, c, `select concat_ws(' ', current_setting('fsync'), current_setting('synchronous_commit'),
				current_setting('full_page_writes'), current_setting('max_connections'))`)
			if got != test.want {
				t.Errorf("settings: %s, want %s", got, test.want)
			}
			got = query[string](t, c, `select concat_ws(' ', pg_encoding_to_char(encoding), datcollate, current_setting('listen_addresses'),
				current_setting('unix_socket_directories')) from pg_database where datname = 'postgres'`)
			if want := "UTF8 C 127.0.0.1 "; got != want {
				t.Errorf("cluster: %q, want %q", got, want)
			}
		})
	}
}

func TestLife(t *testing.T) {
	var log strings.Builder
	c := begin(t, Config{Settings: map[string]string{"synchronous_commit": "on"}, Log: &log})
	url, pid := c.URL("postgres"), c.Pid()
	execute(t, c, `create table t as select generate_series(1, 100000) as n`)

	if runtime.GOOS == "linux" && c.CPUTime() == 0 {
		t.Error("no CPU time")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Pid() == pid || c.Pid() == 0 {
		t.Errorf("process id %d after restart, %d before", c.Pid(), pid)
	}

	// A backend in the middle of a query dies too.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `insert into t values (100001)`); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `select 1`); err == nil {
		t.Error("a connection has survived Kill")
	}
	if c.Pid() != 0 || c.CPUTime() != 0 {
		t.Errorf("after Kill: process id %d, CPU time %v", c.Pid(), c.CPUTime())
	}
	if err := c.Kill(); err != nil {
		t.Errorf("Kill again: %v", err)
	}
	for range 2 {
		if err := c.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.URL("postgres"); got != url {
		t.Errorf("URL %s, before %s", got, url)
	}
	if n := query[int](t, c, `select count(*) from t`); n != 100001 {
		t.Errorf("%d rows after a crash, want 100001", n)
	}

	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if !missing(c.Dir()) {
		t.Errorf("%s is still there", c.Dir())
	}
	if err := c.StartAgain(t.Context()); err == nil {
		t.Error("a stopped cluster starts again")
	}
	if !strings.Contains(log.String(), "database system is ready to accept connections") {
		t.Errorf("log: %s", log.String())
	}
}

func TestStopAfterKill(t *testing.T) {
	c := begin(t, Config{})
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(filepath.Join(c.Dir(), "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if !missing(c.Dir()) {
		t.Errorf("%s is still there", c.Dir())
	}
	shared, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Skip("no list of shared memory segments on this system")
	}
	segment := strings.Fields(strings.Split(string(lock), "\n")[6])[1]
	for line := range strings.Lines(string(shared)) {
		if f := strings.Fields(line); f[1] == segment {
			t.Errorf("shared memory segment %s is still there", segment)
		}
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	parent, err := os.MkdirTemp("", "pgcluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	if err := os.Chmod(parent, 0o777); err != nil { // the server's user must get in
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", parent)
	_, err = Start(t.Context(), Config{Settings: map[string]string{"shared_buffers": "nonsense"}})
	if !errors.Is(err, errExited) || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("error %v, want the end of the server's log", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestKilledProcessLeavesNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewReader(out)
	var dir string
	var pid int
	if _, err := fmt.Fscanln(lines, &dir, &pid); err != nil {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("helper: %v %s", err, rest)
	}
	if missing(dir) || gone(pid) {
		t.Fatal("the cluster is not there")
	}

	// What a terminal does at Ctrl-C: the signal goes to the whole foreground group.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); line != "alive\n" {
		t.Fatalf("after an interrupt: %q, %v", line, err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is gone", func() bool { return gone(pid) })
	eventually(t, "its directory is gone", func() bool { return missing(dir) })
}

// nothingInstalled hides this machine's server, and has npm's registry, and the cache, elsewhere.
func nothingInstalled(t *testing.T, registry string) {
	t.Setenv("PATH", t.TempDir())
	saved := installed
	installed = nil
	t.Cleanup(func() { installed = saved })
	cache, err := os.MkdirTemp("", "crmintake-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(cache); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("npm_config_registry", registry)
	t.Setenv(versionVariable, "")
}

func TestNotInstalled(t *testing.T) {
	nothingInstalled(t, "http://127.0.0.1:1")
	_, err := Start(t.Context(), Config{})
	if !errors.Is(err, errNotInstalled) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line, %v", err, errNotInstalled)
	}
}

func TestNewestFirst(t *testing.T) {
	dirs := []string{"/usr/lib/postgresql/9.6/bin", "/opt/postgresql/bin", "/usr/lib/postgresql/15/bin",
		"/opt/postgresql@17/bin"}
	newestFirst(dirs)
	want := []string{"/opt/postgresql@17/bin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/9.6/bin",
		"/opt/postgresql/bin"}
	if !slices.Equal(dirs, want) {
		t.Errorf("order %v, want %v", dirs, want)
	}
}
