package main

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply all migrations that are missing. Workers of the version before go on meanwhile."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations, and which are applied. Exit code 1 if one is missing."`
}
