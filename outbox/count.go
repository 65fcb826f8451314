package outbox

import (
	"context"
	"fmt"
)

// MostCounted is how far CountDue counts: what costs a statement some 20 ms.
const MostCounted = 100_000

const countDue = `
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE next_attempt_at IS NOT NULL AND misses IS NULL LIMIT $1) r)
  + (SELECT count(*) FROM (SELECT FROM outbox WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL LIMIT $1) u)`

// CountDue counts the rows in `retry` and `unknown` that wait for a call, now or later; of each no more than MostCounted, so
// that its cost does not grow with the backlog.
func (s *Store) CountDue(ctx context.Context) (n int, err error) {
	if err := s.pool.QueryRow(ctx, countDue, MostCounted).Scan(&n); err != nil {
		return 0, fmt.Errorf("outbox: count: %w", err)
	}
	return n, nil
}
