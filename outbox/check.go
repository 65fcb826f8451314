package outbox

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

// Server is what a database server is, as far as the outbox depends on it.
type Server struct {
	Version  int  // as server_version_num: 150004 for 15.4
	ReadOnly bool // it takes no writes: a standby, or set so; or reads are answered by such a one
	Pooled   bool // there is a pooler in between, in whichever mode
	// Addr is where it was reached, and Encrypted says that nobody on the way can read what is said.
	Addr      string
	Encrypted bool
	// Ahead is by how much its clock is ahead of this machine's, as exactly as half of the time that its answer took.
	Ahead time.Duration
}

// Inspect looks at the server and changes nothing.
func (s *Store) Inspect(ctx context.Context) (v Server, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return Server{}, fmt.Errorf("outbox: inspect: %w", err)
	}
	defer conn.Release()
	wire := conn.Conn().PgConn().Conn()
	v.Addr = wire.RemoteAddr().String()
	_, v.Encrypted = wire.(*tls.Conn)
	var now time.Time
	asked := time.Now()
	err = conn.QueryRow(ctx, `
SELECT current_setting('server_version_num')::int,
  pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, pg_backend_pid() <> $1::bigint, now()`,
		conn.Conn().PgConn().PID()).
		Scan(&v.Version, &v.ReadOnly, &v.Pooled, &now)
	v.Ahead = now.Sub(asked.Add(time.Since(asked) / 2))
	if err == nil && !v.ReadOnly {
		// By itself: a pooler that spreads reads over standbys takes this for one, and the above not.
		err = conn.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::bool`).Scan(&v.ReadOnly)
	}
	if err != nil {
		return Server{}, fmt.Errorf("outbox: inspect: %w", err)
	}
	return v, nil
}
