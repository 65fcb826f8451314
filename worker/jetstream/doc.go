// Package jetstream is the way to and from NATS JetStream: the source of events, which is a durable pull consumer, or
// one for each object type; the creation of stream and consumer; and a publisher.
//
//	Publisher ──► stream (file, work queue) ──► consumer (pull, explicit acks) ──► Source ──► worker.Event
//	              └─────────────── Init creates, Open checks ───────────────┘
//	                                 └──► a lane for each object type ──►┘  from a pause until the stream is empty
//
// Where it happens:
//
//	connect.go, auth.go                     the connection: how it is proven, lost and restored
//	init.go, check*.go, advice.go           what Init creates; what Init and Open find odd; what to type about it
//	source.go                               Source, and the view of the server that its parts share
//	fetch.go → pull.go → message.go         which consumer is asked; one request; an event and its ack
//	control.go                              messages that are no events: schedules and markers
//	lanes.go, split.go                      the lanes and their turns; how they are made and go
//	stranded.go                             what no consumer will deliver
//	durability.go                           whether a power loss takes what was confirmed
//	find.go                                 an event in the stream, by its id
//	publish.go → publish_confirm.go         what is sent; what was confirmed
//	publish_compare.go, publish_resend.go   what the stream calls a duplicate; what is sent again
//
// Fetch belongs to one goroutine, and so do fetcher, reader and lanes. The view only asks, and may be used by many at
// once. So nothing here needs a lock.
//
// The contract of Source, beyond worker.Source's:
//
//   - Each fetch is a pull request with an inbox of its own that lives for a second. So a consumer can't stay silently
//     stale after a reconnect, and no request outlives its fetch: one that ends early is withdrawn, and what the server
//     has sent on it until then is delivered. The client's own Fetch drops such messages, which then come again only
//     after the ack wait; and it does not tell a message that is larger than the bytes asked for from no message.
//   - A message becomes an event whatever is in it: what can't be sent is marked invalid and goes the same way. One
//     that is larger than the bytes that are left is delivered alone, so nothing gets stuck.
//   - Acks do not wait for the server. One that is lost costs a redelivery, which the outbox recognises.
//   - A lost server is waited for as long as it takes; the loss is logged once, and the recovery once. Meanwhile no
//     requests pile up.
//   - What is restricted is not fetched: from the first restriction on, object types have consumers of their own, the
//     lanes, which are asked in turn, and waited for together. The fleet sees by the shared consumer's filter which way
//     it is. What is delivered twice at the change is what was in hand.
//   - What a consumer has passed over, and will never deliver, is found by comparing it with the stream, and on a work
//     queue delivered by new lanes: in place of the shared consumer, or of the lane that has passed it over. After a
//     crash of the server that may be a message that was acked. What comes and goes meanwhile is not taken for it.
//   - What is no event is not delivered: a schedule stays in the stream unacked, for an ack cancels it; markers are
//     acked.
//   - A consumer or stream that disappears is an error with what to type. Created again, it is used again.
//
// Auth is every way to prove who we are and to know who they are. Its files are read again at each connection; none of
// it is in an error or a log.
//
// Init creates and never alters; Source makes and removes lanes, and changes the shared consumer's filter. Init and
// Open check what they find by the same rules: what would lose or misread events stops them, what the stream alone may
// lose is a warning, and each has what to type, which a test of cmd/crmintake types.
//
// The Publisher has its confirmations in the order of publishing, so that "up to line 7" is a promise. It sends again
// only what can't be stored twice for that.
package jetstream
