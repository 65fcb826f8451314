// Package fleet is what all workers tell each other, and what one worker knows of all.
//
// # The contract
//
//   - A worker reports once a second that it is there, what it could do, and what is in its way (Member.Heartbeat). No
//     lease hangs on that: it is for people and for counting.
//   - With Config.Metrics set, it takes a snapshot of the stream, the outbox and the fleet every ten seconds
//     (Member.Run). A part that can't be had leaves the others alone, and its figures as they were.
//   - Sight and Verdict ask nobody: they are the last snapshot, with what this worker meets itself at this moment. So
//     they answer at once, whatever state the servers are in.
//   - Autoscale counts the workers that are wanted: as many as would work the backlog off within Target, or as fast
//     as the quota allows. At the quota's limit that is one.
//
// # Who calls what
//
// The pipeline makes a Member, and tells it what became of calls (Answered, Committed). The rest the Member asks of the
// pipeline, by Self. All methods may be called by many goroutines at once, Run once.
//
// # The parts
//
//	report.go     what this worker says of itself: its trouble with the CRM, how long calls take, its heartbeat
//	snapshot.go   how stream, outbox and fleet stand
//	autoscale.go  how many workers would help
//	sight.go      the verdict's view: the snapshot, brought up to now
//	metrics.go    the figures of the fleet, alike from each worker of it
//
// Times of the database's are by its clock, which a snapshot carries; what a worker says of itself is moved to that
// clock when it is read (outbox.Told.By).
package fleet
