package worker_test

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// eventually waits for what other processes bring about.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	for limit := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(limit) {
			r.t.Fatalf("waited in vain until %s; the log:\n%s", what, r.log)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.t.Context().Done():
		}
	}
}

// logged waits for a line of the log.
func (r *rig) logged(text string) {
	r.t.Helper()
	r.eventually("it is logged that "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// loggedOnce checks that each of these was logged, and not again.
func (r *rig) loggedOnce(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if n := strings.Count(r.log.String(), text); n != 1 {
			r.t.Errorf("%q is logged %d times:\n%s", text, n, r.log)
		}
	}
}

// lock keeps everybody from the outbox, until unlock.
func (r *rig) lock() (unlock func()) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.database)
	r.must(err)
	_, err = conn.Exec(r.t.Context(), `BEGIN; LOCK TABLE outbox`)
	if err != nil {
		conn.Close(context.Background())
		r.t.Fatal(err)
	}
	return func() { conn.Close(context.Background()) }
}
