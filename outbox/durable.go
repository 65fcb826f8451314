package outbox

import (
	"context"
	"fmt"
)

// Durability is what a server's settings say of what survives it.
type Durability struct {
	Fsync, FullPageWrites bool
	// Standbys follow it, as far as this role sees, and Synchronous says that a commit waits for any of them.
	Standbys    int
	Synchronous bool
}

// Subscribers of logical replication, and copies that are being made, are no standbys. Who may not see what the others
// do sees that they are there.
const durability = `
SELECT current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
  (SELECT count(*) FROM pg_stat_replication r WHERE coalesce(r.state, '') <> 'backup'
    AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
  current_setting('synchronous_standby_names') <> ''`

// Durability looks at the server's settings and changes nothing.
func (s *Store) Durability(ctx context.Context) (d Durability, err error) {
	err = s.pool.QueryRow(ctx, durability).Scan(&d.Fsync, &d.FullPageWrites, &d.Standbys, &d.Synchronous)
	if err != nil {
		return Durability{}, fmt.Errorf("outbox: durability: %w", err)
	}
	return d, nil
}
