// Command demo runs crmintake's main job end to end on this machine: NATS JetStream on file, a private Postgres, a
// simulated CRM and a worker process of its own, all started by it and gone after it.
//
// It publishes record-creation events, waits until each has its outcome, and then compares three accounts by name: what
// was published, what the outbox says, and which records exist in the simulated CRM. It exits with 0 only if they agree:
// published = created + dead, nothing lost, no record twice.
package main
