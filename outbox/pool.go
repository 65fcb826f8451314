package outbox

import "github.com/jackc/pgx/v5/pgxpool"

// Pool is the store's connections, for packages whose statements have no place here. It is closed with the store. Its
// connections prefer indexes to reading whole tables, see planByKeys.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }
