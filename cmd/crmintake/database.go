package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"crmintake/migrations"
	"crmintake/outbox"
)

// databaseFlags say where the outbox is.
type databaseFlags struct {
	DatabaseURL          string `name:"database-url" help:"Postgres database of the outbox, as postgres://user:password@host:port/name. Better given by its environment variable: a command line is readable for all users." required:"" placeholder:"URL"`
	DatabasePasswordFile string `name:"database-password-file" help:"A file with the password, which the address then does without. It is read at each new connection, as the certificates are that the address names." placeholder:"FILE"`
}

func (f databaseFlags) password() secretFlag {
	return secretFlag{flag: "database-password", file: f.DatabasePasswordFile}
}

// validate tells what is wrong with the flags without repeating them.
func (f databaseFlags) validate() error {
	if err := outbox.ValidateURL(f.DatabaseURL); err != nil {
		return usageError{err}
	}
	if f.DatabasePasswordFile != "" && hasPassword(f.DatabaseURL) {
		return usagef("a password is in --database-url, and --database-password-file is given; give one")
	}
	return f.password().validate()
}

// hasPassword tells whether an address holds a password, in whichever of its places.
func hasPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" { // host=… user=… password=…
		return strings.Contains(address, "password=")
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}

// prepare completes the settings of a connection that is about to be made with what may have been replaced since the
// start: password and certificates.
func (f databaseFlags) prepare(_ context.Context, c *pgx.ConnConfig) error {
	fresh, err := pgx.ParseConfig(f.DatabaseURL)
	if err != nil {
		return outbox.ValidateURL(f.DatabaseURL)
	}
	c.Password, c.TLSConfig, c.Fallbacks = fresh.Password, fresh.TLSConfig, fresh.Fallbacks
	if f.DatabasePasswordFile != "" {
		c.Password, err = f.password().read()
	}
	return err
}

// prepareChange is prepare for what changes the schema, which is not the outbox's own connections.
func (f databaseFlags) prepareChange(ctx context.Context, c *pgx.ConnConfig) error {
	if err := f.prepare(ctx, c); err != nil {
		return err
	}
	outbox.Configure(c)
	return nil
}

// mayWork tells what a worker needs and may not do. Else each of its statements would fail, again and again, or not
// find its rows.
func mayWork(ctx context.Context, store *outbox.Store) error {
	missing, err := migrations.MissingRights(ctx, store.Pool().Pool, migrations.WorkerRole)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("the role lacks %s; type 'crmintake migrate up --roles', then have GRANT %s TO it", strings.Join(missing, ", "), migrations.WorkerRole)
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

// open connects to the outbox, whatever its schema is.
func (f databaseFlags) open(ctx context.Context, maxConns int) (*outbox.Store, error) {
	return outbox.Open(ctx, f.DatabaseURL, maxConns, f.prepare)
}

// openStore connects to the outbox, whose schema must be one that this program can work with.
func openStore(ctx context.Context, f databaseFlags, maxConns int) (*outbox.Store, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	store, err := f.open(ctx, maxConns)
	return fitting(ctx, store, err)
}

// openWorker connects a worker to the outbox, which is the primary's, and with which it can work.
func openWorker(ctx context.Context, f databaseFlags, maxConns int) (*outbox.Store, error) {
	store, err := outbox.OpenWorker(ctx, f.DatabaseURL, maxConns, f.prepare)
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
		return usagef("%w; check user and password in --database-url or --database-password-file, "+
			"and that the server lets this user in from here", err)
	case outbox.NoSuchDatabase:
		return usagef("%w; create the database, or correct its name in --database-url", err)
	case outbox.BadParameter:
		return usagef("%w; take that out of --database-url and give it to the role, "+
			"as by ALTER ROLE intake IN DATABASE crm SET search_path = crm", err)
	}
	switch {
	case errors.Is(err, outbox.ErrPooler):
		return usageError{err}
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return usagef("%w; check sslrootcert in --database-url, and that the name in it is one of the certificate's", err)
	}
	return nil
}
