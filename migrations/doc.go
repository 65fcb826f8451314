// Package migrations holds the schema, as numbered SQL files that go both ways, and applies them.
//
// Up may be called by many processes at once: a Postgres advisory lock lets one at a time through, and the others find the work done.
// Each migration is one transaction. A worker refuses to start on a schema that is behind what Latest says (see Check),
// so "migrate up" comes before a new version is rolled out.
package migrations
