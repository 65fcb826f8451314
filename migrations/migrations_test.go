package migrations_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }

// objects are what the schema consists of, less goose's own.
const objects = `
SELECT string_agg(what, E'\n' ORDER BY what) FROM (
  SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') AS what
  FROM information_schema.columns WHERE table_schema = 'public'
  UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public') q
WHERE what NOT LIKE '%goose_db_version%'`

func schema(t *testing.T, url string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var text *string
	if err := conn.QueryRow(t.Context(), objects).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if text == nil {
		return ""
	}
	return *text
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inspect(t *testing.T, url string) migrations.Schema {
	t.Helper()
	s, err := migrations.Inspect(t.Context(), url)
	ok(t, err)
	return s
}

func applied(t *testing.T, url string) (n int) {
	t.Helper()
	for i, s := range inspect(t, url).Migrations {
		if s.Version != int64(i+1) || !strings.HasSuffix(s.Name, ".sql") {
			t.Errorf("migration %d is %d, %s", i+1, s.Version, s.Name)
		}
		if !s.AppliedAt.IsZero() {
			if time.Since(s.AppliedAt).Abs() > time.Hour {
				t.Errorf("applied at %v", s.AppliedAt)
			}
			n++
		}
	}
	return n
}

func TestUpAndDown(t *testing.T) {
	t.Parallel()
	url := outboxtest.New(t)
	full := schema(t, url)
	list := inspect(t, url).Migrations
	if len(list) == 0 || applied(t, url) != len(list) || !strings.Contains(full, "outbox.event_id") {
		t.Fatalf("%d migrations, %d applied; the schema:\n%s", len(list), applied(t, url), full)
	}
	ok(t, migrations.Check(t.Context(), url))

	// Each one takes back all that it made: down by one, and up again, gives the same schema at each step.
	at := map[int]string{len(list): full}
	for v := len(list) - 1; v >= 0; v-- {
		ok(t, migrations.DownTo(t.Context(), url, int64(v)))
		at[v] = schema(t, url)
		if n := applied(t, url); n != v {
			t.Errorf("%d applied after down to %d", n, v)
		}
		err := migrations.Check(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), "crmintake migrate up") || !strings.Contains(err.Error(), list[v].Name) {
			t.Errorf("check at %d: %v", v, err)
		}
		ok(t, migrations.Up(t.Context(), url))
		if diff := cmp.Diff(full, schema(t, url)); diff != "" {
			t.Errorf("up again from %d: %s", v, diff)
		}
		ok(t, migrations.DownTo(t.Context(), url, int64(v)))
		if diff := cmp.Diff(at[v], schema(t, url)); diff != "" {
			t.Errorf("down again to %d: %s", v, diff)
		}
	}
	if at[0] != "" {
		t.Errorf("left over:\n%s", at[0])
	}
}

func TestUpByManyAtOnce(t *testing.T) {
	t.Parallel()
	url := outboxtest.New(t)
	full := schema(t, url)
	ok(t, migrations.DownTo(t.Context(), url, 0))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := migrations.Up(t.Context(), url); err != nil {
				t.Error(err)
			}
			if err := migrations.Check(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(full, schema(t, url)); diff != "" {
		t.Error(diff)
	}
}

// An error tells where, and keeps the password.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:secret@127.0.0.1:1/db?sslmode=disable", "postgres://u:secret@[::1/db"} {
		if err := migrations.Check(t.Context(), url); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "migrations: ") {
			t.Errorf("got %v", err)
		}
	}
}
