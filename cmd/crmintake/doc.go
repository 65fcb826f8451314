// Command crmintake takes record-creation events from NATS JetStream, creates the records in a CRM in batches, and
// keeps in Postgres what became of each event.
//
// This package is the command line and nothing else: it reads flags and the environment, puts the parts together, and
// prints. main returns what execute returns, and tests call execute as main does. Each command is a struct whose fields
// are its flags and whose Run does the work, in a file of its name: dead_edit.go is 'crmintake dead edit'. The others:
//
//	internal/flags                      flags that several commands share, and the environment
//	internal/view                       tables, times and numbers for people, JSON for programs
//	cli.go, help.go, completion*.go     the command line: commands, exit codes, help, a shell's completion
//	session.go, database.go             a person at the outbox; the outbox, opened, with a schema that fits
//	change.go, undecided.go             plan, show, ask, do: what every command does that changes events
//	connect.go, readiness.go, admin.go  a worker's start, and what is seen of it from outside
//	traces.go, redact.go                what leaves the program, and what does not
//
// The contract:
//
//   - A flag has an environment variable, CRMINTAKE_ and its name in capitals; what makes a change bigger has none
//     (flags.Environment). A variable that is empty is not given; one that begins with CRMINTAKE_ and is no flag's is
//     an error.
//   - Exit code 0: done. 1: failed, and trying again may help. 2: wrong usage or settings; nothing was done.
//   - run waits for Postgres and NATS for as long as it takes, at its start as later on (connect.go), and says so once.
//     What waiting can't mend is an error, as for the other commands, which don't wait. Told to stop meanwhile, it ends
//     with 0.
//   - run's admin endpoints are there before the servers are that it waits for, and until all it did is done. Who may
//     ask is package admin's to tell; readiness.go is what they show.
//   - Results go to standard output, for people or with --output json for programs; logs and errors go to standard
//     error.
//   - An error is printed once, says what to do, and holds no credential. TestNoSecretIsTold runs every command with
//     marked ones.
//   - A file with a secret is read again at the next connection or call (flags.Secret). Beside its value's flag it is
//     an error.
//   - Logs hold no property's value; what is shown holds none with --redact (redact.go).
//   - The program links neither a NATS server nor the simulated CRM.
package main
