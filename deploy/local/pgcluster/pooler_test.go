package pgcluster

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPooler(t *testing.T) {
	c := begin(t, Config{})
	p, err := StartPooler(t.Context(), c.URL("postgres"), map[string]string{"default_pool_size": "1"})
	if errors.Is(err, ErrNoPooler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Two clients have one session of the server's.
	pids := map[int]bool{}
	for range 2 {
		conn, err := pgx.Connect(t.Context(), p.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		var pid int
		if err := conn.QueryRow(t.Context(), `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids[pid] = true
	}
	if len(pids) != 1 {
		t.Errorf("sessions %v, want one", pids)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
	if conn, err := pgx.Connect(t.Context(), p.URL()); err == nil {
		conn.Close(t.Context())
		t.Error("it still answers")
	}
	if _, err := StartPooler(t.Context(), c.URL("postgres"), map[string]string{"pool_mode": "none"}); err == nil {
		t.Error("a setting that is wrong is taken")
	}
}
