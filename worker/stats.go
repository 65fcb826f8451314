package worker

import "sync/atomic"

// Stats count what a Worker has done since it was made.
type Stats struct {
	Received   atomic.Int64 // messages from the stream
	GivenBack  atomic.Int64 // of these, returned to it
	Duplicates atomic.Int64 // of these, already in the outbox
	Calls      atomic.Int64
	Created    atomic.Int64 // events whose record is known
	Dead       atomic.Int64
	Retried    atomic.Int64 // outcomes that wait for another call
	Unknown    atomic.Int64 // outcomes that nobody knows yet
	Removed    atomic.Int64 // created rows that were kept for long enough
}
