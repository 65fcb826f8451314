// Package crash has no code, only the proof of what is promised about crashes: its tests.
//
// A real worker process works on two batches. At one moment of the second it is killed (SIGKILL), just there: proxies
// before Postgres and NATS and a wrapper around the simulated CRM see the traffic, and hold it up until the process is
// dead. What is left is looked at, then another worker drains stream and outbox, and the end is looked at event by
// event. The program has no hooks for this.
//
//	Killed after                        What is left                     With id property   Parked            Resent
//	pull                                unacked messages                 created            created           created
//	pull, intent sent, not committed    unacked messages                 created            created           created
//	intent, its answer not delivered    rows `sending`, unacked          created            dead, no record   created, marked
//	ack, call not applied               rows `sending`                   created            dead, no record   created, marked
//	call sent and applied, no answer    rows `sending`, records          created            dead, a record    created twice, marked
//	answer read, outcome not committed  rows `sending`, records          created            dead, a record    created twice, marked
//	outcome, its answer not delivered   all done                         created            created           created
//
// In a bisection, one event of the second batch being wrong (dead, rejected, where the others are created):
//
//	one half split off, no call of it   rows `sending`                   created            dead, no record   created, marked
//	between two calls, the rest of it   rows `sending`                   created            dead, no record   created, marked
//	a half's call applied, no answer    rows `sending`, records          created            dead, a record    created twice, marked
//
// While the CRM is asked what became of a call that broke off, applied or not: the rows stay `unknown`, the read has
// concluded nothing, and in the end each event has one record.
//
// Where it does not say otherwise, a created event has exactly one record. Parked and Resent are object types without
// id property, dead means unknown_outcome, marked means possible_duplicate.
//
// Beside the table: a worker that is frozen (SIGSTOP) beyond its lease, and an intent whose answer is held back beyond
// it.
package crash
