// Package migrations holds the schema, as numbered SQL files that go both ways, and applies them; and the roles that
// may use it.
//
// Up may be called by many processes at once: a Postgres advisory lock lets one at a time through, and the others find
// the work done. It works through a pooler as well, and wants two connections there. Each migration is one transaction.
// "migrate up" comes before a new version is rolled out, and workers of the version before go on meanwhile, and beside
// the new ones.
//
// Which program works with which schema:
//
//	schema           program         what happens
//	older            newer           refused (Fit): the program names the migration that is missing, and 'crmintake migrate up'
//	same             same            works
//	newer            older           works, if the program knows the migration that the table compatible names; else refused
//
// So that this holds, the rules for a migration are:
//
//   - A file that was released is never changed. What comes next has the next number.
//   - It only adds what the version before can do without noticing: a table; a column that is nullable or has a
//     default, and which that version neither reads nor writes; an index; a constraint that all that it writes
//     satisfies. It does not touch the hot path, which is one insert a row and no update of it: outbox's tests see to
//     that.
//   - What a version does not use any more is taken away by a migration of a later version. That one raises
//     compatible.since to the first migration of the version that did without it: "UPDATE compatible SET since = 7".
//     Older programs refuse to start from then on; those that run must have been replaced before.
//   - Nothing is renamed, and no column changes its meaning: both are to add, to fill, and to take away, in three
//     versions.
//   - It takes no lock for long: no rewrite of event or attempt; an index on them is made CONCURRENTLY, in a file of
//     its own that begins with "-- +goose NO TRANSACTION". Nor does it lock two tables that workers use, which have no
//     order among tables: each is altered by a file of its own, or a deadlock ends the migration, or a worker's try.
//   - The view outbox, which people's SQL relies on, gets what is new at its end: CREATE OR REPLACE VIEW takes no more,
//     and needs none.
//   - A new table has its line in roles.go.
package migrations
