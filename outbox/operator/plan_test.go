package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a person looks at first reads dead rows and their errors by indexes, however many rows there are beside them.
func TestPlansUseIndexes(t *testing.T) {
	t.Parallel()
	r := sample(t)
	for name, f := range map[string]Filter{
		"everything": {}, "category": {Category: "VALIDATION_ERROR"}, "group": {Groups: []string{"3f2a9c1b04d7"}},
		"ids": {EventIDs: []string{"a"}},
		"the rest": {Reason: "rejected", ObjectType: "contracts", Text: "x", Since: time.Now(), Until: time.Now(),
			AsOf: time.Now()},
	} {
		for statement, sql := range map[string]func(string) string{"groups": groupsSQL, "list": listSQL} {
			args := pgx.NamedArgs{"limit": 50}
			rows, err := r.pool.Query(t.Context(), "EXPLAIN "+sql(f.where(args)), args)
			r.ok(err)
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			r.ok(err)
			if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan") {
				t.Errorf("%s by %s reads all of a table:\n%s", statement, name, text)
			}
		}
	}
}

// A row's transaction has 32 bits of its number, which begin at 0 again every four billion.
func TestSeenAroundTheTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	args := pgx.NamedArgs{}
	where := Filter{AsOf: time.Now(), Seen: "4294967298:4294967301:4294967299"}.where(args)
	where = strings.Replace(where, "o.dead_at IS NOT NULL", "true", 1)
	const sql = `SELECT %s FROM (SELECT @xmin::text::xid AS xmin, @at::timestamptz AS updated_at) o`
	for xmin, want := range map[string]bool{
		"4294967290": true, "0": true, "2": true, "3": false, "4": true, "5": false, "1000000000": false, "3000000000": true,
	} {
		for ago, want := range map[time.Duration]bool{time.Hour: want, 25 * time.Hour: true} {
			args["xmin"], args["at"] = xmin, time.Now().Add(-ago)
			var seen bool
			if err := r.pool.QueryRow(t.Context(), fmt.Sprintf(sql, where), args).Scan(&seen); err != nil || seen != want {
				t.Errorf("%s, %v before: %v, %v", xmin, ago, seen, err)
			}
		}
	}
}
