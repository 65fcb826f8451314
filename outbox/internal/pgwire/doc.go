// Package pgwire executes statements with large arrays in one transaction and one round trip, as a pgx.Batch does, on
// a connection of pgx.
//
//   - All statements are written in one piece, with the commit: what stops between two would leave the server waiting
//     with locks.
//   - A connection is used again only after the server has said that it is ready.
//   - Parameters and results are in Postgres' binary format.
//
// Why not a pgx.Batch: pgx makes objects of each element of a slice, 2,700 for an intent of 100 events, and gathers all
// of a batch in a buffer that is new each time, and grows by copies of itself to some 400 KB for ten intents.
//
// All of it may be called by many goroutines at once, but a connection by one.
package pgwire
