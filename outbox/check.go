package outbox

import (
	"context"
	"fmt"
)

// Server is what a database server is, as far as the outbox depends on it.
type Server struct {
	Version  int    // as server_version_num: 150004 for 15.4
	Encoding string // of the database; the outbox wants UTF8
	ReadOnly bool   // it takes no writes: a standby, or set so
}

// Inspect looks at the server and changes nothing.
func (s *Store) Inspect(ctx context.Context) (v Server, err error) {
	err = s.pool.QueryRow(ctx, `
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
  pg_is_in_recovery() OR current_setting('transaction_read_only')::bool`).Scan(&v.Version, &v.Encoding, &v.ReadOnly)
	if err != nil {
		return Server{}, fmt.Errorf("outbox: inspect: %w", err)
	}
	return v, nil
}
