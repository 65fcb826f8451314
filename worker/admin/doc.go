// Package admin is a worker's HTTP server for those who look after it: probes, Prometheus and people.
//
//	/livez         200 while the process goes on, whatever state NATS, Postgres and the CRM are in: a restart would
//	               help nobody
//	/readyz        200 when it can work, else 503; with why not, what is paused, and the verdict, as JSON
//	/metrics       Prometheus
//	/debug/pprof/  Go's profiles
//
// The contract:
//
//   - Listen takes the address, or says why not; Run serves until its context ends, and a second longer for answers
//     under way.
//   - On a loopback address all may ask. On any other, Config.Validate wants a bearer token or certificates of clients,
//     and /metrics and /debug/pprof ask for either; /livez and /readyz answer everybody, because a kubelet has neither,
//     and tell nothing but what is paused, broken or not there, and what to do, in words of our own.
//   - Tokens are compared in constant time. The token's file, and those of certificates, may be replaced at any time:
//     the next request, or the next connection, goes by the new ones. While certificates can't be read, those of before
//     stay in use.
//   - No answer waits for NATS, Postgres or the CRM.
package admin
