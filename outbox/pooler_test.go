package outbox

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox/outboxtest"
)

// witness has the tables keep what held in the transactions that wrote to them.
func witness(t *testing.T, s *Store) {
	t.Helper()
	exec(t, s, `
CREATE TABLE held (what text PRIMARY KEY);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
  INSERT INTO held SELECT concat_ws(' ', current_setting('synchronous_commit'),
    current_setting('transaction_isolation'), current_setting('enable_seqscan'), current_setting('jit')) ON CONFLICT DO NOTHING;
  RETURN NULL;
END$$`)
	for _, table := range []string{"event", "attempt", "quota", "worker", "credential", "pause"} {
		exec(t, s, `
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON `+table+` FOR EACH STATEMENT EXECUTE FUNCTION witness()`)
	}
}

// alter sets what holds for sessions of the test's database that begin from now on.
func alter(t *testing.T, s *Store, set string) {
	t.Helper()
	exec(t, s, `DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET `+set+`', current_database()); END$$`)
}

// work does a bit of all that workers and persons do. What it wants of the store is told by the rows.
func work(t *testing.T, s *Store, name string) {
	t.Helper()
	id := func(kind string) string { return name + "-" + kind }
	a := intend(t, s, id("a"), id("b"), id("c"), id("d"))
	child := NewAttemptID()
	ok(t, s.Batches.Split(t.Context(), a.ID, child, []string{id("d")}, time.Hour))
	ok(t, s.Batches.Settle(t.Context(), child, Call{Rejected: 1}, alike(dead, id("d"))))
	refused := retry
	refused.Errors = []Error{{Message: "busy"}}
	all := append(alike(created, id("a"), id("b")), alike(refused, id("c"))...)
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 2, NotApplied: 2}, all))
	standing, err := s.Batches.Intend(t.Context(), newAttempt(), events(id("a"), id("e")))
	if err != nil || !slices.Equal(standing, []IntentResult{Duplicate, Inserted}) {
		t.Errorf("standing %v, %v", standing, err)
	}
	_, err = s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event(id("x"), "x"), Reason: InvalidEvent, Error: "bad"}})
	ok(t, err)
	ok(t, s.Fleet.Heartbeat(t.Context(), name, Capacity{Batch: 100}, Told{}))
	_, err = s.Quota.Take(t.Context(), Quota{Account: QuotaAccount, Calls: 1000, Window: time.Second}, Ask{Want: 1})
	ok(t, err)
	ok(t, s.Vault.ChangeSecret(t.Context(), name, func([]byte, time.Duration) ([]byte, error) { return []byte("sealed"), nil }))
	_, err = s.Retention.Sweep(t.Context(), 24*time.Hour)
	ok(t, err)
	_, err = s.Leases.Expire(t.Context(), 10, 0, 0)
	ok(t, err)
	_, err = s.Schedule.Due(t.Context())
	ok(t, err)
	for _, one := range []string{"a", "x"} {
		if r, err := s.Read.Get(t.Context(), id(one)); err != nil || r.EventID != id(one) {
			t.Errorf("asked for %s and got %q, %v", id(one), r.EventID, err)
		}
	}
	if _, err := s.Read.Get(t.Context(), id("none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	page, err := s.Read.List(t.Context(), ListFilter{Status: Dead, Limit: 1000})
	ok(t, err)
	for _, r := range page.Records {
		if r.Status != Dead {
			t.Errorf("a %s row among the dead", r.Status)
		}
	}
	if left, err := s.Schedule.Outstanding(t.Context()); err != nil || !left {
		t.Errorf("nothing is left: %v", err)
	}
}

// Each transaction is durable and sees what others have committed, whatever the role, the database and a pooler's
// other clients say; and the others meet nothing of ours.
func TestTransactionsHoldWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for way, reach := range map[string]func(t *testing.T, address string) string{
		"directly": func(_ *testing.T, address string) string { return address },
		"without statements": func(_ *testing.T, address string) string {
			return address + "&default_query_exec_mode=cache_describe"
		},
		"pooled transactions": func(t *testing.T, address string) string {
			return outboxtest.Pooled(t, address, map[string]string{"default_pool_size": "3"})
		},
		"pooled sessions": func(t *testing.T, address string) string {
			return outboxtest.Pooled(t, address, map[string]string{"pool_mode": "session"})
		},
	} {
		t.Run(way, func(t *testing.T) {
			address := outboxtest.New(t)
			admin := openAt(t, address, 2)
			witness(t, admin)
			alter(t, admin, "synchronous_commit = off")
			alter(t, admin, "default_transaction_isolation = serializable")
			s := openAt(t, reach(t, address), 8)
			var workers sync.WaitGroup
			for i := range 3 {
				workers.Go(func() {
					for k := range 5 {
						work(t, s, fmt.Sprintf("w%d-%d", i, k))
					}
				})
			}
			others := stranger(t, reach(t, address), &workers)
			want(t, admin, `SELECT what FROM held`, "on read committed off off")
			want(t, admin, `SELECT status, count(*) FROM outbox GROUP BY status ORDER BY 1`,
				"created 30", "dead 30", "retry 15", "sending 15")
			for held := range others {
				if held != "off serializable on" && way != "directly" {
					t.Errorf("somebody else has %s", held)
				}
			}
		})
	}
}

