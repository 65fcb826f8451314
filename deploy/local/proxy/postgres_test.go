package proxy

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/outbox/outboxtest"
)

// seen records what hooks are told, in order.
type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, what)
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// connect returns a connection through a proxy with these hooks, and one that goes past it, to a database with a table
// t.
func connect(t *testing.T, hooks PostgresHooks) (through, past *pgx.Conn) {
	t.Helper()
	u, err := url.Parse(outboxtest.New(t))
	ok(t, err)
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	open := func() *pgx.Conn {
		c, err := pgx.Connect(t.Context(), u.String())
		ok(t, err)
		t.Cleanup(func() { c.Close(context.Background()) })
		return c
	}
	past = open()
	_, err = past.Exec(t.Context(), `CREATE TABLE t (n int PRIMARY KEY)`)
	ok(t, err)
	p, err := StartPostgres(u.Host, hooks)
	ok(t, err)
	t.Cleanup(p.Close)
	u.Host = p.Addr()
	return open(), past
}

func TestPostgresSeesStatements(t *testing.T) {
	var s seen
	c, _ := connect(t, PostgresHooks{
		Statement: func(sql string) bool { s.add(sql); return true },
		Answer:    func(list []string) bool { s.add("over: " + strings.Join(list, "; ")); return true },
	})
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := c.Exec(t.Context(), sql, args...)
		ok(t, err)
	}
	for n := range 2 { // the second time by the name of the prepared statement
		exec(`INSERT INTO t VALUES ($1)`, n)
	}
	exec(`SET jit = off`)
	var b pgx.Batch
	b.Queue(`UPDATE t SET n = n + $1`, 10)
	b.Queue(`DELETE FROM t WHERE n = $1`, 10)
	ok(t, c.SendBatch(t.Context(), &b).Close())
	ok(t, pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO t VALUES ($1)`, 5)
		return err
	}))
	want := []string{
		`INSERT INTO t VALUES ($1)`, `over: INSERT INTO t VALUES ($1)`,
		`INSERT INTO t VALUES ($1)`, `over: INSERT INTO t VALUES ($1)`,
		`SET jit = off`, `over: SET jit = off`,
		`UPDATE t SET n = n + $1`, `DELETE FROM t WHERE n = $1`, `over: UPDATE t SET n = n + $1; DELETE FROM t WHERE n = $1`,
		`begin`, `INSERT INTO t VALUES ($1)`, `commit`, `over: begin; INSERT INTO t VALUES ($1); commit`,
	}
	if diff := cmp.Diff(want, s.all()); diff != "" {
		t.Error(diff)
	}
}

// What a hook drops is not committed, or is and nobody is told.
func TestPostgresDrops(t *testing.T) {
	for name, test := range map[string]struct {
		hooks PostgresHooks
		rows  int
	}{
		"statement": {PostgresHooks{Statement: func(sql string) bool { return sql != `INSERT INTO t VALUES ($1 + 1)` }}, 0},
		"answer":    {PostgresHooks{Answer: func(list []string) bool { return len(list) != 2 }}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, past := connect(t, test.hooks)
			var b pgx.Batch
			b.Queue(`INSERT INTO t VALUES ($1)`, 1)
			b.Queue(`INSERT INTO t VALUES ($1 + 1)`, 1)
			if err := c.SendBatch(t.Context(), &b).Close(); err == nil || !c.IsClosed() {
				t.Errorf("error %v, closed %v", err, c.IsClosed())
			}
			// The table's lock tells that the server has done with it.
			var rows int
			ok(t, pgx.BeginFunc(t.Context(), past, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `LOCK TABLE t`); err != nil {
					return err
				}
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&rows)
			}))
			if rows != test.rows {
				t.Errorf("%d rows, want %d", rows, test.rows)
			}
		})
	}
}
