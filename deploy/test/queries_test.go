package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

// query is a question to Prometheus, and who asks it.
type query struct{ where, expr string }

// queries are all that the dashboard, the alerts and the scaling ask.
func queries(t *testing.T) (list []query) {
	t.Helper()
	content, err := os.ReadFile("../grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("the panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			list = append(list, query{"panel " + p.Title, strings.NewReplacer("$__rate_interval", "1m", "$job",
				"crmintake").Replace(target.Expr)})
		}
	}
	for _, v := range dashboard.Templating.List {
		if series := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition); series != nil {
			list = append(list, query{"variable " + v.Name, fmt.Sprintf(`count by (%s) (%s)`, series[2], series[1])})
		} else if v.Type == "query" {
			t.Errorf("the variable %s asks %q", v.Name, v.Definition)
		}
	}
	for _, r := range rules(t) {
		list = append(list, query{"alert " + r.Alert, r.Expr})
	}
	scaled := manifests(t, "--set", "scaling.enabled=true")["ScaledObject"].(*keda.ScaledObject)
	for _, trigger := range scaled.Spec.Triggers {
		list = append(list, query{"scaling by " + trigger.Name, trigger.Metadata["query"]})
	}
	return list
}

// selector finds what a query selects: one of the metrics that a worker exports, with its labels.
var selector = regexp.MustCompile(`\b(?:crmintake|process|go)_\w+(?:\{[^}]*\})?`)

// filtered are expressions that may rightly have no result; their selectors must have one all the same.
var filtered = regexp.MustCompile(`[<>=] ?[\d.]+|absent|[^=]>`)

// A real Prometheus scrapes a real worker. Each query runs, and selects something; one without a condition has a
// result.
func TestQueries(t *testing.T) {
	t.Parallel()
	list := queries(t)
	p := startPrometheus(t, startWorker(t))
	asked := map[string]bool{}
	for _, q := range list {
		got, err := p.ask(t.Context(), q.expr)
		switch {
		case err != nil:
			t.Errorf("%s: %s\n%v", q.where, q.expr, err)
		case got == 0 && !filtered.MatchString(q.expr):
			t.Errorf("%s: %s\nit has no result", q.where, q.expr)
		}
		selected := selector.FindAllString(q.expr, -1)
		if len(selected) == 0 {
			t.Errorf("%s: %s\nit asks for nothing of ours", q.where, q.expr)
		}
		for _, s := range selected {
			if asked[s] {
				continue
			}
			asked[s] = true
			if got, err := p.ask(t.Context(), s); err != nil || got == 0 {
				t.Errorf("%s: there is no %s (%v)", q.where, s, err)
			}
		}
	}
	t.Logf("%d queries, %d selectors", len(list), len(asked))
}

// startWorker starts a worker and returns where its metrics are.
func startWorker(t *testing.T) (addr string) {
	t.Helper()
	_, _, log := startDemo(t)
	await(t, "the worker's log tells of its admin endpoints", func() error {
		return contains(log, regexp.MustCompile(`msg="admin endpoints" url=http://(\S+)`), &addr)
	})
	return addr
}

// startDemo starts a worker and all that it needs, as go run ./cmd/demo does, which lets it create records and meet bad
// events. It returns the path of the program, and the files with what the demo says and the worker's log.
func startDemo(t *testing.T) (program, said, log string) {
	t.Helper()
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	program, said, log = filepath.Join(dir, "crmintake"), filepath.Join(dir, "said"), filepath.Join(dir, "worker.log")
	build := func(env []string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	build(nil, "-o", demo, "./cmd/demo")
	// As the demo builds it, which then finds it in the cache: what is waited for below is to have no build in it.
	build([]string{"CGO_ENABLED=0"}, "-trimpath", "-ldflags", "-s -w", "-o", program, "./cmd/crmintake")
	start(t, said, demo, "--events", "5000", "--keep", "--log", log)
	await(t, "the demo has created its records", func() error {
		return contains(said, regexp.MustCompile("Everything is left running(?s:.+)Ctrl-C"), nil)
	})
	return program, said, log
}

// start runs a program in the repository's root until the test ends. What it says goes into a file.
func start(t *testing.T, said, name string, args ...string) {
	t.Helper()
	file, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, file, file
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; on Debian and Ubuntu, deploy/check installs what is needed", err)
	}
	t.Cleanup(func() {
		defer file.Close()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			end, _ := os.ReadFile(said)
			t.Errorf("%s: %v\n%s", name, err, end)
		}
	})
}

// contains looks for a pattern in a file, and takes what its group matches.
func contains(path string, pattern *regexp.Regexp, group *string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := pattern.FindSubmatch(content)
	if found == nil {
		return fmt.Errorf("%s is not there\n%s", pattern, content)
	}
	if group != nil {
		*group = string(found[1])
	}
	return nil
}

// prometheus is a server that scrapes a worker.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, worker string) prometheus {
	t.Helper()
	alerts, err := filepath.Abs("../prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, said := filepath.Join(dir, "prometheus.yaml"), filepath.Join(dir, "said")
	if err := os.WriteFile(config, fmt.Appendf(nil,
		"global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
			"scrape_configs: [{job_name: crmintake, static_configs: [{targets: [%q]}]}]\n", alerts, worker), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, said, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0")
	var addr string
	await(t, "Prometheus' log tells of its address", func() error {
		return contains(said, regexp.MustCompile(`msg="Listening on".* address=(\S+)`), &addr)
	})
	p := prometheus{"http://" + addr}
	await(t, "Prometheus has scraped the worker several times", func() error {
		if n, err := p.ask(t.Context(), `count_over_time(crmintake_build_info[1m]) >= 5`); err != nil || n == 0 {
			return fmt.Errorf("not yet (%v)", err)
		}
		return nil
	})
	return p
}

// ask tells how many series a query gives.
func (p prometheus) ask(ctx context.Context, expr string) (series int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	var told struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal(body, &told); err != nil || told.Status != "success" {
		return 0, fmt.Errorf("%s: %s", answer.Status, body)
	}
	return len(told.Data.Result), nil
}

// await asks until it is so.
func await(t *testing.T, what string, yet func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := yet()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
