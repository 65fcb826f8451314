// Command demo runs crmintake's main job end to end on this machine: NATS JetStream on file, a private Postgres, a
// simulated CRM and worker processes of its own, all started by it and gone after it.
//
// It publishes record-creation events, waits until each has its outcome, and then compares three accounts by name: what
// was published, what the outbox says, and which records exist in the simulated CRM. It exits with 0 only if they
// agree: published = created + dead, nothing lost, no record twice, each row with a record of its own, and no record
// for an event that is said to have none.
//
// The command chaos does the same for minutes while, at random moments, workers are killed, frozen beyond their lease
// and stopped, NATS and Postgres are restarted or crashed, connections are cut or held back, and the CRM answers with
// every fault of its list. Each worker that takes another's place has other settings: the id property is one of two,
// batches, calls at once and attempts are more or fewer. The database's clock steps forward and back by up to two
// minutes, or half the chaos if that is shorter, where libfaketime is installed. From the start events of a second
// object type, which an operator has paused, wait in the stream. Then everything behaves, the pause ends, what is left
// is worked off within five minutes, and the report tells beside the accounts what went wrong, which calls were
// ambiguous, how each event in doubt was settled, and how long events waited. What went wrong is seen by the workers
// and the publisher through proxies; the comparison goes by the servers themselves. Times go by this machine's clock.
//
// The command crm serves the simulated CRM alone, with deals, contacts and companies, for a worker that runs elsewhere:
// that of deploy/compose.yaml.
//
// The command soak publishes steadily for an hour at half the quota, while the CRM answers with a fault now and then,
// and watches what must not grow: the workers' memory and goroutines, their connections, the tables and their indexes.
// Created rows are removed meanwhile; their events are compared with the records alone.
package main
