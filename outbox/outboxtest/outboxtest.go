package outboxtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
	"crmintake/deploy/local/pgcluster"
	"crmintake/migrations"
)

// variable names the server to use instead of one of our own.
const variable = "CRMINTAKE_TEST_DATABASE_URL"

// limit bounds each thing done here; the longest is to start a server on a machine that is busy with other tests.
const limit = 2 * time.Minute

// shared is the test process's server. It has to be a variable of the package: tests have no other place in common.
var shared home

// Main runs the tests, cleans up and exits. Call it from TestMain, as the last thing.
func Main(m *testing.M) {
	parallel.Default()
	code := m.Run()
	err := shared.close()
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "outboxtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Syncing has the server keep its files as one in production does, for a package whose tests look at that. TestMain
// calls it before Main.
func Syncing() { shared.syncing = true }

// New returns the URL of a new, migrated database, which is dropped at the end of the test.
func New(t testing.TB) string {
	t.Helper()
	if err := shared.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	name := unique("test")
	// Files copied cost a tenth of pages logged, as long as nothing is synced.
	if err := shared.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+shared.template+shared.strategy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := shared.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return shared.url(name)
}

// Cluster starts a server for this test alone, to restart or crash. What it confirmed as committed survives
// pgcluster.Cluster.Kill. Its databases are not migrated.
func Cluster(t testing.TB) *pgcluster.Cluster {
	t.Helper()
	if err := pgcluster.Install(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	settings := map[string]string{"synchronous_commit": "on"}
	if shared.syncing {
		settings["fsync"], settings["full_page_writes"] = "on", "on"
	}
	c, err := pgcluster.Start(ctx, pgcluster.Config{Settings: settings, InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Pooled is the way to a database of New's through a PgBouncer of the test's own, as it is installed but for the
// settings; it pools transactions unless they say otherwise. Without PgBouncer the test is skipped.
func Pooled(t testing.TB, database string, settings map[string]string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p, err := pgcluster.StartPooler(ctx, database, settings)
	if errors.Is(err, pgcluster.ErrNoPooler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p.URL()
}

// home is where the databases live: a server, ours or another's, and a template on it.
type home struct {
	mu     sync.Mutex // guards all that follows until opened
	opened bool
	err    error // why it can't be opened; the next test need not try again

	syncing  bool               // set before the tests begin
	cluster  *pgcluster.Cluster // nil if the server is another's
	server   url.URL
	admin    *pgxpool.Pool // creates and drops databases
	template string
	strategy string // how it is copied
}

func (h *home) open(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.opened {
		h.opened = true
		if h.err = h.prepare(ctx); h.err != nil && h.admin != nil {
			h.admin.Close()
		}
	}
	return h.err
}

func (h *home) prepare(ctx context.Context) error {
	address := os.Getenv(variable)
	if address == "" {
		if err := pgcluster.Install(ctx, nil); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if address == "" {
		settings := map[string]string{
			"max_connections": "200",
			"max_wal_size":    "256MB", // it may be in memory
			"autovacuum":      "off",   // it comes when it likes; a test that needs statistics says ANALYZE
		}
		if h.syncing {
			settings["fsync"], settings["full_page_writes"] = "on", "on"
		}
		c, err := pgcluster.Start(ctx, pgcluster.Config{Settings: settings, InMemory: true})
		if err != nil {
			return err
		}
		h.cluster, h.strategy = c, " STRATEGY file_copy"
		address = c.URL("postgres")
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New(variable + " is not a URL that begins with postgres://") // without the value, which holds a password
	}
	h.server = *u
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return errors.New(variable + " can't be read") // likewise
	}
	cfg.MaxConns = 2
	if h.admin, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return err
	}
	if h.cluster == nil {
		if err := h.superuser(ctx); err != nil {
			return err
		}
	}
	name := unique("template")
	if err := h.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	h.template = name
	if err := migrations.Up(ctx, h.url(name)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// superuser sees whether tests may do what they do: drop databases that others are connected to, and set what is
// counted of tables.
func (h *home) superuser(ctx context.Context) error {
	var is bool
	err := h.admin.QueryRow(ctx, `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&is)
	if err == nil && !is {
		err = errors.New(variable + ": its role is no superuser, as the tests want one")
	}
	return err
}

func (h *home) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.cluster == nil && h.template != "" {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		err = h.exec(ctx, "DROP DATABASE "+h.template+" WITH (FORCE)")
	}
	if h.admin != nil {
		h.admin.Close()
	}
	if h.cluster != nil {
		err = h.cluster.Stop()
	}
	return err
}

func (h *home) url(dbname string) string {
	u := h.server
	u.Path = "/" + dbname
	return u.String()
}

func (h *home) exec(ctx context.Context, sql string) error {
	if _, err := h.admin.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// unique returns a name that needs no quotes and that no other test process uses.
func unique(kind string) string {
	return "crmintake_" + kind + "_" + strings.ToLower(rand.Text())
}
