// Package worker has the contracts between the parts that take record-creation events from a stream to a CRM: the Event
// and its place in the stream, the Source that delivers it and the Message that answers for it, the Input that is sent
// of it, and the CRM with its answers. It does nothing by itself, and imports only the standard library.
//
//	worker/jetstream ── Source ──► worker/pipeline ── CRM ──► worker/hubspot
//	                                 │        │
//	                       worker/event      outbox
//
// What an event is known by and what is sent of it says package event; how a batch goes its way, package pipeline.
package worker
