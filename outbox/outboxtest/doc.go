// Package outboxtest gives each test a migrated Postgres database of its own.
//
// The contract:
//
//   - A package's TestMain calls Main, its tests call New.
//   - A database is fresh, has all migrations, belongs to one test, and is dropped at the end of that test with
//     whatever is still connected to it.
//   - No Postgres is a failure, never a skip. No PgBouncer is a skip.
//   - Main fails the run if goroutines outlive the tests. It has at least eight parallel tests run at once, unless
//     -parallel was given.
//
// The server is started when the first test asks, once per test process, and goes away with it, however it ends.
// CRMINTAKE_TEST_DATABASE_URL, a superuser's URL, names one to use instead, which nobody else uses and which takes 200
// connections. The migrations run once, into a template; a test's database is a copy of that, which takes some tens of
// milliseconds.
//
// The server trades durability for speed, unless Syncing was called. A test that crashes the database asks for one of
// its own with Cluster.
package outboxtest
