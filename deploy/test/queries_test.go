package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
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
			list = append(list, query{"panel " + p.Title, strings.NewReplacer("$__rate_interval", "1m", "$job", "crmintake").Replace(target.Expr)})
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

// A real Prometheus scrapes a real worker. Each query runs, and selects something; one without a condition has a result.
func TestQueries(t *testing.T) {
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

// startWorker starts all that a worker needs and the worker, lets it create records and meet bad events, and returns its admin address.
func startWorker(t *testing.T) string {
	t.Helper()
	t.Chdir(root) // of the module that the worker is built from
	stack, err := local.StartStack(t.Context(), local.StackConfig{CRM: hubspottest.Config{
		ObjectTypes: map[string]hubspottest.ObjectType{"contracts": {Properties: []string{"name"}, Unique: []string{"source_event_id"}}},
		Limit:       hubspottest.Limit{Calls: 190, Window: 10 * time.Second},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	var lines strings.Builder
	for n := range 500 {
		property := "name"
		if n%50 == 0 {
			property = "nmae"
		}
		fmt.Fprintf(&lines, `{"properties": {%q: "Lease %d"}}`+"\n", property, n)
	}
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	publish, err := stack.Start(t.Context(), nil, "publish", file, "--object-type", "contracts")
	if err != nil {
		t.Fatal(err)
	}
	if err := publish.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, publish.LogEnd())
	}
	addr := freeAddr(t)
	worker, err := stack.Start(context.WithoutCancel(t.Context()), nil, "run", "--quota", "190/10s", "--quota-daily", "100000",
		"--id-property", "contracts=source_event_id", "--admin-addr", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := worker.Wait(); err != nil {
			t.Errorf("the worker: %v\n%s", err, worker.LogEnd())
		}
	})
	await(t, "records are created", func() error {
		if n := stack.CRM.Len("contracts"); n < 490 {
			return fmt.Errorf("%d of 490 records are there\n%s", n, worker.LogEnd())
		}
		return nil
	})
	return addr
}

// prometheus is a server that scrapes a worker.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, worker string) prometheus {
	t.Helper()
	alerts, err := filepath.Abs("deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), freeAddr(t)
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
		"scrape_configs: [{job_name: crmintake, static_configs: [{targets: [%q]}]}]\n", alerts, worker)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := local.StartProcess(t.Context(), local.ProcessConfig{Path: "prometheus", Args: []string{
		"--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr,
	}, Env: os.Environ()})
	if err != nil {
		t.Fatalf("%v; on Debian and Ubuntu: apt-get install -y prometheus", err)
	}
	t.Cleanup(func() { _ = server.Kill(); _ = server.Wait() })
	p := prometheus{"http://" + addr}
	await(t, "Prometheus has scraped the worker several times", func() error {
		if n, err := p.ask(t.Context(), `count_over_time(crmintake_build_info[1m]) >= 5`); err != nil || n == 0 {
			return fmt.Errorf("not yet (%v)\n%s", err, server.LogEnd())
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

// freeAddr is an address of this machine where nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
