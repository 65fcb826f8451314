// Package outbox keeps, in Postgres, what became of each event: one row per event, one per call, and every error as
// received.
//
// The contract:
//
//   - What Intend, InsertDead, Claim, Split, Settle and Park return without error is durable. An error of any of them means
//     that all of it happened or nothing did.
//   - Intend, InsertDead, Claim, Split and Settle may be called again with the same arguments after an error, and then finish
//     what the first try did or didn't do: a commit whose answer was lost is found and not made twice. That holds too
//     while the server is still at the first try.
//   - Only an event that Intend found Inserted may be sent. No event is Inserted twice, whoever asks and however often, but
//     when it is claimed again after `retry`.
//   - An event's id with other content is Reused, and never taken for the event, for as long as the row stays.
//   - An event that an older program kept under another id is a Duplicate of that row when the same message comes
//     again: it stands at the same place, and was published before the row was made, by clocks within three minutes of
//     each other (former.go).
//   - A row that is in a call or a read belongs to one open attempt, which names it: it is not due, and nobody else
//     claims it. Once the attempt's lease has run out, Expire closes it and makes its rows `unknown`, due at once; a
//     Settle that comes later returns ErrLeaseLost and changes nothing. A read that expires costs its rows nothing.
//   - An attempt is closed with a word about each of its rows or not at all, and its counts add up to the rows that it
//     began with: the database refuses anything else.
//   - `attempts` grows with a `created` or Counted settlement of a call and with a call's expiry, never with a read.
//     `in_doubt` and `possible_duplicate` are never taken back. `misses` begins at 0 whenever a row becomes `unknown`.
//   - A row that becomes `unknown` keeps by what it is asked about: the id property that its attempt was sent with, or
//     the id of a record that an answer named, and the value of that where it is not the event's id. Settings that
//     change later change nothing of it. Claim takes together only rows that are asked about by the same; `misses`
//     grows with a proof that there is no record, `untold` with a question that brought nothing.
//   - One record, one row. A unique index keeps an expanded row from having another expanded row's record (ErrRecordTaken).
//     Those of compact rows stand in their attempts, where no index finds them: who adopts a record, or was in doubt,
//     looks there first, by the record's time (Claimed), within three minutes of which the workers' clocks and the
//     CRM's have to be. To enforce it for compact rows too, by a table of all records, cost 8% of the speed, 32% of
//     Postgres' CPU and 54% more WAL; to index the attempts' arrays, 33% more WAL (medians of four pairs of runs, side
//     by side). So a CRM that names one record in two answers that go well is not found out.
//   - A dead row has the fingerprint of why: the same for all of its object type, reason and cause, by which people
//     group them.
//   - EndAged and GiveUp end `retry` and `unknown` rows that are in no call, and no others. A row whose record may
//     exist is never `exhausted` by it.
//   - Doubt makes `retry` rows `unknown`, whose last call the outbox may know nothing of, because it lost commits. It
//     takes no row that is in a call. Accept keeps events in doubt that never had a row here, without a call.
//   - SendAgain takes dead rows that are as they were seen, and no others: what was edited or replayed in between is
//     left alone. A row's `attempts` go on growing; what bounds them, and its age, count from its last replay.
//   - Leases, schedules and the quota are by the database's clock. When that is set back, the quota goes on as if no
//     time had passed; set forward, it takes what is less than a window old for older.
//   - Take grants tokens for times such that no window of the CRM's holds more than the quota, whoever calls, as long
//     as each call begins from its token's time to Grant.Late after it and no two ways to the CRM differ by more than
//     that; quota_ledger.go says how. A token that is not used is worth nothing after that, and is made up for once it
//     is given back; those of a worker that dies (four at most) are lost. An eightieth of the quota is what the margin
//     costs.
//   - What answers tell of the quota is kept for all: a smaller limit at once, calls of others as they come and go,
//     refusals that nothing explains by fewer calls, a tenth of the quota more in each window after. It takes effect
//     with the next tokens: those that are granted (for the next half second, and what a call takes to get ready) stay.
//   - The way from `sending` to `created` is one insert a row, no update of it, and one update of one row for all of a
//     batch: for events that were not there before and whose record has an id and a url and nothing else to keep.
//     Intend and Settle are one round trip each, and so is Claim.
//   - A row is compact or expanded. A compact one stands as its attempt does, and the attempt has its payload, and later its
//     record id, at its place. Rows are expanded before anything else becomes of them, and stay so. The view `outbox`
//     shows both alike.
//   - No call's cost grows with the number of rows, whatever the planner believes about the tables (see plannerSettings).
//   - Follow tells every outcome that is committed while it runs. Only meanwhile do closed attempts keep the ids of
//     their rows for it.
//   - Sweep removes nothing but created rows that are old enough, their errors and edits, and attempts that no error
//     names and no compact row stands by (what an error names loses only its arrays); an event whose row went so is a new
//     one when it comes again.
//   - A pause is one row for each object type, or Account. One without a trial is a person's: no worker's Pause,
//     Prolong, Try, TryNow or Resume touches it. Weigh and Dilute cost a few rows that they remove themselves, and
//     nothing while nothing is rejected (breaker.go).
//   - ChangeSecret keeps what it is given as it is: sealing it is its caller's (credential.go). Beside the role that
//     migrated it, only crmintake_worker may read the table.
//   - Transactions are read committed and commits durable, whatever the role or the server says, and also behind a
//     pooler that gives each transaction another session: nothing of ours is left there (session.go, pool.go).
//   - No standby says that nothing is left to do. A worker's connections are to a server that takes writes.
//   - Payloads and raw errors come back byte for byte. In texts, NUL and what is not UTF-8 becomes U+FFFD.
//   - Attempts are locked before their rows, rows are inserted in the order of event ids, and what is due is taken past
//     what is locked: no deadlock between workers.
//   - A lock that somebody holds on a batch, or on an event that is to be sent, keeps that batch waiting and no other
//     of its worker (group.go). What a machine holds that fails in the middle of a transaction is free half a minute
//     later (session.go).
//
// The way of a row:
//
//	Intend ─► sending ─► created
//	Claim ──►    │  ├──► retry ───► Claim
//	             │  └──► dead
//	   Expire or Settle ► unknown ─► Claim(Unknown) ─► created | retry | unknown | dead
//	                              └► Park ─► retry | dead
//	                  retry, unknown ─► EndAged | GiveUp ─► dead
//	                  retry, unknown ─► Doubt ─► unknown
//	Accept ─► unknown
//	InsertDead ► dead ─► SendAgain ─► retry | unknown
//
// Why a fresh row is compact: an intent and an outcome cost Postgres 6.4 µs an event so, where a row that has its
// payload and is updated, even HOT, costs 11.4, and 590 bytes of WAL instead of 690 (measured side by side, in
// transactions of 500 events). Cheaper still would be intents without rows; but it takes a unique key for each event to
// know one that comes again.
//
// The payloads of a batch are compressed together while its call is under way: an event has 340 bytes of WAL so, and
// 600 as it is, and costs Postgres 0.8 µs less (events of 300 bytes that are alike but for their values; with random
// values 410, and 0.3 µs).
//
// Why parameters and pipelines are written here and not by pgx: see internal/pgwire. Intents and outcomes
// go that way, which each event takes; all else is pgx's.
//
// All methods of Store and its parts may be called by many goroutines and processes at once.
package outbox
