// Package test checks what is in deploy by the code that reads it in production, as far as that is possible without a
// container engine, a cluster and a Grafana. It is a module of its own, so that none of this code is among the
// program's dependencies.
//
// deploy/check runs it, and other tools beside it. What is checked:
//
//   - The Dockerfile is BuildKit's to parse. Its build is done as it says, on the files that its ignore file leaves,
//     and what comes out runs alone in an empty root, as a user that the machine doesn't know.
//   - The compose file is loaded by Compose's own loader; what it mounts and builds is there.
//   - The chart is rendered by Helm with its defaults and with everything on. Each manifest has only fields that its
//     Kubernetes type has. KEDA's own code compiles the scaling formula, and it gives what it should.
//   - Every environment variable that is set anywhere is one of the program's.
//   - Every command of the runbook is one that the program takes, and every alert has its entry there.
//   - The snippet for Node in worker/event/README.md runs on what npm installs.
//   - Every command that check and init print about a stream or a consumer is typed, with the real natscli: by a test
//     of cmd/crmintake with the build tag natscli.
//   - Every query of the dashboard, of the alerts and of the scaling is run by a real Prometheus that scrapes a real
//     worker, and what it selects is there.
//   - Events that CloudEvents' own SDK publishes become records, in both modes.
package test
