package outbox

import (
	"context"
	"fmt"
	"strings"
)

// Server is what a database server is, as far as the outbox depends on it.
type Server struct {
	Version  int    // as server_version_num: 150004 for 15.4
	Encoding string // of the database; the outbox wants UTF8
	ReadOnly bool   // it takes no writes: a standby, or set so
	Missing  []string
}

// tables are all that workers and operators read and write.
var tables = []string{"outbox", "attempt", "outbox_error", "pause", "quota", "worker", "operator_action", "follow", "fuse", "credential"}

// Inspect looks at the server and changes nothing. Missing are the rights on the outbox's tables that the role does not have, as
// "INSERT on outbox"; the schema must be there.
func (s *Store) Inspect(ctx context.Context) (v Server, err error) {
	err = s.pool.QueryRow(ctx, `
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
  pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
  ARRAY(SELECT r || ' on ' || t FROM unnest($1::text[]) AS t, unnest($2::text[]) AS r WHERE NOT has_table_privilege(t, r) ORDER BY 1)`,
		tables, strings.Fields("SELECT INSERT UPDATE DELETE")).Scan(&v.Version, &v.Encoding, &v.ReadOnly, &v.Missing)
	if err != nil {
		return Server{}, fmt.Errorf("outbox: inspect: %w", err)
	}
	return v, nil
}
