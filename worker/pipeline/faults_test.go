package pipeline_test

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// eventually waits for what other processes bring about.
func (r *harness) eventually(what string, done func() bool) {
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
func (r *harness) logged(text string) {
	r.t.Helper()
	r.eventually("it is logged that "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// loggedOnce checks that each of these was logged, and not again.
func (r *harness) loggedOnce(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if n := strings.Count(r.log.String(), text); n != 1 {
			r.t.Errorf("%q is logged %d times:\n%s", text, n, r.log)
		}
	}
}

// lock keeps everybody from writing to the outbox, until unlock.
func (r *rig) lock() (unlock func()) {
	r.t.Helper()
	a := r.admin()
	a.exec(`BEGIN; LOCK TABLE event IN EXCLUSIVE MODE`)
	return func() { a.exec(`COMMIT`) }
}

// admin is a connection to the database that stays open until the test ends, so that it works whatever is done to others.
type admin struct {
	r    *rig
	conn *pgx.Conn
}

func (r *rig) admin() admin {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.database)
	r.must(err)
	r.t.Cleanup(func() { conn.Close(context.Background()) })
	return admin{r, conn}
}

func (a admin) exec(sql string, args ...any) {
	a.r.t.Helper()
	_, err := a.conn.Exec(a.r.t.Context(), sql, args...)
	a.r.must(err)
}

// terminate ends the connections of all workers.
func (a admin) terminate() {
	a.r.t.Helper()
	a.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crmintake'`)
}

// waiting tells whether a worker waits for a lock.
func (a admin) waiting() (yes bool) {
	a.r.t.Helper()
	a.r.must(a.conn.QueryRow(a.r.t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'crmintake' AND wait_event_type = 'Lock'`).Scan(&yes))
	return yes
}

// waitingFor tells whether a worker waits for a lock, and has so for that time.
func (a admin) waitingFor(interval string) (yes bool) {
	a.r.t.Helper()
	a.r.must(a.conn.QueryRow(a.r.t.Context(), `SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE datname = current_database() AND application_name = 'crmintake' AND waitstart < clock_timestamp() - $1::text::interval`,
		interval).Scan(&yes))
	return yes
}

// through returns a rig whose workers come to the database by another address.
func (r *rig) through(change func(*url.URL)) *rig {
	r.t.Helper()
	u, err := url.Parse(r.database)
	r.must(err)
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	change(u)
	other := *r
	other.database = u.String()
	return &other
}

// setting has workers connect with a setting of the server's.
func setting(name, value string) func(*url.URL) {
	return func(u *url.URL) {
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
	}
}
