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

// Status is one migration and when it was applied; AppliedAt is zero when it was not.
type Status struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
}

// Up applies all migrations that are missing.
func Up(ctx context.Context, databaseURL string) error {
	return with(databaseURL, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
}

// DownTo takes back all migrations after version, with the data that they hold. It is for tests.
func DownTo(ctx context.Context, databaseURL string, version int64) error {
	return with(databaseURL, func(p *goose.Provider) error {
		_, err := p.DownTo(ctx, version)
		return err
	})
}

// List tells of each migration whether it is applied, in order.
func List(ctx context.Context, databaseURL string) (list []Status, err error) {
	err = with(databaseURL, func(p *goose.Provider) error {
		states, err := p.Status(ctx)
		for _, s := range states {
			list = append(list, Status{s.Source.Version, s.Source.Path, s.AppliedAt})
		}
		return err
	})
	return list, err
}

// Check returns an error that tells what to type when the schema is behind.
func Check(ctx context.Context, databaseURL string) error {
	list, err := List(ctx, databaseURL)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.AppliedAt.IsZero() {
			return fmt.Errorf("the database's schema is behind: migration %d (%s) is not applied; type 'crmintake migrate up'", s.Version, s.Name)
		}
	}
	return nil
}

func with(databaseURL string, do func(*goose.Provider) error) error {
	db, err := open(databaseURL)
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

func open(databaseURL string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("migrations: the database's address can't be read") // pgx's own words can hold a part of the password
	}
	return stdlib.OpenDB(*cfg), nil
}
