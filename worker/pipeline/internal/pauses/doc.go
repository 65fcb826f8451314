// Package pauses decides which calls may be made. It decides from what its caller has seen, and asks nobody: what the
// database and the CRM say is written and read above it.
//
//	Set        the pauses of object types and of the account, as this worker knows them, and who may try whether they are over
//	Backoff    the waits for a CRM that is down, or that asked for fewer calls
//	Windows    how many create calls of an object type may be under way, so that the breaker is in time
//	Successes  the inputs that were not rejected, which the breaker has to hear of
//	Reads      how often events in doubt are asked about while the CRM refuses that
//	Suspects   the inputs that may be at fault for a refusal in words about their object type
//
// Each has a lock of its own, and all of their methods may be called by any goroutine at any time. Where a change lets
// calls be made that could not be made before, its method reports so, or its comment says so: the caller wakes who
// waits for that.
package pauses
