package migrations

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// Inspect is List for who must change nothing: List itself begins by making its table in an empty database.
func Inspect(ctx context.Context, databaseURL string) ([]Status, error) {
	db, err := open(databaseURL)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var begun bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('`+goose.DefaultTablename+`') IS NOT NULL`).Scan(&begun); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	if begun {
		return List(ctx, databaseURL)
	}
	var list []Status
	p, err := goose.NewProvider(goose.DialectPostgres, db, fs.FS(files))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	for _, s := range p.ListSources() {
		list = append(list, Status{Version: s.Version, Name: s.Path})
	}
	return list, nil
}
