package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Prepare completes the settings of a connection that is about to be made, for example with a password that has changed since.
type Prepare func(ctx context.Context, cfg *pgx.ConnConfig) error

// Up applies all migrations that are missing.
func Up(ctx context.Context, databaseURL string, prepare ...Prepare) error {
	return with(databaseURL, prepare, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
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
	// Workers that start together wait for each other: look again each second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
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
	return stdlib.OpenDB(*cfg, stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) error {
		for _, p := range prepare {
			if err := p(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})), nil
}
