// Package local runs the parts around the worker on one machine, for demonstrations, benchmarks and tests: a NATS
// server in this process, and worker processes built from this module. A private Postgres is package pgcluster's, so
// that tests of the outbox don't link the NATS server; certificates are package pki's.
//
// The contract:
//
//   - Everything listens on 127.0.0.1 only, on ports that stay the same over a restart.
//   - What starts here ends with this process, even when it is killed: the NATS server lives in it, temporary
//     directories have a guardian that removes them, and on Linux the kernel kills the worker processes.
//   - What belongs to the caller, such as a directory given in a config, is never removed.
//   - Stop returns when all is gone. Nothing is left running in the background.
package local
