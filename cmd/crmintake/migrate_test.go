package main

import (
	"testing"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	// A database without anything is made by taking a migrated one back.
	database := outboxtest.New(t)
	crmintake(t, "", "migrate", "status", "--database-url", database).want(t, 0, "00001_outbox.sql")
	if err := migrations.DownTo(t.Context(), database, 0); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "migrate", "status", "--database-url", database).want(t, 1, "VERSION", "no  ", "00001_outbox.sql",
		"'crmintake migrate up'")
	crmintake(t, "", "migrate", "up", "--database-url", database).want(t, 0, "applied 00001_outbox.sql\n",
		"The schema is up to date, at version ")
	crmintake(t, "", "migrate", "up", "--database-url", database).want(t, 0, "The schema is up to date, at version ")

	if err := migrations.DownTo(t.Context(), database, 0); err != nil {
		t.Fatal(err)
	}
	var report schemaReport
	up := crmintake(t, "", "migrate", "up", "--database-url", database, "--output", "json")
	up.json(t, &report)
	if len(report.Applied) == 0 || report.Applied[0] != "00001_outbox.sql" || report.Version < 1 {
		t.Errorf("up says %s", up.out)
	}
	var list []struct {
		Version   int64  `json:"version"`
		Name      string `json:"name"`
		AppliedAt string `json:"applied_at"`
	}
	status := crmintake(t, "", "migrate", "status", "--database-url", database, "--output", "json")
	status.want(t, 0)
	status.json(t, &list)
	if len(list) == 0 || list[0].Version != 1 || list[0].AppliedAt == "" {
		t.Errorf("status says %s", status.out)
	}
	crmintake(t, "", "migrate", "status", "--database-url", "postgres://127.0.0.1:1/x").want(t, 1, "migrations: ")
}
