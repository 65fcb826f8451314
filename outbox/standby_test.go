package outbox

import (
	"errors"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"crmintake/deploy/local/pgcluster"
	"crmintake/migrations"
	"crmintake/outbox/internal/pgwire"
	"crmintake/outbox/outboxtest"
)

// A standby lags, and knows nothing of what is left to do. Whoever works finds the primary, or is told that there is
// none; who only reads may ask a standby by its name.
func TestStandby(t *testing.T) {
	t.Parallel()
	primary := outboxtest.Cluster(t)
	address := primary.URL("postgres")
	ok(t, migrations.Up(t.Context(), address))
	standby, err := pgcluster.Standby(t.Context(), primary, pgcluster.Config{})
	ok(t, err)
	t.Cleanup(func() { ok(t, standby.Stop()) })
	alone := standby.URL("postgres")
	reader := openAt(t, alone, 1)
	exec(t, reader, `SELECT pg_wal_replay_pause()`)
	p := openAt(t, address, 2)
	settle(t, p, intend(t, p, "a"), retry, "a")

	_, err = OpenWorker(t.Context(), alone, 1)
	if !errors.Is(err, errNoWrites) || !IsTransient(err) {
		t.Errorf("a worker on a standby: %v", err)
	}
	if _, err := reader.Read.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the standby does not lag: %v", err)
	}
	left, err := reader.Schedule.Outstanding(t.Context())
	if answer := (*pgconn.PgError)(nil); !errors.As(err, &answer) || answer.Code != readOnly {
		t.Errorf("the standby tells that something is left to do: %v, %v", left, err)
	}
	both := func(attrs string) string {
		u, err := url.Parse(alone)
		ok(t, err)
		other, err := url.Parse(address)
		ok(t, err)
		u.Host += "," + other.Host
		return u.String() + attrs
	}
	for attrs, recovers := range map[string]string{
		"": "f", "&target_session_attrs=any": "t", "&target_session_attrs=primary": "f",
		"&target_session_attrs=read-write": "f", "&target_session_attrs=standby": "t",
	} {
		want(t, openAt(t, both(attrs), 1), `SELECT pg_is_in_recovery()`, recovers)
	}
	worker, err := OpenWorker(t.Context(), both("&target_session_attrs=any"), 1)
	ok(t, err)
	defer worker.Close()
	want(t, worker, `SELECT pg_is_in_recovery()`, "f")

	// The primary is one no more, and nobody ends its connections.
	exec(t, p, `ALTER SYSTEM SET default_transaction_read_only = on`)
	exec(t, p, `SELECT pg_reload_conf()`)
	exec(t, worker, `SET default_transaction_read_only = on`)
	ok(t, standby.Promote(t.Context()))
	if err := worker.Fleet.Heartbeat(t.Context(), "w", Capacity{}, Told{}); err == nil {
		t.Error("it takes writes")
	}
	ok(t, worker.Fleet.Heartbeat(t.Context(), "w", Capacity{}, Told{}))
	want(t, reader, `SELECT name FROM worker`, "w")
}

// What stalls in the middle of a pipeline, with locks, is ended by the server where it can.
func TestStalledPipelineEnds(t *testing.T) {
	t.Parallel()
	address := outboxtest.New(t)
	direct := openAt(t, address, 2)
	server, err := direct.Inspect(t.Context())
	ok(t, err)
	if server.Version < 170000 {
		t.Skip("transaction_timeout came with PostgreSQL 17")
	}
	want(t, direct, `SHOW transaction_timeout`, "0")
	for way, address := range map[string]string{
		"directly": address, "without statements": address + "&default_query_exec_mode=cache_describe",
	} {
		t.Run(way, func(t *testing.T) {
			s, err := OpenWorker(t.Context(), address, 1)
			ok(t, err)
			defer s.Close()
			var bound string
			ok(t, s.pool.QueryRow(t.Context(), `SELECT current_setting('transaction_timeout')`).Scan(&bound))
			if bound != "30s" {
				t.Errorf("transactions are bound by %s", bound)
			}
			conn, err := s.pool.Acquire(t.Context())
			ok(t, err)
			defer conn.Release()
			_, err = conn.Exec(t.Context(), `SET transaction_timeout = '500ms'`) // not to wait for long
			ok(t, err)
			insert := pgwire.Statement{SQL: `
INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs) VALUES ($1, 'create', 'x', 'x', now(), '{a}', 1)`,
				Params: []pgwire.Param{pgwire.UUID(NewAttemptID())}}
			_, err = conn.Conn().PgConn().Conn().Write(insert.Append(nil, "")) // and no Sync
			ok(t, err)
			var answer *pgconn.PgError
			for answer == nil {
				message, err := conn.Conn().PgConn().ReceiveMessage(t.Context())
				if err != nil && !errors.As(err, &answer) {
					t.Fatalf("%T %v", message, err)
				}
			}
			if answer.Code != "25P04" || !IsTransient(answer) {
				t.Errorf("got %v", answer)
			}
			want(t, direct, `SELECT count(*) FROM attempt`, "0")
		})
	}
}

// Whatever the database's locale sorts by, lists page through all events, and everything else goes on.
func TestLocales(t *testing.T) {
	t.Parallel()
	cluster := outboxtest.Cluster(t)
	admin := openAt(t, cluster.URL("postgres"), 1)
	for name, locale := range map[string]string{
		"c": `LOCALE 'C'`, "icu": `LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk-ks-level2' LOCALE 'C'`,
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, admin, `CREATE DATABASE `+name+` ENCODING 'UTF8' TEMPLATE template0 `+locale)
			ok(t, migrations.Up(t.Context(), cluster.URL(name)))
			s := openAt(t, cluster.URL(name), 4)
			work(t, s, "w")
			ids := []string{"A", "a", "B", "b", "Ä", "ä", "ö-1", "Ö_1", "_", "-", "z", "10", "9"}
			settle(t, s, intend(t, s, ids...), dead, ids...)
			want(t, s, `SELECT count(*) FROM outbox WHERE status = 'dead'`, "15")
			got := map[string]bool{}
			for after := ""; ; {
				page, err := s.Read.List(t.Context(), ListFilter{Status: Dead, After: after, Limit: 1})
				ok(t, err)
				for _, r := range page.Records {
					got[r.EventID] = true
				}
				if after = page.Next; after == "" {
					break
				}
			}
			if len(got) != 15 {
				t.Errorf("%d of 15 are listed: %v", len(got), got)
			}
		})
	}
}
