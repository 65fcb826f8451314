package outbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// statements are all that run on tables which grow, with how many parameters each takes.
var statements = map[string]string{
	"insertAttempt": insertAttempt, "insertSending": insertSending, "selectStanding": selectStanding, "insertDead": insertDead,
	"closeAttempt": closeAttempt, "settleErrors": settleErrors, "settleCreated": settleCreated, "settleOthers": settleOthers,
	"selectDue": selectDue, "claimedBefore": claimedBefore, "claimRetry": claimRetry, "claimUnknown": claimUnknown, "park": park,
	"expire": expireAttempts, "renew": renew, "split": split, "outstanding": outstanding,
}

// A plan that is made while the tables are empty, and kept, must still be good for a million rows.
func TestPlansUseIndexes(t *testing.T) {
	s := open(t)
	conn, err := s.pool.Acquire(t.Context())
	ok(t, err)
	defer conn.Release()
	check := func(t *testing.T) {
		_, err := conn.Exec(t.Context(), `SET plan_cache_mode = force_generic_plan`)
		ok(t, err)
		for name, sql := range statements {
			_, err := conn.Exec(t.Context(), `PREPARE p AS `+sql)
			ok(t, err)
			rows, _ := conn.Query(t.Context(), `SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'p'`)
			types, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]string])
			ok(t, err)
			execute := `EXPLAIN EXECUTE p`
			if n := len(types); n > 0 {
				execute += "(" + strings.Repeat("NULL, ", n-1) + "NULL)"
			}
			rows, _ = conn.Query(t.Context(), execute)
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			ok(t, err)
			text := strings.Join(plan, "\n")
			for _, table := range []string{"outbox", "attempt"} {
				if strings.Contains(text, fmt.Sprintf("Seq Scan on %s ", table)) {
					t.Errorf("%s reads all of %s:\n%s", name, table, text)
				}
			}
			_, err = conn.Exec(t.Context(), `DEALLOCATE p`)
			ok(t, err)
			if testing.Verbose() {
				t.Logf("%s\n%s", name, text)
			}
		}
	}
	t.Run("empty", check)
	exec(t, s, `ANALYZE`)
	t.Run("empty, analysed", check)
	exec(t, s, `
INSERT INTO outbox (event_id, object_type, status, content_hash, record_id, stream, stream_seq)
SELECT 'e' || n, 'contracts', 'created', 'h', 'r', 's', n FROM generate_series(1, 20000) n`)
	t.Run("full, not analysed", check)
	exec(t, s, `ANALYZE`)
	t.Run("full, analysed", check)
}
