// Package outbox keeps, in Postgres, what became of each event: one row per event, one per call, and every error as received.
//
// The contract:
//
//   - What Intend, Bury, Claim, Split and Settle return without error is durable.
//   - Each of them may be called again with the same attempt after an error, and then finishes what the first try did or
//     didn't do: a commit whose answer was lost is found and not made twice.
//   - A row under an open attempt belongs to it. Once the attempt's lease has run out, Expire closes it and makes its rows
//     `unknown`; a Settle that comes later returns ErrLeaseLost and changes nothing.
//   - Leases and schedules are by the database's clock.
//   - The way from `sending` to `created` is one insert and one HOT update.
//   - Attempts are locked before their rows, and rows are inserted in the order of event ids: no deadlock between workers.
//
// The way of a row:
//
//	Intend ─► sending ─► created
//	Claim ──►    │  ├──► retry ───► Claim
//	             │  └──► dead
//	   Expire or Settle ► unknown ─► Claim(Unknown) ─► created | retry | dead
//	Bury ───► dead
//
// All methods of Store may be called by many goroutines and processes at once.
package outbox
