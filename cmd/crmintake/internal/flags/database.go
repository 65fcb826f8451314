package flags

import (
	"context"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// databaseFlags say where the outbox is.
type Database struct {
	DatabaseURL          string `name:"database-url" help:"Postgres database of the outbox, as postgres://user:password@host:port/name. Better given by its environment variable: a command line is readable for all users." required:"" placeholder:"URL"`
	DatabasePasswordFile string `name:"database-password-file" help:"A file with the password, which the address then does without. It is read at each new connection, as the certificates are that the address names." placeholder:"FILE"`
}

func (f Database) Password() Secret {
	return Secret{flag: "database-password", file: f.DatabasePasswordFile}
}

// validate tells what is wrong with the flags without repeating them.
func (f Database) Check() error {
	if err := outbox.ValidateURL(f.DatabaseURL); err != nil {
		return Usage(err)
	}
	if f.DatabasePasswordFile != "" && hasPassword(f.DatabaseURL) {
		return Usagef("a password is in --database-url, and --database-password-file is given; give one")
	}
	return f.Password().validate()
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
func (f Database) Prepare(_ context.Context, c *pgx.ConnConfig) error {
	fresh, err := pgx.ParseConfig(f.DatabaseURL)
	if err != nil {
		return outbox.ValidateURL(f.DatabaseURL)
	}
	c.Password, c.TLSConfig, c.Fallbacks = fresh.Password, fresh.TLSConfig, fresh.Fallbacks
	if f.DatabasePasswordFile != "" {
		c.Password, err = f.Password().read()
	}
	return err
}

// prepareChange is prepare for what changes the schema, which is not the outbox's own connections.
func (f Database) PrepareChange(ctx context.Context, c *pgx.ConnConfig) error {
	if err := f.Prepare(ctx, c); err != nil {
		return err
	}
	outbox.Configure(c)
	return nil
}

// open connects to the outbox, whatever its schema is.
func (f Database) Open(ctx context.Context, maxConns int) (*outbox.Store, error) {
	return outbox.Open(ctx, f.DatabaseURL, maxConns, f.Prepare)
}
