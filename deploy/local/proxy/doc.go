// Package proxy stands between a program and the servers that it talks to, for tests and chaos: it breaks and holds
// back connections, and sees what goes over them.
//
// The contract:
//
//   - A Proxy listens on 127.0.0.1, on a port that stays the same until Close. It opens a connection to the target for
//     each that it accepts; when one of the two ends, so does the other.
//   - Bytes pass unchanged and in order, or not at all. Nothing is forwarded on a connection that was cut.
//   - Pause holds back all traffic, ends of connections included: a partition, as neither side is told anything. Resume
//     lets everything pass that was held back.
//   - StartPostgres and StartNATS call hooks with what they see, before it is passed on. A hook that returns false
//     drops the connection: what it was shown does not pass. While a hook runs, its direction of its connection is held
//     up, and nothing else; so hooks run on many goroutines at once, and may call any method of the Proxy but Close.
//   - Close breaks all connections and returns when nothing runs any longer. Hooks must return for that.
//
// Without TLS only: the protocols are read as they pass.
//
//	program ──► accept ──┬── forth: read, hook, gate, write ──► target
//	        ◄────────────┴── back:  write, gate, hook, read ◄──
package proxy
