package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Breaker is the circuit breaker of each object type: the last inputs of its calls, and which of them were rejected.
type Breaker struct{ pool *Pool }

// The window of an object type is its last inputs, as they were added: before tells how many came after a row's.
const window = `(
  SELECT id, object_type, reason, inputs, sum(inputs) OVER (PARTITION BY object_type ORDER BY id DESC) - inputs AS before
  FROM breaker WHERE object_type = ANY($1::text[])) w`

const addRejected = `
INSERT INTO breaker (object_type, call, reason, inputs) SELECT $1, $2, u.reason, u.inputs
FROM unnest($3::text[], $4::int[]) WITH ORDINALITY AS u(reason, inputs, n) ORDER BY u.n ON CONFLICT DO NOTHING`

const worst = `
SELECT reason, sum(least(inputs, $2::bigint - before))::int AS n FROM ` + window + `
WHERE before < $2::bigint AND reason <> '' GROUP BY reason ORDER BY n DESC, reason LIMIT 1`

// Where nothing was rejected, there is nothing to weigh others against.
const addOthers = `
INSERT INTO breaker (object_type, call, reason, inputs) SELECT u.object_type, $1, '', u.inputs
FROM unnest($2::text[], $3::int[]) AS u(object_type, inputs)
WHERE EXISTS (SELECT FROM breaker f WHERE f.object_type = u.object_type) ON CONFLICT DO NOTHING`

// forgetWeighed removes what no window holds, and windows without a rejection. What others remove already is left to
// them.
const forgetWeighed = `
DELETE FROM breaker WHERE id IN (
  SELECT f.id FROM breaker f JOIN (
    SELECT id, before >= $2::bigint OR NOT bool_or(reason <> '' AND before < $2::bigint) OVER (PARTITION BY object_type) AS old
    FROM ` + window + `) w ON f.id = ANY (ARRAY[w.id]) WHERE w.old ORDER BY f.id FOR UPDATE OF f SKIP LOCKED)`

// RecordOutcomes adds what became of a call's inputs, and of those that came before it and were not rejected, to the
// window of the last so many inputs of an object type. It tells the reason for which most in the window were rejected,
// and how many. It may be called again with the same call, which adds nothing.
func (s *Breaker) RecordOutcomes(ctx context.Context, objectType string, call uuid.UUID, others int, rejected map[string]int, size int) (reason string, n int, err error) {
	var reasons []string
	var inputs []int32
	if others > 0 {
		reasons, inputs = append(reasons, ""), append(inputs, int32(others))
	}
	for _, reason := range slices.Sorted(maps.Keys(rejected)) { // an order, for the window's edge may fall between two
		reasons, inputs = append(reasons, text(reason)), append(inputs, int32(rejected[reason]))
	}
	var b pgx.Batch
	b.Queue(addRejected, objectType, call, reasons, inputs)
	b.Queue(worst, []string{objectType}, size).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&reason, &n); err != pgx.ErrNoRows {
			return err
		}
		return nil
	})
	b.Queue(forgetWeighed, []string{objectType}, size)
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return "", 0, fmt.Errorf("outbox: breaker: %w", err)
	}
	return reason, n, nil
}

// RecordSuccesses adds inputs that were not rejected, by object type, to the windows that hold rejections; 0 of them
// are nothing. It may be called again with the same call.
func (s *Breaker) RecordSuccesses(ctx context.Context, call uuid.UUID, others map[string]int, size int) error {
	var types []string
	var inputs []int32
	for objectType, n := range others {
		if n <= 0 {
			continue
		}
		types, inputs = append(types, objectType), append(inputs, int32(n))
	}
	var b pgx.Batch
	b.Queue(addOthers, call, types, inputs)
	b.Queue(forgetWeighed, types, size)
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("outbox: breaker: %w", err)
	}
	return nil
}
