package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/migrations"
)

type migrateUpCmd struct {
	flags.Database
	rolesFlag
}

// rolesFlag is for those who give each process the rights that it needs, and no more.
type rolesFlag struct {
	Roles bool `help:"Make the SQL roles crmintake_worker, crmintake_operator and crmintake_reader, or bring up to date what they may do."`
}

func (migrateUpCmd) Help() string {
	return "Run it before a new version is rolled out: a worker refuses to start on a schema that is behind. It may " +
		"be run " +
		"by several processes at once, one of which does the work. The roles are for GRANT: nobody logs in as one of " +
		"them. Give --roles each time."
}

func (c *migrateUpCmd) Run(ctx context.Context, p *program) error {
	if err := c.Database.Check(); err != nil {
		return err
	}
	report, err := migrateUp(ctx, c.Database, c.rolesFlag)
	if err != nil {
		return err
	}
	if p.Output == "json" {
		return view.JSON(p.out, report)
	}
	for _, name := range report.Applied {
		fmt.Fprintln(p.out, "applied", name)
	}
	if report.Roles != nil {
		fmt.Fprintln(p.out, report.roles())
	}
	_, err = fmt.Fprintf(p.out, "The schema is up to date, at version %d.\n", report.Version)
	return err
}

// schemaReport is what was done to the schema.
type schemaReport struct {
	Version int64    `json:"version"`
	Applied []string `json:"applied"`         // the migrations that were missing
	Roles   []string `json:"roles,omitempty"` // whose rights are up to date; none without --roles
}

func (r schemaReport) roles() string {
	return "the roles " + strings.Join(r.Roles, ", ") + " are up to date"
}

// migrateUp brings the schema up to date, and the roles if they are wanted, and tells what it did.
func migrateUp(ctx context.Context, f flags.Database, roles rolesFlag) (report schemaReport, err error) {
	before, err := migrations.Inspect(ctx, f.DatabaseURL, f.PrepareChange)
	if err != nil {
		return report, err
	}
	if err := before.Holds(); err != nil {
		return report, err
	}
	if before.Newer > 0 && roles.Roles {
		return report, errors.New("the database's schema is newer than this crmintake, which does not know what the " +
			"roles need now; give --roles to the newest one")
	}
	applied, err := migrations.Apply(ctx, f.DatabaseURL, f.PrepareChange)
	if err != nil {
		return report, err
	}
	if err := migrations.Check(ctx, f.DatabaseURL, f.PrepareChange); err != nil {
		return report, err
	}
	report = schemaReport{Version: before.Latest(), Applied: append([]string{}, applied...)}
	if roles.Roles {
		report.Roles, err = migrations.Roles(ctx, f.DatabaseURL, f.PrepareChange)
	}
	return report, err
}
