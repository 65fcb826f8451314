// Command bench measures crmintake on this machine. The figures of one run of it can be compared with each other; those
// of two machines, or of two hours, can't.
//
//	compare   side by side with the floor: the same pull, call and one insert of each result, without intent, retry or accounting,
//	          which is what the machine could do for somebody who does not care; and with any other system. The floor is as
//	          fast as we could make it: it too commits what is there at once together, and its calls are the same ones
//	latency   from an event's publishing to the commit of its outcome, at several rates
//	growth    with an empty outbox and with one of millions of created rows, while retention removes them as fast as it ever does
//	start     from the start of the program to its first call
//	paused    what a paused object type whose events wait costs the others, beside nothing paused
//	publish   what it costs publishers that the server syncs before it confirms (sync_interval: always)
//	plot      draws the JSON of compare or growth
//
// Each part is a process of its own, so that its CPU time is known: NATS with JetStream on file, Postgres with its
// default durability, a simulated CRM without quota, and the worker, built as for production. Where speed is measured,
// events are published before the clock starts. It stops at the last commit, by the database's clock, which is this
// machine's.
//
// A worker's peak memory is its resident set's, in which the mapped pages of its own program count. What is anonymous
// is the memory that is its own alone, heap and stacks, the most that was seen of it, twenty times a second.
//
// bench quota measures something else: how much of an account's quota of calls a fleet of real worker processes uses,
// with a backlog of several object types, and how many calls are refused. Only what the simulated CRM sees counts; it
// enforces the rolling window on requests that were under way for a random time, as network has it. The last run has
// another app beside the fleet, which calls at random moments; nobody tells the fleet but the quota's headers.
package main
