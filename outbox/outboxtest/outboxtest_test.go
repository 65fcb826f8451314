package outboxtest

import (
	"context"
	"errors"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) { Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestNew(t *testing.T) {
	var url string
	t.Run("database", func(t *testing.T) {
		url = New(t)
		var found bool
		if err := connect(t, url).QueryRow(t.Context(), `select to_regclass('outbox') is not null`).Scan(&found); err != nil || !found {
			t.Errorf("table outbox found: %v, %v", found, err)
		}
		// A connection that stays open, as this one does, doesn't keep the database.
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `create table mine ()`); err != nil {
			t.Error(err)
		}
	})
	_, err := pgx.Connect(t.Context(), url)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "3D000" { // invalid_catalog_name
		t.Errorf("the database is still there after its test: %v", err)
	}
}

func TestNewAtOnce(t *testing.T) {
	for range 4 {
		t.Run("test", func(t *testing.T) {
			t.Parallel()
			if _, err := connect(t, New(t)).Exec(t.Context(), `create table mine ()`); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerGiven(t *testing.T) {
	c := Cluster(t)
	t.Setenv(variable, c.URL("postgres"))
	var h home
	if err := h.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.cluster != nil {
		t.Error("it started a server although one was given")
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
	var databases int
	row := connect(t, c.URL("postgres")).QueryRow(t.Context(), `select count(*) from pg_database where datname like 'crmintake%'`)
	if err := row.Scan(&databases); err != nil || databases != 0 {
		t.Errorf("%d databases left, %v", databases, err)
	}

	if _, err := connect(t, c.URL("postgres")).Exec(t.Context(), `create role maker login createdb password 'x'`); err != nil {
		t.Fatal(err)
	}
	maker, err := url.Parse(c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	maker.User = url.UserPassword("maker", "x")
	for _, wrong := range []string{"host=localhost dbname=x password=secret", "postgres://127.0.0.1:1/postgres", maker.String()} {
		os.Setenv(variable, wrong)
		var h home
		if err := h.open(t.Context()); err == nil {
			t.Errorf("no error with %s=%s", variable, wrong)
		}
		if h.cluster != nil {
			t.Error("it started a server although one was given")
		}
	}
}

func TestCluster(t *testing.T) {
	c := Cluster(t)
	if _, err := connect(t, c.URL("postgres")).Exec(t.Context(), `create table mine ()`); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, c.URL("postgres")).Exec(t.Context(), `drop table mine`); err != nil {
		t.Error(err)
	}
}
