package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// With OpenTelemetry's own variables a worker's spans go out; what can't be sent keeps it from nothing, and is said
// once.
func TestTracesAreExported(t *testing.T) {
	natsURL, databaseURL := ready(t)
	var refused atomic.Int32
	names := make(chan string, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-key") != secret {
			t.Errorf("the exporter's headers are %v", r.Header)
		}
		if refused.Add(1) <= 2 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, strings.Repeat("a long\nanswer ", 1000))
			return
		}
		var request collector.ExportTraceServiceRequest
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(b, &request)
		}
		if err != nil {
			t.Error(err)
		}
		for _, resource := range request.ResourceSpans {
			names <- resource.Resource.String()
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					names <- span.Name
				}
			}
		}
	}))
	t.Cleanup(receiver.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", strings.Replace(receiver.URL, "//", "//me:"+secret+"@", 1))
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key="+secret)
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1") // each span by itself: the intent's and the call's are refused
	setenv(t, "CRMINTAKE_NATS_URL", natsURL)
	publish(t, "a", "b")
	s := startRun(t, natsURL, databaseURL, "--drain", "--id-property", "contracts=event_id")
	s.want(0, "traces are exported", "traces can't be sent; they are dropped until they can", "traces are sent again",
		"failures=2 lost_spans=2")
	if n := strings.Count(s.String(), "traces can't be sent"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, s)
	}
	for line := range strings.Lines(s.String()) {
		if strings.Contains(line, "traces can't be sent") && (len(line) > 1000 || strings.Contains(line, `\n`)) {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	}
	close(names)
	got := map[string]int{}
	service := false
	for name := range names {
		got[name]++
		service = service || strings.Contains(name, `"crmintake"`)
	}
	if got["create"] != 0 || got["outcome"] != 1 || got["batch"] != 1 || !service {
		t.Errorf("spans: %v", got)
	}
}

func TestTracesRefuse(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	crmintake(t, "", "run", "--database-url", "postgres://h/d", "--hubspot-token", secret).want(t, 2, "http/protobuf only")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "")
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":       "http://me:" + secret + "@host:port",
		"OTEL_EXPORTER_OTLP_HEADERS":        "x-key=1,Bearer " + secret,
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=%" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			r := crmintake(t, "", "run", "--database-url", "postgres://h/d", "--hubspot-token", secret)
			if r.want(t, 2, name+": want"); strings.Contains(r.err, secret) {
				t.Errorf("it tells a secret: %s", r.err)
			}
		})
	}
	dir := t.TempDir()
	for _, name := range []string{"nothing", "empty"} {
		path := filepath.Join(dir, secret+name)
		if name == "empty" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, variable := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "TRACES_CERTIFICATE",
			"TRACES_CLIENT_CERTIFICATE", "TRACES_CLIENT_KEY"} {
			variable = "OTEL_EXPORTER_OTLP_" + variable
			t.Run(variable+" "+name, func(t *testing.T) {
				t.Setenv(variable, path)
				r := crmintake(t, "", "run", "--database-url", "postgres://h/d", "--hubspot-token", secret)
				if r.want(t, 2, variable); strings.Contains(r.err, secret) || strings.Count(r.err, "\n") != 1 {
					t.Errorf("want one line, without what the variable has: %s", r.err)
				}
			})
		}
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if tracing() {
		t.Error("it traces though it is disabled")
	}
}
