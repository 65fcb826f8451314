package outbox

import (
	"bytes"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/pgcluster"
	"crmintake/migrations"
)

// server starts one of its own for the test.
func server(t *testing.T, cfg pgcluster.Config) *pgcluster.Cluster {
	t.Helper()
	c, err := pgcluster.Start(t.Context(), cfg)
	ok(t, err)
	t.Cleanup(func() { ok(t, c.Stop()) })
	return c
}

// everyWay leaves rows behind in every status and every form: "a…" are created, "b…" to be sent again, "c…" in doubt,
// "d…" dead, "e…" in an open call, and "f…" in one whose lease has run out.
func everyWay(t *testing.T, s *Store) {
	t.Helper()
	a := intend(t, s, "a1", "a2")
	settle(t, s, a, created, "a1", "a2")
	settle(t, s, intend(t, s, "b1", "b2"), retry, "b1", "b2")
	settle(t, s, intend(t, s, "c1"), unknown, "c1")
	settle(t, s, intend(t, s, "d1"), dead, "d1")
	_, err := s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("d2", "no\x00 JSON \xff"), Reason: InvalidEvent, Error: "ünfit"}})
	ok(t, err)
	intend(t, s, "e1", "e2")
	endLease(t, s, intend(t, s, "f1").ID)
	_, err = s.Pauses.Begin(t.Context(), Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "403"})
	ok(t, err)
}

// goesOn sees that an outbox that everyWay left behind, and that was moved since, is worked on as if it had not been.
func goesOn(t *testing.T, url string) {
	t.Helper()
	schema, err := migrations.Inspect(t.Context(), url)
	ok(t, err)
	ok(t, schema.Fit())
	s := openAt(t, url, 4)
	if lost := expire(t, s); len(lost) != 1 || lost[0].Rows != 1 {
		t.Errorf("expired: %+v", lost)
	}
	next := newAttempt()
	if diff := cmp.Diff([]string{"b1", "b2"}, claimIDs(t, s, next, Retry)); diff != "" {
		t.Error(diff)
	}
	settle(t, s, next, created, "b1", "b2")
	standing, err := s.Batches.Intend(t.Context(), newAttempt(), append(events("a1", "g1"), event("b1", "other")))
	ok(t, err)
	if diff := cmp.Diff([]IntentResult{Duplicate, Inserted, Reused}, standing); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT event_id, status, record_id, reason FROM outbox ORDER BY 1`, "a1 created r-a1 -",
		"a2 created r-a2 -",
		"b1 created r-b1 -", "b2 created r-b2 -", "c1 unknown - -", "d1 dead - rejected", "d2 dead - invalid_event",
		"e1 sending - -", "e2 sending - -", "f1 unknown - -", "g1 sending - -")
	// Errors have numbers, which go on.
	_, err = s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("h1", "no JSON"), Reason: InvalidEvent, Error: "unfit"}})
	ok(t, err)
	want(t, s, `SELECT count(*) > 0 FROM outbox_error WHERE event_id = 'h1'`, "t")
}

// contents are the rows of each table, as text.
func contents(t *testing.T, url string) map[string][]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	ok(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 1`)
	ok(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ok(t, err)
	all := map[string][]string{}
	for _, table := range tables {
		rows, err := conn.Query(t.Context(), `SELECT t::text FROM `+table+` t`)
		ok(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		ok(t, err)
		slices.Sort(list)
		all[table] = list
	}
	return all
}

// A dump that is restored, by the server in use from one that is installed with pg_dump, which may be older, is the
// same outbox.
func TestDumpAndRestore(t *testing.T) {
	t.Parallel()
	bin := pgcluster.Installed(t.Context(), "pg_dump", "psql")
	if bin == "" {
		t.Skip("no PostgreSQL server is installed that has pg_dump and psql beside it")
	}
	from := server(t, pgcluster.Config{Bin: bin}).URL("postgres")
	ok(t, migrations.Up(t.Context(), from))
	everyWay(t, openAt(t, from, 4))
	to := server(t, pgcluster.Config{}).URL("postgres")
	tool := func(in []byte, name string, args ...string) []byte {
		cmd := osexec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
		var said bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &said)
		}
		return out
	}
	dump := tool(nil, "pg_dump", "--no-toast-compression", "--dbname", from) // the other may be built without LZ4
	tool(dump, "psql", "--dbname", to, "--set", "ON_ERROR_STOP=1", "--no-psqlrc", "--quiet", "--output", "/dev/null")
	if diff := cmp.Diff(contents(t, from), contents(t, to)); diff != "" {
		t.Errorf("not what was dumped:\n%s", diff)
	}
	goesOn(t, to)
}

// A subscriber to all tables has what the outbox has, whatever was done to that, and goes on in its place, once its
// numbers do, which Postgres does not replicate.
func TestLogicalReplication(t *testing.T) {
	t.Parallel()
	from := server(t, pgcluster.Config{Settings: map[string]string{"wal_level": "logical"}}).URL("postgres")
	to := server(t, pgcluster.Config{}).URL("postgres")
	run := func(url string, statements ...string) {
		conn, err := pgx.Connect(t.Context(), url)
		ok(t, err)
		defer conn.Close(t.Context())
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	for _, url := range []string{from, to} {
		ok(t, migrations.Up(t.Context(), url))
	}
	s := openAt(t, from, 4)
	settle(t, s, intend(t, s, "a0"), created, "a0") // there before
	run(from, `CREATE PUBLICATION outbox FOR ALL TABLES`)
	run(to, `TRUNCATE compatible, retention, goose_db_version`,
		fmt.Sprintf(`CREATE SUBSCRIPTION outbox CONNECTION '%s' PUBLICATION outbox`, from))
	swept, err := s.Retention.Sweep(t.Context(), time.Nanosecond)
	ok(t, err)
	if swept.Rows != 1 || swept.Attempts != 1 {
		t.Errorf("swept: %+v", swept)
	}
	everyWay(t, s)
	var diff string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(contents(t, from), contents(t, to)); diff == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the subscriber has not what was published:\n%s", diff)
		}
	}
	runbook, err := os.ReadFile("../deploy/runbook.md")
	ok(t, err)
	numbers := regexp.MustCompile("(?s)```sql\n(DO [^`]*setval.*?)```").FindSubmatch(runbook)
	if numbers == nil {
		t.Fatal("the runbook does not say how numbers go on")
	}
	run(to, `DROP SUBSCRIPTION outbox`, string(numbers[1]))
	goesOn(t, to)
}
