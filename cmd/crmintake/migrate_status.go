package main

import (
	"context"
	"fmt"
	"time"

	"crmintake/migrations"
)

type migrateStatusCmd struct{ databaseFlags }

func (c *migrateStatusCmd) Run(ctx context.Context, p *program) error {
	if err := c.databaseFlags.validate(); err != nil {
		return err
	}
	schema, err := migrations.Inspect(ctx, c.DatabaseURL, c.prepare)
	if err != nil {
		return err
	}
	if err := printMigrations(p, schema); err != nil {
		return err
	}
	return schema.Fit()
}

func printMigrations(p *program, schema migrations.Schema) error {
	if p.Output == "json" {
		return printJSON(p.out, schema.Migrations)
	}
	t := newTable(column{title: "VERSION", right: true}, column{title: "APPLIED"}, column{title: "MIGRATION", fit: true})
	for _, m := range schema.Migrations {
		applied := "no"
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		t.row(m.Version, applied, m.Name)
	}
	if err := t.print(p.out, p.screen()); err != nil || schema.Newer == 0 {
		return err
	}
	_, err := fmt.Fprintf(p.out, "and %s of a newer crmintake\n", count(schema.Newer, "migration"))
	return err
}
