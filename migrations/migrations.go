package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Prepare completes the settings of a connection that is about to be made, for example with a password that has changed
// since.
type Prepare func(ctx context.Context, cfg *pgx.ConnConfig) error

// Up applies all migrations that are missing.
func Up(ctx context.Context, databaseURL string, prepare ...Prepare) error {
	_, err := Apply(ctx, databaseURL, prepare...)
	return err
}

// Apply is Up, and returns the names of those that it applied itself: of several at once, one does it.
func Apply(ctx context.Context, databaseURL string, prepare ...Prepare) (names []string, err error) {
	err = with(databaseURL, prepare, func(p *goose.Provider) error {
		applied, err := p.Up(ctx)
		for _, one := range applied {
			names = append(names, one.Source.Path)
		}
		return err
	})
	return names, err
}

// DownTo takes back all migrations after version, with the data that they hold. It is for tests.
func DownTo(ctx context.Context, databaseURL string, version int64) error {
	return with(databaseURL, nil, func(p *goose.Provider) error {
		_, err := p.DownTo(ctx, version)
		return err
	})
}

func with(databaseURL string, prepare []Prepare, do func(*goose.Provider) error) error {
	db, err := open(databaseURL, prepare)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(&turn{db: db}))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if err := do(p); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return nil
}

func open(databaseURL string, prepare []Prepare) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("migrations: the database's address can't be read") // pgx's own words can hold a part of the password
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // a pooler forgets prepared statements
	return stdlib.OpenDB(*cfg, stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) error {
		for _, p := range prepare {
			if err := p(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})), nil
}

// turn lets one process at a time through. A transaction beside the migrations' own holds the lock: behind a pooler a
// session's would stay with whichever server process took it.
type turn struct {
	db *sql.DB
	tx *sql.Tx
}

const (
	turnPace = 200 * time.Millisecond
	turnMost = 5 * time.Minute // how long one waits for others
)

// The migrations may take their time.
const endless = `
SELECT set_config('idle_in_transaction_session_timeout', '0', true),
  CASE WHEN current_setting('server_version_num')::int >= 170000 THEN set_config('transaction_timeout', '0', true) END`

// SessionLock implements lock.SessionLocker. It looks again and again: a statement that waited would hold a snapshot,
// for the end of which an index that is made concurrently waits in turn. So would a stricter isolation level.
func (l *turn) SessionLock(ctx context.Context, _ *sql.Conn) (err error) {
	if l.tx, err = l.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
		return err
	}
	_, err = l.tx.ExecContext(ctx, endless)
	for limit := time.Now().Add(turnMost); err == nil; {
		var ours bool
		err = l.tx.QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(lock.DefaultLockID)).Scan(&ours)
		if err == nil && ours {
			return nil
		}
		if err == nil && time.Now().After(limit) {
			err = fmt.Errorf("another process has been at the migrations for %v", turnMost)
		}
		if err == nil {
			select {
			case <-time.After(turnPace):
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
	}
	return errors.Join(err, l.tx.Rollback())
}

// SessionUnlock implements lock.SessionLocker.
func (l *turn) SessionUnlock(context.Context, *sql.Conn) error { return l.tx.Rollback() }
