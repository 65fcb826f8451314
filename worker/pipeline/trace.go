package pipeline

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"crmintake/worker"
)

// Traces have a span for each batch, which links to the spans that its events were published in, and within it one for
// each thing that a batch waits for: intent, calls, outcome. Without Config.Tracer nobody reads a header, and nothing
// here does anything.

// publisherOf is the span that an event was published in; not valid if its message tells none.
func publisherOf(e *worker.Event) trace.SpanContext {
	headers := propagation.MapCarrier{"traceparent": e.TraceParent, "tracestate": e.TraceState}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
}

// tracer makes the spans; nil makes none.
type tracer struct{ trace.Tracer }

func newTracer(t trace.Tracer) *tracer {
	if t == nil {
		return nil
	}
	return &tracer{t}
}

// begin begins the span of a batch; nil means that there is none.
func (t *tracer) begin(objectType, cut string, items []*item) trace.Span {
	if t == nil {
		return nil
	}
	var links []trace.Link
	for _, i := range items {
		if span := publisherOf(i.Event); span.IsValid() {
			links = append(links, trace.Link{SpanContext: span})
		}
	}
	_, span := t.Start(context.Background(), "batch", trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(attribute.String("crmintake.object_type", objectType),
			attribute.String("crmintake.cut", cut)))
	return span
}

// within begins a span for a part of a batch's way, if the batch has one.
func (t *tracer) within(batch trace.Span, name string) trace.Span {
	if batch == nil {
		return noop.Span{}
	}
	_, part := t.Start(trace.ContextWithSpan(context.Background(), batch), name)
	return part
}

// endCall ends the span of a call with what came of it.
func endCall(span trace.Span, b *attempt, class worker.Class, call *worker.Call) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("crmintake.attempt", b.ID.String()),
			attribute.Int("crmintake.inputs", len(b.rows)),
			attribute.Int("http.response.status_code", call.Status),
			attribute.String("crmintake.correlation_id", call.CorrelationID))
		if class != worker.Answered {
			span.SetStatus(codes.Error, call.ForLog())
		}
	}
	span.End()
}

// endCommit ends the span of a commit.
func endCommit(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "not committed")
	}
	span.End()
}
