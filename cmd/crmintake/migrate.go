package main

import (
	"context"
	"fmt"
	"time"

	"crmintake/migrations"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply all migrations that are missing. Workers of the version before go on meanwhile."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations, and which are applied. Exit code 1 if one is missing."`
}

type migrateUpCmd struct{ databaseFlags }

func (migrateUpCmd) Help() string {
	return "Run it before a new version is rolled out: a worker refuses to start on a schema that is behind. It may be run " +
		"by several processes at once, one of which does the work."
}

func (c *migrateUpCmd) Run(ctx context.Context, p *program) error {
	report, err := migrateUp(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	if p.Output == "json" {
		return printJSON(p.out, report)
	}
	for _, name := range report.Applied {
		fmt.Fprintln(p.out, "applied", name)
	}
	_, err = fmt.Fprintf(p.out, "The schema is up to date, at version %d.\n", report.Version)
	return err
}

type migrateStatusCmd struct{ databaseFlags }

func (c *migrateStatusCmd) Run(ctx context.Context, p *program) error {
	list, err := migrations.List(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	missing := 0
	for _, m := range list {
		if m.AppliedAt.IsZero() {
			missing++
		}
	}
	if err := printMigrations(p, list); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("the database's schema is behind by %d of %d migrations; type 'crmintake migrate up'", missing, len(list))
	}
	return nil
}

func printMigrations(p *program, list []migrations.Status) error {
	if p.Output == "json" {
		return printJSON(p.out, list)
	}
	t := newTable(column{title: "VERSION", right: true}, column{title: "APPLIED"}, column{title: "MIGRATION", fit: true})
	for _, m := range list {
		applied := "no"
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		t.row(m.Version, applied, m.Name)
	}
	return t.print(p.out, screenOf(p.out))
}
