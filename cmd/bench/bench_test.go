package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
)

// TestMain lets the test's program be the parts, too, as the bench's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "part-") {
		main()
		return
	}
	parallel.Default()
	goleak.VerifyTestMain(m)
}

// bench runs a command and returns what it printed.
func bench(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := execute(t.Context(), args, streams{&out, &errs}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, &out, &errs)
	}
	return out.String()
}

// decode reads JSON into v.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// above fails the test where a figure is not more than 0.
func above(t *testing.T, m map[string]any, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if v, ok := m[k].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v", k, m[k])
		}
	}
}

// draw has a command's JSON drawn, and wants words in it.
func draw(t *testing.T, json string, words ...string) {
	t.Helper()
	from, to := filepath.Join(t.TempDir(), "figures.json"), filepath.Join(t.TempDir(), "plot.svg")
	if err := os.WriteFile(from, []byte(json), 0o644); err != nil {
		t.Fatal(err)
	}
	bench(t, "plot", from, "--out", to)
	svg, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range append(words, "<svg", "</svg>") {
		if !strings.Contains(string(svg), word) {
			t.Errorf("the plot lacks %q", word)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	profiles := t.TempDir()
	out := bench(t, "--events", "2000", "--runs", "1", "--output", "json", "--profile", profiles,
		"--peer", "sleep 60", "--peer-done", "SELECT 2000")
	var report map[string]any
	decode(t, out, &report)
	above(t, report, "events_per_second", "cpu_us_per_event", "peak_memory_mb", "anonymous_memory_mb",
		"wal_bytes_per_event", "hot_share",
		"records_per_call", "floor_ratio", "wal_floor_ratio", "peer_ratio")
	if own, all := report["anonymous_memory_mb"].(float64), report["peak_memory_mb"].(float64); own >= all {
		t.Errorf("%v MB are anonymous, of %v", own, all)
	}
	if report["events"] != 2000.0 || report["runs"] != 1.0 {
		t.Errorf("%v events, %v runs", report["events"], report["runs"])
	}
	for _, name := range []string{"cpu.pprof", "allocs.pprof"} {
		if f, err := os.Stat(filepath.Join(profiles, "run-1", name)); err != nil || f.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	draw(t, out, "crmintake", "floor", "peer", "2000 events")
}

// A peer may end by itself when it is done, between two looks at how far it is. One that ends before is told of.
func TestPeerEnds(t *testing.T) {
	t.Parallel()
	// Looks are made by one session: 100 done at the first, 200 at the second.
	const doneAtSecondLook = `SELECT 100 * length(set_config('peer.looks',
  concat(current_setting('peer.looks', true), 'x'), false))`
	bench(t, "--events", "200", "--runs", "1", "--peer", "true", "--peer-done", doneAtSecondLook)

	var out, errs bytes.Buffer
	code := execute(t.Context(), []string{"--events", "200", "--runs", "1", "--peer", "cat /nowhere", "--peer-done",
		"SELECT 7"}, streams{&out, &errs})
	if code != 1 || !strings.Contains(errs.String(), "it ended with 7 of 200 events done") ||
		!strings.Contains(errs.String(), "/nowhere") {
		t.Errorf("exit code %d\n%s", code, &errs)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	const call = 40 * time.Millisecond
	var report struct {
		Call  float64     `json:"call_ms"`
		Wait  float64     `json:"batch_wait_ms"`
		Rates []latencies `json:"rates"`
	}
	decode(t, bench(t, "latency", "--rate", "100,1000", "--seconds", "1", "--call", call.String(), "--output", "json"),
		&report)
	if report.Call != 40 || report.Wait != 500 || len(report.Rates) != 2 {
		t.Fatalf("%+v", report)
	}
	for n, l := range report.Rates {
		if want := []int{100, 1000}[n]; l.Rate != want || l.Events != want {
			t.Errorf("%d events at %d a second, want %d", l.Events, l.Rate, want)
		}
		// What is measured contains the call, at the least.
		if l.P50 < milliseconds(call) || l.P99 < l.P50 || l.Max < l.P99 || l.Published <= 0 || l.PeakMemory <= 0 ||
			l.Aim != 560 {
			t.Errorf("%+v", l)
		}
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	out := bench(t, "growth", "--rows", "60000", "--dead", "600", "--events", "2000", "--runs", "1", "--output", "json")
	var report results
	decode(t, out, &report)
	if report.Rows != 60000 || len(report.Growth) != 2 {
		t.Fatalf("%s", out)
	}
	for _, g := range report.Growth {
		for _, m := range []map[string]spread{g.Empty, g.Grown} {
			for _, key := range []string{"events_per_second", "peak_memory_mb", "wal_bytes_per_event", "hot_share"} {
				if m[key].Median <= 0 {
					t.Errorf("%s ids: %s is %v", g.IDs, key, m[key])
				}
			}
		}
		if g.Ratio.Median <= 0 || g.TableMB <= 0 || g.IndexMB <= 0 || g.Removed <= 0 || len(g.Queries) == 0 {
			t.Errorf("%+v", g)
		}
		for _, q := range g.Queries {
			if q.Empty <= 0 || q.Grown <= 0 {
				t.Errorf("%+v", q)
			}
		}
	}
	draw(t, out, "time-ordered ids", "random ids", "60000 rows")
}

func TestStart(t *testing.T) {
	t.Parallel()
	var report struct {
		Runs   int      `json:"runs"`
		Starts []starts `json:"starts"`
		Binary float64  `json:"binary_mb"`
	}
	decode(t, bench(t, "start", "--runs", "2", "--backlog", "100,3000", "--output", "json"), &report)
	if report.Runs != 2 || len(report.Starts) != 2 || report.Starts[1].Backlog != 3000 || report.Binary <= 0 {
		t.Errorf("%+v", report)
	}
	for _, s := range report.Starts {
		if s.FirstCall.Min <= 0 || s.FirstCall.Max < s.FirstCall.Min || s.PeakMemory.Min <= 0 {
			t.Errorf("%+v", s)
		}
	}
}

// Of what is paused nothing is delivered, and all of the other type is created.
func TestPaused(t *testing.T) {
	t.Parallel()
	var report struct {
		Events, Runs int
		Backlogs     []pausedFigures
	}
	decode(t, bench(t, "paused", "--backlog", "0,3000", "--events", "2000", "--runs", "1", "--output", "json"), &report)
	if report.Events != 2000 || report.Runs != 1 || len(report.Backlogs) != 2 || report.Backlogs[1].Backlog != 3000 {
		t.Fatalf("%+v", report)
	}
	for n, b := range report.Backlogs {
		for _, row := range pausedRows[:len(pausedRows)-1] {
			if b.Figures[row.key].Min <= 0 || n == 0 && b.Ratios[row.key].Median != 1 || b.Ratios[row.key].Median <= 0 {
				t.Errorf("%d wait: %s is %+v", b.Backlog, row.key, b)
			}
		}
		if f, ok := b.Figures["paused_deliveries"]; !ok || f.Max != 0 {
			t.Errorf("%d wait: deliveries of what is paused: %+v", b.Backlog, f)
		}
	}
	var b bytes.Buffer
	if err := (&pausedCmd{Events: 7}).print(&b, report.Backlogs); err != nil || !strings.Contains(b.String(),
		"3000 paused events wait") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	var report struct {
		Events, Runs int
		Windows      []publishFigures
	}
	decode(t, bench(t, "publish", "--window", "1,16", "--events", "100", "--runs", "1", "--output", "json"), &report)
	if report.Events != 100 || report.Runs != 1 || len(report.Windows) != 2 || report.Windows[1].Window != 16 {
		t.Fatalf("%+v", report)
	}
	for _, w := range report.Windows {
		if w.Later.Min <= 0 || w.Always.Min <= 0 {
			t.Errorf("%+v", w)
		}
	}
	var b bytes.Buffer
	if err := (&publishCmd{Runs: 7}).print(&b, report.Windows); err != nil || !strings.Contains(b.String(),
		"16 unconfirmed") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestPlotOfASoak(t *testing.T) {
	t.Parallel()
	var list []string
	for n := range 30 {
		list = append(list,
			fmt.Sprintf(`{"seconds":%d,"memory_mb":%d,"goroutines":20,"connections":9,"tables_mb":1.5,"indexes_mb":0}`,
				20*n, 30+n%3))
	}
	draw(t, `{"minutes":10,"samples":[`+strings.Join(list, ",")+`]}`, "What must not grow",
		"memory of a worker, MB (31.0)", "connections to Postgres (9.0)")
}

// People get tables.
func TestTables(t *testing.T) {
	t.Parallel()
	out := bench(t, "--events", "500", "--runs", "1")
	for _, word := range []string{"crmintake", "floor", "events/s", "speed, of the floor's"} {
		if !strings.Contains(out, word) {
			t.Errorf("the table lacks %q:\n%s", word, out)
		}
	}
	var b bytes.Buffer
	l := &latencyCmd{Call: time.Second}
	if err := l.print(&b, []latencies{{Published: 100, P50: 1, P99: 2, Max: 3, Aim: 4}}); err != nil ||
		!strings.Contains(b.String(), "p99") {
		t.Errorf("%v\n%s", err, &b)
	}
	b.Reset()
	g := growth{IDs: "random", Empty: spreads([]figures{{EventsPerSecond: 1}}),
		Grown: spreads([]figures{{EventsPerSecond: 2}}), Queries: []queryTimes{{Name: "dead list"}}}
	if err := (&growthCmd{Rows: 7}).print(&b, []growth{g}); err != nil || !strings.Contains(b.String(), "dead list") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "empty.json"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--events 0":                      "want at least 1",
		"--peer true":                     "go together",
		"latency --rate 0":                "want at least 1",
		"growth --rows 1":                 "--rows: want at least",
		"start --runs 0":                  "want at least 1",
		"start --backlog 100,99":          "a full batch",
		"paused --events 0":               "want at least 1",
		"paused --backlog=0,-1":           "want at least 0",
		"plot " + file + " --out " + out:  "is not what compare, growth or demo soak print",
		"plot /nowhere.json --out " + out: "/nowhere.json",
		"latency --rate often":            "often",
	} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), strings.Fields(args), streams{&out, &errs}); code != 2 ||
			!strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, &errs)
		}
	}
}

// A disk that is too small is told of before half of it is full.
func TestEnoughRoom(t *testing.T) {
	t.Parallel()
	if err := enoughRoom(1e12); err == nil || !strings.Contains(err.Error(), "--rows to fewer") {
		t.Error(err)
	}
	if err := enoughRoom(1); err != nil {
		t.Error(err)
	}
}

// A transaction is seen by the first snapshot that shows it done.
func TestCommitsSeen(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	c := &commits{}
	for n, snapshot := range []string{"10:10:", "10:13:10,12", "12:14:12", "14:14:"} {
		l, err := lookOf(snapshot, at(n))
		if err != nil {
			t.Fatal(err)
		}
		c.looks = append(c.looks, l)
	}
	var got []string
	for xid := int64(9); xid < 15; xid++ {
		when, ok := c.seen(xid)
		got = append(got, fmt.Sprint(xid, when.Unix(), ok))
	}
	want := []string{"9 0 true", "10 2 true", "11 1 true", "12 3 true", "13 2 true", fmt.Sprint(14, time.Time{}.Unix(),
		false)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := lookOf("nonsense", at(0)); err == nil {
		t.Error("nonsense is a snapshot")
	}
}
