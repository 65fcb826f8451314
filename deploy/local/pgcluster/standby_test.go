package pgcluster

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a primary confirmed is there after it has gone and its standby was promoted; and what it has not confirmed it
// waits for.
func TestStandbyPromoted(t *testing.T) {
	sync := Config{Settings: map[string]string{"synchronous_commit": "on"}}
	primary := begin(t, sync)
	standby, err := Standby(t.Context(), primary, sync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})
	if !query[bool](t, standby, `SELECT pg_is_in_recovery()`) {
		t.Fatal("the standby is no standby")
	}
	if err := primary.Synchronous(t.Context()); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(time.Minute); query[int](t, primary,
		`SELECT count(*)::int FROM pg_stat_replication WHERE sync_state = 'sync'`) != 1; {
		if time.Now().After(limit) {
			t.Fatal("the primary does not wait for its standby")
		}
		time.Sleep(10 * time.Millisecond)
	}
	conn, err := pgx.Connect(t.Context(), primary.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE confirmed AS SELECT 7 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, standby, `UPDATE confirmed SET n = n + 1 RETURNING n`); n != 8 {
		t.Errorf("%d, want 8", n)
	}
}
