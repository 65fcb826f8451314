// Package hubspot is the client of HubSpot's batch create and batch read API. It implements worker.CRM, and reads what
// a property is.
//
// # Contract
//
// One method call is at most one request on the wire; nothing here retries, follows a redirect or waits. Each answer
// has one outcome for each input, aligned by index, and inputs = created + rejected + not applied + unknown. What the
// answer does not account for by name is unknown: an input is matched by its trace id, else by the value of its id
// property, and never by its position; only the one result of a lone input needs no name. Where an answer contradicts
// itself, the input is unknown. Of a read's values one is missing only if an error names it.
//
// A call without an answer was certainly not applied when no byte of its request was written (worker.Unavailable);
// the bytes are counted where they leave, in the connection. When one byte was written, it is ambiguous.
//
// After the deadline of the call's context no byte of it is written, even if the process was frozen meanwhile: the
// deadline is compared again, with the wall clock as well, before each write, and closing a connection discards what
// the kernel has not sent yet. What the network already carries can't be called back, and between the comparison and
// the system call there is an instant that nothing guards. Once a call has returned, nothing of it is written either.
//
// What an answer means for each input is the table at Client.Create, for the batch the one in classify.go, and what a
// read proves is at Client.Read. The forms of a unique value that is taken are in conflict.go. Status codes are judged
// here alone: what other packages act on is the class, the cause and the flags of worker.Call.
//
// Each error is taken apart: which property it is about, and which rule was broken, as far as it tells (detail.go).
//
// The credential appears in no error, log line, answer or String method. If an answer echoes it, "[token]" stands in
// its place (a credential of fewer than six characters is no secret, and is left). TLS is always verified; the
// system's proxies are used.
//
// A refused token (401) of which there is another one by now pauses nothing: the call is to be made again. OAuth has
// tokens made ahead of time, once for the fleet, and keeps them sealed; its comment is the contract.
//
// Answers are asked for uncompressed, and read up to Config.MaxAnswerBytes.
//
// # Where the facts come from
//
// HubSpot's published OpenAPI description of the version 2026-03, its documentation on errors and usage limits, and
// what users of its client libraries report. Where these disagree or say nothing, both answers work: bodies are
// judged by what they hold and not by their status code, members may be absent or of another type, and anything that
// does not decode is ambiguous.
//
// # Picture
//
//	Create ─► encode ─► kept connection ─► status, headers, body
//	            │        (HTTP/1.1, one call       │
//	       trace ids      at a time; it counts)    ├─ no answer ── bytes written? ── Unavailable | Ambiguous
//	                                               ├─ 2xx ── decode ── match ─────── Answered    | Ambiguous
//	                                               └─ other ─ classify, one table ── class, cause and wait
//
// HTTP/1.1 only, because a broken connection then leaves one call ambiguous, and not all that share it.
//
//	client.go, conn.go                the exchange; what is written, and until when
//	encode.go                         a request's body, and its trace ids
//	response.go, classify.go          an answer as a whole: class, cause, wait, words
//	decode.go, reader.go              an answer's body; decode_plain.go, the usual one
//	apierror.go, detail.go            an error in it, conflict.go, one that a value is taken
//	outcomes.go, match.go             what became of each input of a create
//	read.go, property.go              what a read found; what a property is
//	token.go, oauth*.go, redact.go    credentials, and how they stay out of sight
package hubspot
