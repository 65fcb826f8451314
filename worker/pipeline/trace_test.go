package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// traced has a worker's spans collected.
func traced(t *testing.T, cfg *pipeline.Config) *tracetest.InMemoryExporter {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	cfg.Tracer = provider.Tracer("test")
	return spans
}

// publishTraced publishes an event in the span of a trace, by a header of this name.
func (r *streamRig) publishTraced(objectType, id, header, parent string) {
	r.t.Helper()
	m := nats.NewMsg("crm.create." + objectType)
	m.Header.Set("Nats-Msg-Id", id)
	m.Header.Set(header, parent)
	m.Data = fmt.Appendf(nil, `{"properties":{"name":%q}}`, id)
	_, err := r.nc.RequestMsg(m, time.Minute)
	r.must(err)
}

// batchesOf are the spans of batches, each with the names of the spans in it in the order of their end.
func batchesOf(t *testing.T, spans tracetest.SpanStubs) (batches []tracetest.SpanStub, parts map[trace.SpanID][]string) {
	t.Helper()
	parts = map[trace.SpanID][]string{}
	ids := map[trace.SpanID]trace.TraceID{}
	for _, s := range spans {
		if s.Name == "batch" {
			batches = append(batches, s)
			ids[s.SpanContext.SpanID()] = s.SpanContext.TraceID()
		}
	}
	for _, s := range spans {
		if s.Name == "batch" {
			if s.Parent.IsValid() {
				t.Errorf("a batch has a parent: %+v", s)
			}
			continue
		}
		if ids[s.Parent.SpanID()] != s.SpanContext.TraceID() {
			t.Errorf("%s is not within a batch", s.Name)
		}
		parts[s.Parent.SpanID()] = append(parts[s.Parent.SpanID()], s.Name)
	}
	return batches, parts
}

// A batch's span links to where its events were published, and has its commits and its call in it.
func TestTraces(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	parents := map[string]string{}
	for k, header := range []string{"traceparent", "Traceparent", "traceparent"} {
		parent := fmt.Sprintf("00-%032x-%016x-01", k+1, k+11)
		parents[parent[3:52]] = header
		r.publishTraced("contracts", fmt.Sprint("c-", k), header, parent)
	}
	r.publishTraced("contracts", "c-bad", "traceparent", "no trace context")
	r.publish(named("contracts", "untraced", 2)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second
	spans := traced(t, &cfg)
	r.drain(cfg)
	r.exactlyOnce("contracts", 6)
	batches, parts := batchesOf(t, spans.GetSpans())
	if len(batches) != 1 {
		t.Fatalf("%d batches have a span, want one", len(batches))
	}
	b := batches[0]
	for _, link := range b.Links {
		at := link.SpanContext.TraceID().String() + "-" + link.SpanContext.SpanID().String()
		if _, ok := parents[at]; !ok {
			t.Errorf("a link to %s, where nobody published", at)
		}
		delete(parents, at)
	}
	if len(parents) > 0 {
		t.Errorf("no link to %v", parents)
	}
	if got := parts[b.SpanContext.SpanID()]; !slices.Equal(got, []string{"intent", "create", "outcome"}) {
		t.Errorf("in the batch are %q", got)
	}
	for _, s := range spans.GetSpans() {
		if s.Status.Code == codes.Error || s.StartTime.Before(b.StartTime) || s.EndTime.After(b.EndTime) {
			t.Errorf("%s: %+v, from %v to %v; the batch from %v to %v", s.Name, s.Status, s.StartTime, s.EndTime, b.StartTime, b.EndTime)
		}
	}
	attributes := attribute.NewSet(spans.GetSpans()[1].Attributes...)
	for name, want := range map[attribute.Key]attribute.Value{
		"http.response.status_code": attribute.IntValue(201), "crmintake.inputs": attribute.IntValue(6),
		"crmintake.attempt": attribute.StringValue(r.rows(`SELECT id::text FROM attempt`)[0]),
	} {
		if got, _ := attributes.Value(name); got != want {
			t.Errorf("the call's span has %s %v, want %v", name, got.AsInterface(), want.AsInterface())
		}
	}
}

// A call without an answer is an error, and what asks about its events is a batch of its own.
func TestTracesOfWhatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.BreakAfter)
	r.publish(named("contracts", "c", 100)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second
	spans := traced(t, &cfg)
	r.drain(cfg)
	batches, parts := batchesOf(t, spans.GetSpans())
	var got []string
	for _, b := range batches {
		got = append(got, strings.Join(parts[b.SpanContext.SpanID()], " "))
	}
	if !slices.Equal(got, []string{"intent create outcome", "read outcome"}) {
		t.Errorf("batches of %q", got)
	}
	for _, s := range spans.GetSpans() {
		if (s.Name == "create") != (s.Status.Code == codes.Error) {
			t.Errorf("%s: %+v", s.Name, s.Status)
		}
	}
}

// The parts that a refused batch is split into are within its span.
func TestTracesOfASplitBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}})
	r.publish(message{"contracts", "bad", `{"properties":{"nmae":"misspelled"}}`})
	r.publish(named("contracts", "c", 1)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second
	spans := traced(t, &cfg)
	r.drain(cfg)
	batches, parts := batchesOf(t, spans.GetSpans())
	if len(batches) != 1 || strings.Join(parts[batches[0].SpanContext.SpanID()], " ") != "intent create outcome create outcome create outcome" {
		t.Errorf("%d batches, with %q", len(batches), parts)
	}
}
