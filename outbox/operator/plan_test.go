package operator

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a person looks at first reads dead rows and their errors by indexes, however many rows there are beside them.
func TestPlansUseIndexes(t *testing.T) {
	r := sample(t)
	for name, f := range map[string]Filter{
		"everything": {}, "category": {Category: "VALIDATION_ERROR"}, "group": {Groups: []string{"3f2a9c1b04d7"}}, "ids": {EventIDs: []string{"a"}},
		"the rest": {Reason: "rejected", ObjectType: "contracts", Text: "x", Since: time.Now(), Until: time.Now(), AsOf: time.Now()},
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
