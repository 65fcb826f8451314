// Package jetstream is the source of events: a durable pull consumer on NATS JetStream.
//
// The contract, beyond worker.Source's:
//
//   - Each fetch is a pull request of its own that lives for a second. So a consumer can't stay silently stale after a
//     reconnect, and nothing is on its way to this process for longer than that when it stops.
//   - A message becomes an event whatever is in it: what can't be sent is marked invalid and goes the same way.
//   - Acks do not wait for the server. One that is lost costs a redelivery, which the outbox recognises.
//   - A lost server is waited for as long as it takes; the loss is logged once, and the recovery once.
package jetstream
