package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"crmintake/migrations"
)

// upgrade does what the next version's "migrate up" would: its migrations are ours and some more.
func upgrade(t *testing.T, database string, more ...string) {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join("..", "..", "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n, sql := range more {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d_next.sql", 99999+n)), []byte("-- +goose Up\n"+sql),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The next version's schema, as the rules of package migrations have it, under a worker of this one that runs: nothing
// stops.
func TestWorkerGoesOnWhileTheSchemaIsUpgraded(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	_, log, stop := running(t, "run")
	publish(t, "a")
	until(t, "the first record is made", func() bool { return d.crm.Len("contracts") == 1 })
	upgrade(t, d.database, `
ALTER TABLE event ADD COLUMN priority integer;
CREATE INDEX next_event ON event (priority) WHERE priority IS NOT NULL;
CREATE TABLE next (id bigint PRIMARY KEY);`, `
ALTER TABLE attempt ADD COLUMN region text NOT NULL DEFAULT 'eu1';`)
	publish(t, "b")
	until(t, "the second record is made", func() bool { return d.crm.Len("contracts") == 2 })
	if code := stop(); code != 0 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("exit code %d: %s", code, log)
	}

	// And it may be started, and so may all that persons do.
	publish(t, "c")
	crmintake(t, `{"properties":{"nmae":"x"}}`, "publish", "--object-type", "contracts", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0, "created=1", "dead=1")
	crmintake(t, "", "dead", "discard", "--all", "--reason", "x", "--yes").want(t, 0, "Done to 1 event")
	crmintake(t, "", "check").want(t, 0, "newer by 2 migrations")
	crmintake(t, "", "migrate", "status").want(t, 0, "and 2 migrations of a newer crmintake")
	crmintake(t, "", "migrate", "up").want(t, 0)
	crmintake(t, "", "migrate", "up", "--roles").want(t, 1, "give --roles to the newest one")
}

// A schema that is behind is refused by each program that is ahead of it, and one that is too far ahead by each that is
// behind.
func TestSchemasThatDoNotFit(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	schema, err := migrations.Inspect(t.Context(), d.database)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, words ...string) {
		t.Helper()
		for _, command := range []string{"run --admin-addr off", "outbox list", "dead list", "pause --all --reason x",
			"migrate status"} {
			r := crmintake(t, "", strings.Fields(command)...)
			if r.want(t, 1, words...); strings.Count(strings.TrimSpace(r.err), "\n") > 0 {
				t.Errorf("more than a clear line: %s", r.err)
			}
			if t.Failed() {
				t.Fatalf("%s, of %s", command, what)
			}
		}
		crmintake(t, "", "check").want(t, 1, append(words, "failure  schema")...)
	}
	for v := schema.Latest() - 1; v >= 0; v-- {
		if err := migrations.DownTo(t.Context(), d.database, v); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprint("a schema of version ", v), "is behind", "type 'crmintake migrate up'")
		crmintake(t, "", "migrate", "up").want(t, 0)
		crmintake(t, "", "run", "--drain").want(t, 0)
	}
	upgrade(t, d.database, `ALTER TABLE event DROP COLUMN warnings CASCADE; UPDATE compatible SET since = 99999;`)
	refused("a schema without what we need", "too new", "install a newer one")
	crmintake(t, "", "migrate", "up").want(t, 1, "too new")
	crmintake(t, "", "init").want(t, 1, "too new")
}
