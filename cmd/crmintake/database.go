package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/migrations"
	"crmintake/outbox"
)

// mayWork tells what a worker needs and may not do. Else each of its statements would fail, again and again, or not
// find its rows.
func mayWork(ctx context.Context, store *outbox.Store) error {
	missing, err := migrations.MissingRights(ctx, store.Pool().Pool, migrations.WorkerRole)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("the role lacks %s; type 'crmintake migrate up --roles', then have GRANT %s TO it",
			strings.Join(missing, ", "), migrations.WorkerRole)
	}
	secured, err := migrations.Secured(ctx, store.Pool().Pool)
	if err != nil {
		return err
	}
	if len(secured) > 0 {
		return fmt.Errorf("row-level security hides rows of %s from the role, which a worker would take for gone; "+
			"have the owner type ALTER TABLE %s DISABLE ROW LEVEL SECURITY",
			strings.Join(secured, ", "), strings.Join(secured, " DISABLE ROW LEVEL SECURITY; ALTER TABLE "))
	}
	return nil
}

// openStore connects to the outbox, whose schema must be one that this program can work with.
func openStore(ctx context.Context, f flags.Database, maxConns int) (*outbox.Store, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	store, err := f.Open(ctx, maxConns)
	return fitting(ctx, store, err)
}

// openWorker connects a worker to the outbox, which is the primary's, and with which it can work.
func openWorker(ctx context.Context, f flags.Database, maxConns int) (*outbox.Store, error) {
	store, err := outbox.OpenWorker(ctx, f.DatabaseURL, maxConns, f.Prepare)
	if store, err = fitting(ctx, store, err); err != nil {
		return nil, err
	}
	if err := mayWork(ctx, store); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

// fitting closes a store whose schema is not one that this program can work with.
func fitting(ctx context.Context, store *outbox.Store, err error) (*outbox.Store, error) {
	if err != nil {
		return nil, err
	}
	schema, err := migrations.InspectPool(ctx, store.Pool().Pool)
	if err == nil {
		err = schema.Fit()
	}
	if err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

// corrected adds to a refusal of the server, or of a pooler before it, what to correct in the settings; nil if waiting
// or something else helps.
func corrected(err error) error {
	switch outbox.DenialOf(err) {
	case outbox.BadLogin:
		return flags.Usagef("%w; check user and password in --database-url or --database-password-file, "+
			"and that the server lets this user in from here", err)
	case outbox.NoSuchDatabase:
		return flags.Usagef("%w; create the database, or correct its name in --database-url", err)
	case outbox.BadParameter:
		return flags.Usagef("%w; take that out of --database-url and give it to the role, "+
			"as by ALTER ROLE intake IN DATABASE crm SET search_path = crm", err)
	}
	switch {
	case errors.Is(err, outbox.ErrPooler):
		return flags.Usage(err)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return flags.Usagef("%w; check sslrootcert in --database-url, and that the name in it is one of the "+
			"certificate's", err)
	}
	return nil
}
