// Package worker takes record-creation events from a stream, creates the records in a CRM batch by batch, and keeps in the
// outbox what became of each.
//
// # The promise
//
//  1. Nothing is lost. An event is acked only when it is durable in the outbox, and ends as one row that says what became of
//     it and keeps its bytes until its record exists.
//  2. Nothing is created twice for object types with an id property. A call that may have been applied is never repeated
//     before the CRM was asked, twice, a settle time after it. Without an id property an event in doubt is parked for a
//     person, or sent again and marked as a possible duplicate, as Config.OnUnknown says.
//  3. Everything adds up. Each input of each call is created, rejected, not applied or unknown; the CRM's client says which,
//     by name, and judge.go says what that means for the row.
//  4. Throttling, pauses, a call that never left, a refusal for another input's fault and a stop use up no attempt of an event.
//  5. Of a batch that is refused as a whole with nobody named, the good inputs are created all the same: it is bisected. Never
//     so after an ambiguous answer.
//  6. No call is started whose deadline is not inside its lease.
//
// # The way of a batch
//
//	Source ─ intake ─► batcher ─ dispatch: [slot + quota token] ─► cut
//	  Decode; what is invalid                                       │ 1 intent   commit: rows `sending`, an attempt with a lease
//	  is buried and acked                                           │ 2 ack      the events are durable here now
//	                                                                │ 3 call     deadline before the lease ends
//	                                                                │ 4 judge    each input: created, dead, retry, unknown
//	                                                                ▼ 5 outcome  commit: every row, its errors, the attempt closed
//	outbox ── due in `retry` ── claim ──────────────────────────────► from 3 on
//	       ── due in `unknown` ─ claim ─ read by id property ───────► from 4 on
//	       ── lease ran out ──► `unknown`
//
// The files follow it: intake.go, dispatch.go (what is sent next, and when), send.go, claim.go, bisect.go, resolve.go (reads, and what an
// answer teaches), judge.go, pause.go and gates.go, house.go (what is done once a second, and how writes are repeated),
// retention.go (created rows go in the end).
//
// # Who owns what
//
// Run starts a goroutine each for intake, dispatch, house-keeping and what is in hand, and one for each call. What they share is
// under Worker.mu, and nothing waits for an answer while holding it: acks and their like are written to the stream's client, which
// buffers them. Three contexts order a stop: the first ends intake and dispatch, the second cuts
// off calls, the third gives up on commits. Whatever a worker still holds when it ends, however it ends, is delivered again
// by the stream or found by its lease.
//
// # Where this differs from what one might expect
//
//   - An event whose object type is paused goes back to the stream for half a minute at a time. So a pause may end a little
//     before its events come again.
//   - Attempts and age bound every way of sending an event again, doubt included; what counts is in judge.go.
//   - When the database was away for longer than a lease, no lease is taken for run out before the workers that are alive had
//     the time to commit what their calls came to: 20 seconds after a failure that this worker saw, 10 after a start of the database.
//   - Rows in doubt become `unknown` first, and are parked or sent again from there: one place does it, for calls without an
//     answer as for workers that died.
//   - Two events that claim the same unique value ask for the same record. Which of them made it can't be told by reading.
package worker
