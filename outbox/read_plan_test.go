package outbox

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// What is not done is counted through indexes, however many rows are created beside it.
func TestSnapshotReadsIndexes(t *testing.T) {
	s := open(t)
	_, err := s.pool.Exec(t.Context(), `
INSERT INTO event (event_id, object_type, status, payload, content_hash, record_id, reason, dead_at, stream, stream_seq)
SELECT 'e' || n, 'deals', CASE WHEN n % 100 = 0 THEN 'dead' ELSE 'created' END,
  CASE WHEN n % 100 = 0 THEN '{}'::bytea END, 'h', CASE WHEN n % 100 > 0 THEN n::text END,
  CASE WHEN n % 100 = 0 THEN 'rejected' END, CASE WHEN n % 100 = 0 THEN now() END, 's', n
FROM generate_series(1, 50000) n`)
	ok(t, err)
	_, err = s.pool.Exec(t.Context(), `ANALYZE event`)
	ok(t, err)
	for _, sql := range []string{countOpen, countRetry, countUnknown, countDead} {
		rows, _ := s.pool.Query(t.Context(), `EXPLAIN `+sql)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		ok(t, err)
		if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan") || strings.Contains(text, "_pkey") {
			t.Errorf("%s\nreads all of a table:\n%s", sql, text)
		}
	}
}
