package main

import (
	"context"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/migrations"
)

type migrateStatusCmd struct{ flags.Database }

func (c *migrateStatusCmd) Run(ctx context.Context, p *program) error {
	if err := c.Database.Check(); err != nil {
		return err
	}
	schema, err := migrations.Inspect(ctx, c.DatabaseURL, c.Prepare)
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
		return view.JSON(p.out, schema.Migrations)
	}
	t := view.NewTable(view.Column{Title: "VERSION", Right: true}, view.Column{Title: "APPLIED"},
		view.Column{Title: "MIGRATION", Fit: true})
	for _, m := range schema.Migrations {
		applied := "no"
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		t.Row(m.Version, applied, m.Name)
	}
	if err := t.Print(p.out, p.screen()); err != nil || schema.Newer == 0 {
		return err
	}
	_, err := fmt.Fprintf(p.out, "and %s of a newer crmintake\n", view.Count(schema.Newer, "migration"))
	return err
}
