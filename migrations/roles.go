package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// The roles, which nobody logs in as: GRANT them to those who do. Roles belong to the whole server, what they may do to
// each database.
const (
	WorkerRole   = "crmintake_worker"   // run
	OperatorRole = "crmintake_operator" // what persons do to events and to the fleet, and all that reads
	ReaderRole   = "crmintake_reader"   // what reads
)

var roleNames = []string{WorkerRole, OperatorRole, ReaderRole}

// rights are what a role may do to a table, as GRANT has it. What is not here is not granted: no role may change who
// did what, nor an error as received, and only workers have the fleet's credential. Whoever locks a row needs UPDATE of
// some column of it. Who tails says so in follow, a reader too.
var rights = []struct{ table, worker, operator, reader string }{
	{"outbox", "SELECT", "SELECT", "SELECT"}, // a view
	{"event", "SELECT, INSERT, UPDATE, DELETE", "SELECT, UPDATE (status, payload, revision, reason, error, " +
		"fingerprint, misses, untold, id_property, id_value, in_doubt, dead_at, " +
		"next_attempt_at, attempts_before, replayed_at, possible_duplicate, updated_at)", "SELECT"},
	{"attempt", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"},
	{"outbox_error", "SELECT, INSERT, DELETE", "SELECT, INSERT", "SELECT"}, // a person who gives up says why
	{"outbox_revision", "SELECT, DELETE", "SELECT, INSERT", "SELECT"},
	{"pause", "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE", "SELECT"},
	{"breaker", "SELECT, INSERT, UPDATE, DELETE", "SELECT, DELETE", "SELECT"},
	{"quota", "SELECT, INSERT, UPDATE", "SELECT, INSERT (account, resumed_at), UPDATE (blocked_until, blocked_why, resumed_at)", "SELECT"},
	{"worker", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"},
	{"credential", "SELECT, INSERT, UPDATE", "", ""},
	{"retention", "SELECT, UPDATE", "SELECT", "SELECT"},
	{"doubt", "SELECT", "SELECT, INSERT, UPDATE", "SELECT"},
	{"follow", "SELECT", "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE (until)"},
	{"operator_action", "SELECT (action, events)", "SELECT, INSERT, UPDATE (events, skipped)", "SELECT"}, // a change counts what it did when it has done it
	{"operator_action_event", "SELECT, INSERT", "SELECT, INSERT", "SELECT"},                              // a worker says which events it replayed
	{"replay_job", "SELECT, UPDATE (replayed, skipped, held, state, next_at, failures, failure, ended_at)",
		"SELECT, INSERT, UPDATE (action_id, events, skipped, state, next_at, ended_at)", "SELECT"},
	{"replay_event", "SELECT, DELETE", "SELECT, INSERT, DELETE", "SELECT"},
	{"compatible", "SELECT", "SELECT", "SELECT"},
	{"goose_db_version", "SELECT", "SELECT", "SELECT"},
}

// denied is the SQLSTATE of a missing right.
const denied = "42501"

// Roles makes the roles that are missing, and gives each of them the rights on this schema's tables, and takes away
// what it had beside them. It is one transaction, and may be done again at any time: do so after each Up. It returns
// the roles' names.
func Roles(ctx context.Context, databaseURL string, prepare ...Prepare) ([]string, error) {
	db, err := open(databaseURL, prepare)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("migrations: roles: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err = makeRoles(ctx, tx); err == nil {
		err = grant(ctx, tx)
	}
	if err == nil {
		err = verify(ctx, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return nil, fmt.Errorf("migrations: roles: %w", err)
	}
	return roleNames, nil
}

// makeRoles takes a lock first: two of us at once would disturb each other. The lock is a database's and roles are the
// server's, so somebody who does the same for another database may still be first.
func makeRoles(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('crmintake roles'))`); err != nil {
		return err
	}
	for _, role := range roleNames {
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		create := `DO $$ BEGIN CREATE ROLE ` + role + ` NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`
		if _, err := tx.ExecContext(ctx, create); isDenied(err) {
			return fmt.Errorf("%w; have somebody who may create roles type 'CREATE ROLE %s NOLOGIN', then do this again", err,
				strings.Join(roleNames, " NOLOGIN; CREATE ROLE "))
		} else if err != nil {
			return err
		}
	}
	return nil
}

func grant(ctx context.Context, tx *sql.Tx) error {
	all := strings.Join(roleNames, ", ")
	statements := []string{`DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO ` + all + `', current_schema()); END $$`}
	for _, r := range rights {
		statements = append(statements, "REVOKE ALL ON "+r.table+" FROM "+all)
		for i, granted := range []string{r.worker, r.operator, r.reader} {
			if granted != "" {
				statements = append(statements, "GRANT "+granted+" ON "+r.table+" TO "+roleNames[i])
			}
		}
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); isDenied(err) {
			return fmt.Errorf("%w; do this as the role that owns the tables", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// verify sees whether the roles have their rights. Who may use a table but not grant it is not refused by GRANT, only
// warned.
func verify(ctx context.Context, tx *sql.Tx) error {
	for _, role := range roleNames {
		var uses bool
		if err := tx.QueryRowContext(ctx, `SELECT has_schema_privilege($1, current_schema(), 'USAGE')`, role).Scan(&uses); err != nil {
			return err
		}
		missing, err := missingRights(ctx, tx, role, role)
		if err != nil {
			return err
		}
		if !uses {
			missing = append(missing, "USAGE on the schema")
		}
		if len(missing) > 0 {
			return fmt.Errorf("%s still lacks %s; do this as the role that owns the tables", role, strings.Join(missing, ", "))
		}
	}
	return nil
}

func isDenied(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == denied
}

// oneRight takes GRANT's list apart: a right, and the columns if it is for some only.
var oneRight = regexp.MustCompile(`([A-Z]+)(?: \(([^)]*)\))?`)

const selectMissing = `
SELECT r || ' on ' || t FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS u(t, r, columns, n)
WHERE NOT CASE WHEN columns = '' THEN has_table_privilege(coalesce(nullif($4, ''), current_user), t, r)
  ELSE (SELECT bool_and(has_column_privilege(coalesce(nullif($4, ''), current_user), t, c, r)) FROM string_to_table(columns, ', ') AS c) END
ORDER BY n`

// MissingRights lists what a role of ours may do and the one that connects may not, as "INSERT on outbox".
func MissingRights(ctx context.Context, pool *pgxpool.Pool, role string) ([]string, error) {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	missing, err := missingRights(ctx, db, role, "")
	if err != nil {
		return nil, fmt.Errorf("migrations: rights: %w", err)
	}
	return missing, nil
}

// missingRights lists what a role of ours may do and who may not. Without a name, it is the one that connects.
func missingRights(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, role, who string) (missing []string, err error) {
	var tables, privileges, columns []string
	for _, r := range rights {
		granted := map[string]string{WorkerRole: r.worker, OperatorRole: r.operator, ReaderRole: r.reader}[role]
		for _, one := range oneRight.FindAllStringSubmatch(granted, -1) {
			tables, privileges, columns = append(tables, r.table), append(privileges, one[1]), append(columns, one[2])
		}
	}
	rows, err := db.QueryContext(ctx, selectMissing, tables, privileges, columns, who)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		missing = append(missing, one)
	}
	return missing, rows.Err()
}

const selectSecured = `
SELECT t FROM unnest($1::text[]) WITH ORDINALITY AS u(t, n) WHERE row_security_active(t) ORDER BY n`

// Secured lists the tables of which row-level security hides rows from the one that connects.
func Secured(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	var tables []string
	for _, r := range rights {
		tables = append(tables, r.table)
	}
	rows, err := pool.Query(ctx, selectSecured, tables)
	if err != nil {
		return nil, fmt.Errorf("migrations: row-level security: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("migrations: row-level security: %w", err)
	}
	return list, nil
}