// stranger is a client of the pooler's that works beside ours until these are done, with statements without a name in
// two round trips, and returns what it found to hold.
func stranger(t *testing.T, address string, workers *sync.WaitGroup) map[string]bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	ok(t, err)
	defer conn.Close(context.Background())
	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	found := map[string]bool{}
	for {
		var held string
		ok(t, conn.QueryRow(t.Context(), `
SELECT concat_ws(' ', current_setting('synchronous_commit'), current_setting('transaction_isolation'),
  current_setting('enable_seqscan'))`, pgx.QueryExecModeSimpleProtocol).Scan(&held))
		found[held] = true
		_, _ = conn.Prepare(t.Context(), "", `SELECT 'a statement of somebody else'`)
		select {
		case <-done:
			return found
		default:
		}
	}
}

// What was decided about standbys stays.
func TestStrongerCommitsStay(t *testing.T) {
	t.Parallel()
	for is, becomes := range map[string]string{
		"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply",
	} {
		s := openAt(t, outboxtest.New(t)+"&synchronous_commit="+is, 1)
		want(t, s, `SELECT current_setting('synchronous_commit')`, becomes)
	}
}

// What can't work behind a pooler is refused by name, and not waited for.
func TestPoolerRefused(t *testing.T) {
	t.Parallel()
	address := outboxtest.New(t)
	through := func(settings map[string]string, change func(u *url.URL, q url.Values)) string {
		u, err := url.Parse(outboxtest.Pooled(t, address, settings))
		ok(t, err)
		q := u.Query()
		change(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	transactions := map[string]string{}
	swallows := map[string]string{"ignore_startup_parameters": "search_path,options"}
	set := func(name, value string) func(*url.URL, url.Values) {
		return func(_ *url.URL, q url.Values) { q.Set(name, value) }
	}
	login := func(user string) func(*url.URL, url.Values) {
		return func(u *url.URL, _ url.Values) { u.User = url.UserPassword(user, "wrong") }
	}
	for name, c := range map[string]struct {
		settings map[string]string
		change   func(*url.URL, url.Values)
		want     string
	}{
		"statement pooling":     {map[string]string{"pool_mode": "statement"}, set("sslmode", "disable"), "pool_mode = transaction"},
		"search_path":           {transactions, set("search_path", "crm"), "search_path"},
		"search_path swallowed": {swallows, set("search_path", "crm"), "ALTER ROLE"},
		"options swallowed":     {swallows, set("options", "-c search_path=crm"), "ALTER ROLE"},
		"password":              {transactions, login("postgres"), "authentication failed"},
		"user":                  {transactions, login("nobody"), "authentication failed"},
		"database":              {transactions, func(u *url.URL, _ url.Values) { u.Path = "/nowhere" }, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), through(c.settings, c.change), 1)
			if err == nil {
				s.Close()
				t.Fatal("it is taken")
			}
			if !strings.Contains(err.Error(), c.want) || IsTransient(err) {
				t.Errorf("got %v, which may pass: %v", err, IsTransient(err))
			}
		})
	}
	t.Run("full", func(t *testing.T) {
		full := outboxtest.Pooled(t, address, map[string]string{"max_client_conn": "3"})
		for {
			conn, err := pgx.Connect(t.Context(), full)
			if err != nil {
				if !IsTransient(err) {
					t.Errorf("it is not waited for: %v", err)
				}
				return
			}
			defer conn.Close(context.Background())
		}
	})
}
