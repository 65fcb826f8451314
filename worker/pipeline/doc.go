// Package pipeline takes record-creation events from a stream, creates the records in a CRM batch by batch, and keeps
// in the outbox what became of each.
//
// # The promise
//
//  1. Nothing is lost. An event is acked only when it is durable in the outbox, and ends as one row that says what became of
//     it and keeps its bytes until its record exists.
//  2. Nothing is created twice for object types with an id property. A call that may have been applied is never repeated
//     before the CRM was asked, twice, a settle time after it. Without an id property an event in doubt is parked for a
//     person, or sent again and marked as a possible duplicate, as Config.OnUnknown says. And no row says what is not
//     so: a record that exists because of an event is never denied by its row, and no two rows claim one record. A row
//     in doubt is asked about by the id property that its call was sent with. Only what an answer names as missing,
//     twice, is believed to be so. A refusal after a doubt is asked about before it is believed; and whose a record is,
//     its properties say (rivals.go). What nothing tells is dead as outbox.UnknownOutcome, for a person. The outbox
//     keeps expanded rows from having another's record; who adopts one looks among the compact ones first.
//  3. Everything adds up. Each input of each call is created, rejected, not applied or unknown; the CRM's client says which,
//     by name, and judge.go says what that means for the row.
//  4. Throttling, pauses, a call that never left, a refusal for another input's fault and a stop use up no attempt of an event.
//  5. Of a batch that is refused as a whole with nobody named, the good inputs are created all the same: it is bisected. Never
//     so after an ambiguous answer.
//  6. No call is started whose deadline is not inside its lease.
//
// # The way of a batch
//
//	Source ─ intake ─► waiting ─ dispatch: [slot + quota token] ─► cut
//	  Decode; what is invalid                                      │ 1 intent   commit: rows `sending`, an attempt with a lease
//	  is dead, and acked                                           │ 2 ack      the events are durable here now
//	                                                               │ 3 call     deadline before the lease ends
//	                                                               │ 4 judge    each input: created, dead, retry, unknown
//	                                                               ▼ 5 outcome  commit: every row, its errors, the attempt closed
//	outbox ── due in `retry` ── claim ───────────────────────────────► from 3 on
//	       ── due in `unknown` ─ claim ─ read by id property ────────► from 4 on
//	       ── lease ran out ──► `unknown`
//
// The files follow it; each stage is a type of its own, named as its file or nearly so:
//
//	intake.go       takes events in hand            dead_letters.go  keeps those that are never sent
//	waiting.go      fresh events, by object type    due.go           what is due in the outbox
//	plan.go         what is sent next               dispatch.go      starts the call
//	attempt.go      intent, ack; then the call      claim.go         the same for rows that are due
//	call.go         token, lease and call           outcome.go       commits what became of each row
//	judge.go        what an answer means for a row  feedback.go      and for other calls; breaker.go: mass rejection
//	bisect.go       splits what was refused         hunt.go          an input that seems to be its object type's fault
//	reconcile.go    asks about rows in doubt        rivals.go        whose record it is; alike.go
//	acks.go         answers the stream              pause.go         begins and ends pauses
//
// Beside it, once a second: follow.go (pauses and what else people write), maintenance.go, rescuer.go (leases that ran
// out), park.go (rows in doubt that nothing can be asked about), aged.go (what becomes too old in a pause), replay.go;
// and cleaner.go (retention). retry_write.go repeats what fails in the database. How it goes is in metrics.go, health.go
// and trace.go; self.go is what package fleet is given of this worker.
//
// Where the outbox lost commits (a backup was restored), an event without a row may have been sent: until a time that a
// person sets (lost.go) what is new goes from intake to `unknown`.
//
// # Who owns what
//
// Run starts a goroutine each for intake, dispatch, pauses, maintenance, retention, acks and the fleet's metrics, and
// one for each call. What they share is in parts (worker.go). Each part that changes has a lock of its own:
//
//	internal/inflight  what is in hand: memory, and the ack deadlines of what is not acked
//	internal/pauses    which calls may be made: pauses, backoff, windows, and what the breaker counts
//	internal/limiter   this worker's part of the quota
//	waiting, dueList   what is there to be sent
//
// Nobody asks one part while he holds another's lock, and nobody waits for an answer while he holds one: acks and their
// like are written to the stream's client, which buffers them. A stage asks one part after the other. What changes in
// between, it sees when it asks again: a call's pauses and backoff are looked at when it is planned, begun, and given
// its token. Whoever changes what intake or dispatch wait for wakes them afterwards (parts.wakeUp); a wake before the
// wait is kept.
//
// Three contexts order a stop: the first ends intake and dispatch, the second cuts off calls, the third gives up on
// commits. Whatever a worker still holds when it ends, however it ends, is delivered again by the stream or found by
// its lease.
//
// # The quota
//
// A call of any kind has a token of the fleet's (outbox.Quotas.Take), and begins at the token's time. internal/limiter
// is this worker's part of it: one queue for all that want a token, in which reads of what is in doubt go first. It
// asks for up to four at once, as many as there are full batches, and has a batch cut as long before its time as
// intents have lately taken. A call that is not ready in time gives its token back and takes another. Fresh events and
// those that are to be sent again take turns; so do object types. While the quota limits, full batches go first: events
// of a rare object type wait for theirs to fill up for two windows at most, and few rows that are due for one.
//
// Headers, refusals and the day's count are the outbox's to judge. A 429 that the headers explain, because others use
// the account, holds nobody: the next tokens are fewer. Any other refusal holds this worker for as long as the answer
// asks, and the fleet from its next tokens on; a person can end that. When the day's calls are used up, everything
// pauses until midnight.
//
// Package fleet says how many workers would help: one, where the quota limits.
//
// What breaks first with many workers, accounts or machines: deploy/SCALING.md.
//
// # Where this differs from what one might expect
//
//   - An event whose object type is paused goes back to the stream, once, and is not fetched until a trial or the
//     pause's end: from the first pause on the source fetches object types apart from each other. Where it can't,
//     because the stream is no work queue or rights are missing, what is paused goes back for half a minute at a time,
//     as long as the stream has events of others as well.
//   - A trial of a breaker's pause is a batch, and judged by what becomes of its inputs; that of any other is one event,
//     and judged by whether the CRM looked at it. So is the first call after each hold for failures, and all others
//     wait for its answer: an outage of the CRM leaves in doubt what was under way when it began, and one event a
//     trial. A trial that was not applied leaves no attempt behind.
//   - Of an object type that has created nothing yet one call at a time is under way, so that the breaker is in time,
//     and after a call whose inputs were all rejected one of few events: what one worker has dead then is a batch and
//     about what trips the breaker. What is under way can't be called back: of an object type that went well until then,
//     some Config.InFlight batches may be dead besides.
//   - What the database refuses for its content (SQLSTATE classes 22, 23 and 54) is no outage: it is logged as that,
//     and given up after a second or two, but for an outcome, which is tried until its lease is lost.
//   - A 403 or 404 pauses its object type only if no others of the type were answered lately; else it is taken for the
//     fault of an input, which splitting finds.
//   - A call that met a refused credential of which another one is there by now was not applied, and pauses nothing.
//   - Attempts and age bound every way of sending an event again, doubt included; what counts is in judge.go. Age
//     counts on while calls are paused: what is too old then is dead without a call.
//   - When the database was away for longer than a lease, no lease is taken for run out before the workers that are
//     alive had the time to commit what their calls came to: 20 seconds after a failure that this worker saw, 10 after
//     a start of the database. Failures that go on while the database answers put it off for a minute at most.
//   - Rows in doubt become `unknown` first, and are parked or sent again from there: one place does it, for calls
//     without an answer as for workers that died.
//   - A database's clock that is set forward by more than a lease ends the leases of calls that are under way: they are
//     asked about, and after a settle time sent again, while the first may be applied still. The CRM's unique value
//     keeps the records one. It can't where the id property was changed at the same time: then an event may have a
//     record by each.
//   - Events in doubt with the same unique value ask for the same record. It is the one's whose properties it holds, as
//     they are read back, all that it sent and more than any other; if that does not tell, a person decides. So
//     properties that the CRM rewrites beyond case, white space and the form of numbers, times and options count
//     against an event.
package pipeline
