// Package inflight bounds what a worker has in hand, and keeps the stream from delivering it again.
//
// An event is in hand from its arrival until its outcome is committed, and counts towards Config.Memory for as long.
// Until it is acked or given back, its ack deadline is extended, so that the stream does not deliver it to another
// worker meanwhile.
//
// The memory is shared out: a quarter is for rows that are claimed from the outbox, the rest for events from the
// stream. So neither can keep the other from being sent, and both together stay within the bound. Each event counts
// twice, as it came and as it is sent, though the two may be the same bytes.
//
// All sizes are bytes. All methods may be called by any goroutine at any time, but for Changed, which has one reader.
package inflight
