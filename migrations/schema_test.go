package migrations_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

// upNext does what the next version's "migrate up" would: its migrations are ours and one more.
func upNext(t *testing.T, url, sql string) {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("*.sql")
	ok(t, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	ok(t, os.WriteFile(filepath.Join(dir, "99999_next.sql"), []byte("-- +goose Up\n"+sql), 0o600))
	cfg, err := pgx.ParseConfig(url)
	ok(t, err)
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(dir))
	ok(t, err)
	_, err = p.Up(t.Context())
	ok(t, err)
}

// A schema of a later version is one that we work with, until it says that we can't.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	url := outboxtest.New(t)
	if s := inspect(t, url); s.Newer != 0 || s.Since < 1 || s.Since > s.Latest() {
		t.Errorf("%+v", s)
	}
	upNext(t, url, `ALTER TABLE event ADD COLUMN priority integer;`)
	if s := inspect(t, url); s.Newer != 1 {
		t.Errorf("%+v", s)
	}
	ok(t, migrations.Check(t.Context(), url))
	ok(t, migrations.Up(t.Context(), url)) // has nothing to do, and does nothing
	if s := inspect(t, url); s.Newer != 1 {
		t.Errorf("%+v", s)
	}

	other := outboxtest.New(t)
	upNext(t, other, `ALTER TABLE event DROP COLUMN warnings CASCADE; UPDATE compatible SET since = 99999;`)
	err := migrations.Check(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "too new") || !strings.Contains(err.Error(), "migration 99999") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// To look changes nothing: a database that has nothing has nothing still.
func TestInspectChangesNothing(t *testing.T) {
	t.Parallel()
	url := outboxtest.New(t)
	ok(t, migrations.DownTo(t.Context(), url, 0))
	conn, err := pgx.Connect(t.Context(), url)
	ok(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `DROP TABLE goose_db_version`)
	ok(t, err)
	if s := inspect(t, url); len(s.Migrations) == 0 || !s.Migrations[0].AppliedAt.IsZero() || s.Fit() == nil {
		t.Errorf("%+v", s)
	}
	var tables int
	ok(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables))
	if tables != 0 {
		t.Errorf("it made %d tables", tables)
	}
}
