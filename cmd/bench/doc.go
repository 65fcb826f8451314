// Command bench measures crmintake on this machine, side by side with the floor: the same pull, call and one insert of each
// result, without intent, retry or accounting, which is what the machine could do for somebody who does not care. The
// figures of one run of it can be compared with each other; those of two machines, or of two hours, can't.
//
// Each part is a process of its own, so that its CPU time is known: NATS with JetStream on file, Postgres with its default
// durability, a simulated CRM without quota, and the worker. Events are published before the clock starts. It stops at the
// last commit, by the database's clock, which is this machine's.
package main
