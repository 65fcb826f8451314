package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Vault keeps secrets for the whole fleet, one under each name.
type Vault struct{ pool *Pool }

// errUnchanged rolls a transaction back that came to its end.
var errUnchanged = errors.New("unchanged")

// ChangeSecret shows what is kept under a name, nil if nothing is, and its age by the database's clock, and keeps what
// change makes of it. From before the one to after the other nobody else of the fleet is shown it: they wait, or until
// their ctx ends. When change returns nil, or an error, which ChangeSecret returns as it is, all stays as it was.
//
// What change returned is durable only when ChangeSecret has returned without error. After an error of the database it
// may be or not be: what is kept is shown to the next who asks. change is called once; a connection is taken for as
// long as it runs.
func (s *Vault) ChangeSecret(ctx context.Context, name string, change func(value []byte, age time.Duration) ([]byte, error)) error {
	var refused error
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The row is there to be locked, at first as well.
		if _, err := tx.Exec(ctx, `INSERT INTO credential (name, sealed) VALUES ($1, '') ON CONFLICT DO NOTHING`, name); err != nil {
			return err
		}
		var value []byte
		var age time.Duration
		if err := tx.QueryRow(ctx, `SELECT nullif(sealed, '') FROM credential WHERE name = $1 FOR UPDATE`, name).Scan(&value); err != nil {
			return err
		}
		// By the time after the lock, for which it may have waited.
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp() - updated_at FROM credential WHERE name = $1`, name).Scan(&age); err != nil {
			return err
		}
		started := time.Now()
		value, refused = change(value, age)
		if refused != nil || value == nil {
			return errUnchanged
		}
		_, err := tx.Exec(ctx, `UPDATE credential SET sealed = $2, updated_at = clock_timestamp() - $3::interval WHERE name = $1`,
			name, value, time.Since(started))
		return err
	})
	switch {
	case refused != nil:
		return refused
	case err == errUnchanged:
		return nil
	case err != nil:
		return fmt.Errorf("outbox: credential: %w", err)
	}
	return nil
}
