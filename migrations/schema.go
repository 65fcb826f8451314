package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Status is one migration and when it was applied; AppliedAt is zero when it was not.
type Status struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
}

// Schema is how far a database's schema is, and for whom.
type Schema struct {
	Migrations []Status // this program's, in order
	Newer      int      // how many of later programs' are applied beside them
	// Since is the migration that a program must know to work with the schema; 0 if there is no schema yet. See the
	// table compatible.
	Since    int64
	Encoding string // the database's
}

// Latest is the last migration that this program knows.
func (s Schema) Latest() int64 { return s.Migrations[len(s.Migrations)-1].Version }

// Holds returns nil if the database can hold whatever events have in them, else what to do.
func (s Schema) Holds() error {
	if s.Encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s, and events can hold any character; "+
			"create one with CREATE DATABASE crm ENCODING 'UTF8' TEMPLATE template0", s.Encoding)
	}
	return nil
}

// Fit returns nil if this program can work with the schema, else what to do.
func (s Schema) Fit() error {
	if err := s.Holds(); err != nil {
		return err
	}
	for _, m := range s.Migrations {
		if m.AppliedAt.IsZero() {
			return fmt.Errorf("the database's schema is behind: migration %d (%s) is not applied; type 'crmintake migrate up'", m.Version, m.Name)
		}
	}
	if s.Since > s.Latest() {
		return fmt.Errorf("the database's schema is too new for this crmintake: it wants one that knows migration %d, and this one knows %d at most; "+
			"install a newer one", s.Since, s.Latest())
	}
	return nil
}

// Inspect looks at the schema and changes nothing: goose would begin by making its table.
func Inspect(ctx context.Context, databaseURL string, prepare ...Prepare) (s Schema, err error) {
	db, err := open(databaseURL, prepare)
	if err != nil {
		return Schema{}, err
	}
	defer db.Close()
	if s, err = inspect(ctx, db); err != nil {
		return Schema{}, fmt.Errorf("migrations: %w", err)
	}
	return s, nil
}

// InspectPool is Inspect by connections that are there.
func InspectPool(ctx context.Context, pool *pgxpool.Pool) (s Schema, err error) {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	if s, err = inspect(ctx, db); err != nil {
		return Schema{}, fmt.Errorf("migrations: %w", err)
	}
	return s, nil
}

// Check returns an error that tells what to do unless this program can work with the schema.
func Check(ctx context.Context, databaseURL string, prepare ...Prepare) error {
	s, err := Inspect(ctx, databaseURL, prepare...)
	if err != nil {
		return err
	}
	return s.Fit()
}

const appliedMigrations = `
SELECT version_id, max(tstamp)::timestamptz FROM ` + goose.DefaultTablename + ` WHERE is_applied AND version_id > 0 GROUP BY version_id`

func inspect(ctx context.Context, db *sql.DB) (s Schema, err error) {
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return s, err
	}
	for _, source := range p.ListSources() {
		s.Migrations = append(s.Migrations, Status{Version: source.Version, Name: source.Path})
	}
	var begun bool
	err = db.QueryRowContext(ctx, `
SELECT to_regclass('`+goose.DefaultTablename+`') IS NOT NULL, current_setting('server_encoding')`).Scan(&begun, &s.Encoding)
	if err != nil || !begun {
		return s, err
	}
	rows, err := db.QueryContext(ctx, appliedMigrations)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	applied := 0
	for ; rows.Next(); applied++ {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return s, err
		}
		known := false
		for i := range s.Migrations {
			if m := &s.Migrations[i]; m.Version == version {
				m.AppliedAt, known = at, true
			}
		}
		if !known {
			s.Newer++
		}
	}
	if err := rows.Err(); err != nil || applied == 0 {
		return s, err
	}
	return s, db.QueryRowContext(ctx, `SELECT since FROM compatible`).Scan(&s.Since)
}
