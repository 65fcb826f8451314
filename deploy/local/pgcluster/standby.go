package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/internal/loopback"
)

// Standby starts a server that is a copy of primary and follows it, by streaming replication. It answers queries and
// takes no writes until Promote. Its password is the primary's. The primary has to run, and waits for nobody: see
// Synchronous.
func Standby(ctx context.Context, primary *Cluster, cfg Config) (*Cluster, error) {
	u, err := pgx.ParseConfig(primary.URL("postgres"))
	if err != nil {
		return nil, err
	}
	c, err := start(ctx, cfg, primary.password, func(c *Cluster, as *syscall.Credential) error {
		label, err := primary.backup(ctx, func() error { return c.guardian.copy(primary.dir) })
		if err != nil {
			return err
		}
		settings := fmt.Sprintf("primary_conninfo = 'host=%s port=%d user=%s sslmode=disable passfile=''%s'''",
			loopback.Host, u.Port, superuser, filepath.Join(c.dir, "pgpass"))
		// Fields of the file with the password: host, port, database, user, password; as * each but the last.
		return errors.Join(c.writeSecret("pgpass", "*:*:*:*:"+c.password, as), c.writeSecret("data/backup_label", label, as),
			c.writeSecret("data/postgresql.auto.conf", settings, as))
	})
	if err != nil {
		return nil, fmt.Errorf("start a PostgreSQL standby: %w", err)
	}
	return c, nil
}

// backup has the data copied while the server runs, as pg_basebackup does, which not every package has. What it returns
// tells the copy where to begin.
func (c *Cluster) backup(ctx context.Context, copy func() error) (label string, err error) {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SELECT pg_backup_start('standby', true)`); err != nil {
		return "", err
	}
	if err := copy(); err != nil {
		return "", err
	}
	err = conn.QueryRow(ctx, `SELECT labelfile FROM pg_backup_stop(false)`).Scan(&label)
	return label, err
}

// Synchronous has the primary confirm a commit only when a standby has it on disk, too. It wants synchronous_commit=on.
func (c *Cluster) Synchronous(ctx context.Context) error {
	return c.exec(ctx, "have PostgreSQL wait for its standby",
		`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`)
}

// Promote makes a standby a primary, and returns when it takes writes.
func (c *Cluster) Promote(ctx context.Context) error {
	return c.exec(ctx, "promote PostgreSQL's standby", `SELECT pg_promote()`)
}

// exec runs statements as superuser, each by itself.
func (c *Cluster) exec(ctx context.Context, what string, statements ...string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %s: %w", what, sql, err)
		}
	}
	return nil
}
