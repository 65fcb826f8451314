package worker

import (
	"context"
	"net/textproto"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Traces have a span for each batch, which links to the spans that its events were published in, and within it one for each thing
// that a batch waits for: intent, calls, outcome. Without Config.Tracer nobody reads a header, and nothing here does anything.

// PublisherOf finds the span that a message was published in by its headers, as W3C's trace context has it. nil means that they
// tell none.
func PublisherOf(header func(name string) string) *trace.SpanContext {
	span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers(header)))
	if !span.IsValid() {
		return nil
	}
	return &span
}

// headers are read by a propagator.
type headers func(name string) string

// Get implements propagation.TextMapCarrier. Names of NATS headers know cases, and publishers write either.
func (h headers) Get(name string) string {
	if value := h(name); value != "" {
		return value
	}
	return h(textproto.CanonicalMIMEHeaderKey(name))
}

// Set and Keys implement the rest of it; nobody calls them.
func (headers) Set(string, string) {}
func (headers) Keys() []string     { return nil }

// beginBatch begins the span of a batch; nil means that there is none.
func (w *Worker) beginBatch(objectType, cut string, items []*item) trace.Span {
	if w.cfg.Tracer == nil {
		return nil
	}
	var links []trace.Link
	for _, i := range items {
		if i.Publisher != nil {
			links = append(links, trace.Link{SpanContext: *i.Publisher})
		}
	}
	_, span := w.cfg.Tracer.Start(context.Background(), "batch", trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(attribute.String("crmintake.object_type", objectType), attribute.String("crmintake.cut", cut)))
	return span
}

// within begins a span for a part of a batch's way, if the batch has one.
func (w *Worker) within(batch trace.Span, name string) trace.Span {
	if batch == nil {
		return noop.Span{}
	}
	_, part := w.cfg.Tracer.Start(trace.ContextWithSpan(context.Background(), batch), name)
	return part
}

// endCall ends the span of a call with what came of it.
func endCall(span trace.Span, b *batch, class Class, call *Call) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("crmintake.attempt", b.attempt.ID.String()), attribute.Int("crmintake.inputs", len(b.rows)),
			attribute.Int("http.response.status_code", call.Status), attribute.String("crmintake.correlation_id", call.CorrelationID))
		if class != Answered {
			span.SetStatus(codes.Error, call.forLog())
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
