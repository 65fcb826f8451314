package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
)

// Traces are configured by OpenTelemetry's own variables, which its SDK reads: endpoint, headers, certificates,
// sampling. They have no flags.
const (
	otlpEndpoint  = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTraces    = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	otlpHeaders   = "OTEL_EXPORTER_OTLP_HEADERS"
	tracesHeaders = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
	otlpFiles     = "OTEL_EXPORTER_OTLP_"        // and CERTIFICATE, CLIENT_CERTIFICATE or CLIENT_KEY
	tracesFiles   = "OTEL_EXPORTER_OTLP_TRACES_" // likewise
	otlpProtocol  = "OTEL_EXPORTER_OTLP_PROTOCOL"
	tracesWords   = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	otelDisabled  = "OTEL_SDK_DISABLED"
	tracesPatient = 3 * time.Second // for what is to be sent at the end
)

// longestTracesError bounds what is logged of why traces can't be sent, in characters: it has what the collector
// answered.
const longestTracesError = 300

// tracing tells whether anybody wants traces.
func tracing() bool {
	return (os.Getenv(otlpEndpoint) != "" || os.Getenv(otlpTraces) != "") && !strings.EqualFold(os.Getenv(otelDisabled),
		"true")
}

// traces starts to export traces, if anybody wants them; else the tracer is nil.
func traces(ctx context.Context, log *slog.Logger) (tracer trace.Tracer, stop func(), err error) {
	if !tracing() {
		return nil, func() {}, nil
	}
	if p := cmp.Or(os.Getenv(tracesWords), os.Getenv(otlpProtocol), "http/protobuf"); p != "http/protobuf" {
		return nil, nil, flags.Usagef("%s: traces go out as http/protobuf only", otlpProtocol)
	}
	if err := tracesReadable(); err != nil {
		return nil, nil, err
	}
	otel.SetLogger(logr.Discard())
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, flags.Usagef("traces: %w", err)
	}
	b := thisBuild()
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "crmintake"),
		attribute.String("service.version", b.Version), attribute.String("service.instance.id", workerName())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, flags.Usagef("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&toldExporter{SpanExporter: exporter, log: log}),
		sdktrace.WithResource(about))
	log.Info("traces are exported")
	return provider.Tracer("crmintake"), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesPatient)
		defer cancel()
		_ = provider.Shutdown(ctx) // what could not be sent was told
	}, nil
}

// tracesReadable finds what the SDK could not read, which it would log by itself, credentials and all.
func tracesReadable() error {
	for _, name := range []string{otlpEndpoint, otlpTraces} {
		if _, err := url.Parse(os.Getenv(name)); err != nil {
			return flags.Usagef("%s: want a URL such as http://127.0.0.1:4318", name)
		}
	}
	for _, name := range []string{otlpHeaders, tracesHeaders} {
		for header := range strings.SplitSeq(os.Getenv(name), ",") {
			key, value, found := strings.Cut(header, "=")
			if _, err := url.PathUnescape(value); header != "" && (!found || err != nil || strings.TrimSpace(key) == "") {
				return flags.Usagef("%s: want name=value, several separated by commas, with special characters "+
					"written as %%20 and the like", name)
			}
		}
	}
	for _, prefix := range []string{otlpFiles, tracesFiles} {
		if err := tracesFilesReadable(prefix); err != nil {
			return err
		}
	}
	return nil
}

// tracesFilesReadable finds certificates that the SDK would go on without. It does not repeat what a variable has: that
// may be the key itself, by mistake.
func tracesFilesReadable(prefix string) error {
	contents := map[string][]byte{}
	for _, what := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		path := os.Getenv(prefix + what)
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if about := (*fs.PathError)(nil); errors.As(err, &about) {
			err = about.Err
		}
		if err != nil {
			return flags.Usagef("%s: want a file that can be read: %w", prefix+what, err)
		}
		contents[what] = b
	}
	if pem, given := contents["CERTIFICATE"]; given && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return flags.Usagef("%s: the file has no certificate", prefix+"CERTIFICATE")
	}
	cert, given := contents["CLIENT_CERTIFICATE"]
	key, too := contents["CLIENT_KEY"]
	if !given && !too {
		return nil
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return flags.Usagef("%s and %s: want a certificate and its key: %w", prefix+"CLIENT_CERTIFICATE",
			prefix+"CLIENT_KEY", err)
	}
	return nil
}

// toldExporter logs that traces can't be sent once, and that they can again once. Those that were not sent are gone.
type toldExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger

	mu       sync.Mutex // guards all below
	failures int        // in a row
	lost     int        // spans
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *toldExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil:
		e.lost += len(spans)
		if e.failures++; e.failures == 1 {
			e.log.Warn("traces can't be sent; they are dropped until they can", "error",
				view.Shorten(view.OneLine(err.Error()), longestTracesError))
		}
	case e.failures > 0:
		e.log.Info("traces are sent again", "failures", e.failures, "lost_spans", e.lost)
		e.failures, e.lost = 0, 0
	}
	return nil
}
