package main

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/pgcluster"
	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

// Behind a pooler of transactions all commands do what they do without, and what can't work is told with what to
// change.
func TestPooler(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	pooled := outboxtest.Pooled(t, d.database, map[string]string{"default_pool_size": "4"})
	setenv(t, "CRMINTAKE_DATABASE_URL", pooled)
	if err := migrations.DownTo(t.Context(), d.database, 0); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "migrate", "status").want(t, 1, "migrate up")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { crmintake(t, "", "migrate", "up").want(t, 0, "The schema is up to date") })
	}
	both.Wait()
	var locks int
	conn, err := pgx.Connect(t.Context(), d.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`).Scan(&locks)
	if err != nil || locks != 0 {
		t.Errorf("%d advisory locks are left with the pooler's sessions, %v", locks, err)
	}
	r := crmintake(t, "", "check")
	r.want(t, 0, "through a pooler", "up to date")
	if strings.Contains(r.out, "failure") {
		t.Error(r.out)
	}
	publish(t, "a", "b")
	crmintake(t, "", "run", "--drain").want(t, 0, "created=2")
	crmintake(t, "", "outbox", "get", "a").want(t, 0, "created")
	crmintake(t, "", "outbox", "list").want(t, 0, "a ", "b ")
	crmintake(t, "", "status").want(t, 0, "contracts", "CREATED")

	statements := outboxtest.Pooled(t, d.database, map[string]string{"pool_mode": "statement"})
	for name, c := range map[string]struct{ address, want string }{
		"statement pooling": {statements, "pool_mode = transaction"},
		"password": {with(t, pooled, func(u *url.URL) { u.User = url.UserPassword("postgres", "wrong") }),
			"check user"},
		"database":      {with(t, pooled, func(u *url.URL) { u.Path = "/nowhere" }), "create the database"},
		"search_path":   {pooled + "&search_path=crm", "ALTER ROLE"},
		"describe_exec": {pooled + "&default_query_exec_mode=describe_exec", "leave it out"},
	} {
		t.Run(name, func(t *testing.T) {
			crmintake(t, "", "check", "--database-url", c.address).want(t, 1, "failure", c.want)
			crmintake(t, "", "run", "--database-url", c.address).want(t, 2, c.want)
		})
	}
}

// A worker whose address leads to a standby waits for a primary, and says so: the standby may not know what is left to
// do.
func TestRunWaitsForThePrimary(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	primary := outboxtest.Cluster(t)
	crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", primary.URL("postgres")).want(t, 0)
	standby, err := pgcluster.Standby(t.Context(), primary, pgcluster.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})
	address := standby.URL("postgres")
	crmintake(t, "", "check", "--nats-url", server.URL(), "--database-url", address).want(t, 1, "all hosts")
	crmintake(t, "", "migrate", "up", "--database-url", address).want(t, 1, "takes no writes")
	s := startRun(t, server.URL(), address, "--drain", "--log-level", "debug")
	s.until("level=DEBUG msg=\"Postgres is not there") // it has tried again
	if !strings.Contains(s.String(), "takes no writes") {
		t.Errorf("it does not say why: %s", s)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(0, "Postgres is there", "msg=started")
}

// What hides or can't hold rows is told before it matters.
func TestUnfitDatabases(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	cluster := outboxtest.Cluster(t)
	owner := cluster.URL("postgres")
	by := func(command, address string) result {
		return crmintake(t, "", append(strings.Fields(command), "--nats-url", server.URL(), "--hubspot-token", secret,
			"--hubspot-url", "http://127.0.0.1:1", "--database-url", address)...)
	}
	crmintake(t, "", "init", "--roles", "--nats-url", server.URL(), "--database-url", owner).want(t, 0)
	exec := func(sql string) { fixture{database: owner}.exec(t, sql) }

	exec(`CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	latin := cluster.URL("latin")
	by("check", latin).want(t, 1, "encoding is LATIN1", "ENCODING 'UTF8'")
	by("run", latin).want(t, 1, "encoding is LATIN1")
	for _, command := range []string{"init", "migrate up"} {
		crmintake(t, "", append(strings.Fields(command), "--database-url", latin)...).want(t, 1, "encoding is LATIN1")
	}

	exec(`CREATE ROLE intake LOGIN PASSWORD 'x' IN ROLE crmintake_worker`)
	exec(`ALTER TABLE event ENABLE ROW LEVEL SECURITY`)
	intake := with(t, owner, func(u *url.URL) { u.User = url.UserPassword("intake", "x") })
	by("check", intake).want(t, 1, "row-level security", "ALTER TABLE event DISABLE")
	by("run", intake).want(t, 1, "row-level security")
	exec(`ALTER ROLE intake BYPASSRLS`)
	if r := by("check", intake); strings.Contains(r.out, "row-level") {
		t.Error(r.out)
	}
}
