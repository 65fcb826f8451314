package outbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// statements are all that run on tables which grow, with how many parameters each takes.
var statements = map[string]string{
	"openAttempts": openAttempts, "insertCompact": insertCompact, "insertAttempt": insertAttempt, "insertSending": insertSending, "selectStanding": selectStanding, "insertDead": insertDead,
	"closeAttempts": closeAttempts, "settleErrors": settleErrors, "settleCreated": settleCreated, "settleOthers": settleOthers,
	"selectDue": selectDue, "claimedBefore": claimedBefore, "claimRetry": claimRetry, "claimUnknown": claimUnknown, "park": park,
	"expire": expireAttempts, "renew": renew, "expand": expand, "split": split, "outstanding": outstanding, "replayDead": replayDead,
	"rivals": rivals, "claimed": claimed,
	"endAged": endAged, "giveUp": giveUp,
}

// A plan that is made while the tables are empty, and kept, must still be good for a million rows.
func TestPlansUseIndexes(t *testing.T) {
	t.Parallel()
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
			for i, line := range plan {
				byKey := i+1 < len(plan) && strings.Contains(plan[i+1], "Index Cond")
				if strings.Contains(line, "Seq Scan on ") || !byKey && strings.Contains(line, "_pkey on ") {
					t.Errorf("%s reads all of a table:\n%s", name, text)
				}
				sweeps := map[string]string{"event_retry": "claimRetry selectDue outstanding endAged", "event_unknown": "claimUnknown selectDue outstanding park endAged",
					"attempt_open": "expire outstanding rivals"}
				for index, names := range sweeps {
					if strings.Contains(line, index+" on ") && !strings.Contains(names, name) {
						t.Errorf("%s does not go by id:\n%s", name, text)
					}
				}
			}
			_, err = conn.Exec(t.Context(), `DEALLOCATE p`)
			ok(t, err)
		}
	}
	t.Run("empty", check)
	rows := 0
	for _, n := range []int{0, 1, 10, 100, 1000, 20000} {
		exec(t, s, `
INSERT INTO event (event_id, object_type, status, content_hash, record_id, stream, stream_seq)
SELECT 'e' || n, 'contracts', 'created', 'h', 'r' || n, 's', n FROM generate_series($1::int, $2) n`, rows+1, n)
		exec(t, s, `
INSERT INTO attempt (id, kind, object_type, worker, state, closed_at, lease_until, inputs, created, rejected, not_applied, unknown)
SELECT gen_random_uuid(), 'create', 'contracts', 'w', 'settled', now(), now(), 1, 1, 0, 0, 0 FROM generate_series($1::int, $2) n`, rows+1, n)
		rows = n
		t.Run(fmt.Sprintf("%d rows", n), check)
		exec(t, s, `ANALYZE event, attempt`)
		t.Run(fmt.Sprintf("%d rows, analysed", n), check)
	}
}
