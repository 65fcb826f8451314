package pgcluster

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The clock steps under a server that runs, for connections that are there as for new ones, and stays so after a
// crash and a restart.
func TestClock(t *testing.T) {
	library, err := Faketime()
	if err != nil {
		t.Skip(err)
	}
	c, err := Start(t.Context(), Config{Faketime: library})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	connect := func() *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
		must(err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		return conn
	}
	is := func(conn *pgx.Conn, ahead time.Duration) {
		t.Helper()
		var now time.Time
		before := time.Now()
		must(conn.QueryRow(t.Context(), `SELECT now()`).Scan(&now))
		// To the microsecond that the server counts in and the millisecond of a step.
		early, late := before.Add(ahead-2*time.Millisecond), time.Now().Add(ahead+2*time.Millisecond)
		if now.Before(early) || now.After(late) {
			t.Errorf("it is %v there, want %v to %v", now, early, late)
		}
	}
	conn := connect()
	is(conn, 0)
	for _, ahead := range []time.Duration{2 * time.Minute, -90 * time.Second, 1500 * time.Millisecond, -time.Minute} {
		must(c.SetClock(ahead))
		is(conn, ahead)
		is(connect(), ahead)
	}
	must(c.Kill())
	must(c.StartAgain(t.Context()))
	is(connect(), -time.Minute)
	must(c.Restart(t.Context()))
	is(connect(), -time.Minute)
}
