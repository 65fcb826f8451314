// Package pgcluster starts a private PostgreSQL server that ends with the process that started it.
//
// The contract:
//
//   - Start returns when the server accepts connections on 127.0.0.1, on a free port, with a random password. Nothing
//     listens anywhere else, and no Unix socket is made.
//   - The server and its directory go away with Stop, and also when this process exits without it, panics, is
//     interrupted or is killed with SIGKILL. Only the death of the machine or of the guardian below leaves something
//     behind.
//   - What initdb makes is kept in the user's cache directory, and copied for the next cluster.
//   - The server is the installed one, else one that package download gets.
//   - A Ctrl-C on the terminal reaches this process alone, so that it can still write its last results.
//   - PostgreSQL refuses to run as root. As root, all of it runs as user postgres, or nobody if there is no such user.
//   - Restart, and Kill with StartAgain, keep the data, the port and the password.
//   - With Config.Faketime the server has a clock of its own, which steps when SetClock says so, also while it runs.
//   - Standby is a server of its own that follows a Cluster, until it is promoted.
//   - StartPooler's PgBouncer stands in front of a server, and goes away as a Cluster does.
//
// How the server is tied to us:
//
//	this process ──pipe──► guardian (sh, session of its own) ──► postgres ──► its children
//	     ▲                     │
//	     └── started, ended ───┘
//
// The guardian reads commands from the pipe. We hold the only write end, and the kernel closes it however we die. At
// end of file the guardian shuts postgres down, at first fast, after 10 s immediately, after 15 s with SIGKILL, and
// removes the directory. Stop does no more than close the pipe and wait, so that the usual way and the way after a
// crash are one.
//
// Without Durable the server forgets what it committed in the last moments if it crashes: that is the price of
// synchronous_commit=off, and the setting for tests that only want speed. A test that kills the server and counts rows
// afterwards needs Durable, or synchronous_commit=on in Settings, which is enough as long as the machine itself lives
// on.
package pgcluster
