package migrations_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

// ownServer is a migrated database on a server of its own: roles are a server's.
func ownServer(t *testing.T) (address string, exec func(sql string)) {
	t.Helper()
	address = outboxtest.Cluster(t).URL("postgres")
	ok(t, migrations.Up(t.Context(), address))
	conn, err := pgx.Connect(t.Context(), address)
	ok(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return address, func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		ok(t, err)
	}
}

// as is the address for somebody else.
func as(t *testing.T, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	ok(t, err)
	u.User = url.UserPassword(user, password)
	return u.String()
}

// granted lists what the roles may do, column by column where it is not for a whole table.
func granted(t *testing.T, address string) (list []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	ok(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `
SELECT grantee || ': ' || privilege_type || ' on ' || table_name FROM information_schema.role_table_grants WHERE grantee LIKE 'crmintake_%'
UNION ALL
SELECT a.grantee::regrole || ': ' || a.privilege_type || ' on ' || c.relname || '.' || attname
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl) AS a WHERE a.grantee::regrole::text LIKE 'crmintake_%'
ORDER BY 1`)
	ok(t, err)
	list, err = pgx.CollectRows(rows, pgx.RowTo[string])
	ok(t, err)
	return list
}

// Whoever adds a table decides who may do what to it.
func TestEveryTableHasItsRights(t *testing.T) {
	t.Parallel()
	address, exec := ownServer(t)
	_, err := migrations.Roles(t.Context(), address)
	ok(t, err)
	list := granted(t, address)
	conn, err := pgx.Connect(t.Context(), address)
	ok(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`)
	ok(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ok(t, err)
	for _, table := range tables {
		if !slices.ContainsFunc(list, func(line string) bool { return strings.HasSuffix(line, " on "+table) }) {
			t.Errorf("nobody may do anything to %s: give it a line in roles.go", table)
		}
	}
	for _, never := range []string{
		"crmintake_reader: DELETE", "crmintake_reader: SELECT on credential",
		"crmintake_operator: SELECT on credential", "crmintake_operator: DELETE on operator_action", "crmintake_operator: DELETE on event",
		"crmintake_operator: INSERT on event\n", "crmintake_operator: UPDATE on operator_action\n", "crmintake_operator: UPDATE on event\n",
		"crmintake_worker: UPDATE on outbox_error", "crmintake_worker: INSERT on operator_action\n", "crmintake_worker: UPDATE on operator_action",
		"crmintake_worker: DELETE on operator_action", "TRUNCATE", "TRIGGER", "REFERENCES",
	} {
		if strings.Contains(strings.Join(list, "\n")+"\n", never) {
			t.Errorf("granted: %s", strings.TrimSpace(never))
		}
	}

	for _, line := range list { // a reader writes that somebody tails, and nothing else
		if strings.HasPrefix(line, "crmintake_reader: ") && !strings.Contains(line, "SELECT") && !strings.Contains(line, " on follow") {
			t.Errorf("granted: %s", line)
		}
	}

	// Done again, what was added is gone, what was taken away is back, and all else is as it was.
	exec(`GRANT DELETE ON operator_action TO crmintake_operator; GRANT UPDATE (payload) ON event TO crmintake_reader; REVOKE INSERT ON event FROM crmintake_worker`)
	if cmp.Equal(list, granted(t, address)) {
		t.Fatal("nothing was changed")
	}
	_, err = migrations.Roles(t.Context(), address)
	ok(t, err)
	if diff := cmp.Diff(list, granted(t, address)); diff != "" {
		t.Error(diff)
	}
}

// Who may not make roles is told what somebody else has to type; who does not own the tables, too.
func TestRolesAreRefused(t *testing.T) {
	t.Parallel()
	address, exec := ownServer(t)
	exec(`CREATE ROLE app LOGIN PASSWORD 'x'`)
	exec(`CREATE DATABASE other OWNER app`)
	app := as(t, address, "app", "x")
	own := strings.Replace(app, "/postgres", "/other", 1)
	ok(t, migrations.Up(t.Context(), own))
	_, err := migrations.Roles(t.Context(), own)
	if err == nil || !strings.Contains(err.Error(), "'CREATE ROLE crmintake_worker NOLOGIN; CREATE ROLE crmintake_operator NOLOGIN; CREATE ROLE crmintake_reader NOLOGIN'") {
		t.Fatalf("got %v", err)
	}
	_, statements, _ := strings.Cut(err.Error(), "type '")
	statements, _, _ = strings.Cut(statements, "'")
	exec(statements)
	_, err = migrations.Roles(t.Context(), own)
	ok(t, err)

	if _, err = migrations.Roles(t.Context(), app); err == nil || !strings.Contains(err.Error(), "owns the tables") {
		t.Errorf("got %v", err)
	}
}

// Who may use the tables and not grant them is only warned by GRANT. That is no success, unless there is nothing to do.
func TestRolesNeedTheOwner(t *testing.T) {
	t.Parallel()
	address, exec := ownServer(t)
	_, err := migrations.Roles(t.Context(), address)
	ok(t, err)
	exec(`CREATE ROLE app LOGIN PASSWORD 'x' IN ROLE crmintake_worker, crmintake_operator`)
	app := as(t, address, "app", "x")
	_, err = migrations.Roles(t.Context(), app)
	ok(t, err)
	for _, c := range []struct{ change, lacks string }{
		{`REVOKE INSERT ON event FROM crmintake_worker`, "crmintake_worker still lacks INSERT on event;"},
		{`GRANT INSERT ON event TO crmintake_worker; REVOKE UPDATE (payload) ON event FROM crmintake_operator`, "crmintake_operator still lacks UPDATE on event;"},
		{`GRANT UPDATE (payload) ON event TO crmintake_operator; REVOKE USAGE ON SCHEMA public FROM PUBLIC, crmintake_reader; GRANT USAGE ON SCHEMA public TO app`, "USAGE on the schema;"},
	} {
		exec(c.change)
		if _, err = migrations.Roles(t.Context(), app); err == nil || !strings.Contains(err.Error(), c.lacks) || !strings.Contains(err.Error(), "owns the tables") {
			t.Errorf("%s: got %v", c.change, err)
		}
	}
	_, err = migrations.Roles(t.Context(), address)
	ok(t, err)
	_, err = migrations.Roles(t.Context(), app)
	ok(t, err)
}

// Roles are the server's: for another database, somebody else makes them in the same moment.
func TestRolesAreMadeByTwoAtOnce(t *testing.T) {
	t.Parallel()
	address, exec := ownServer(t)
	other, err := pgx.Connect(t.Context(), address)
	ok(t, err)
	defer other.Close(context.Background())
	tx, err := other.Begin(t.Context())
	ok(t, err)
	_, err = tx.Exec(t.Context(), `CREATE ROLE crmintake_worker NOLOGIN; CREATE ROLE crmintake_operator NOLOGIN; CREATE ROLE crmintake_reader NOLOGIN`)
	ok(t, err)
	made := make(chan error, 1)
	go func() {
		_, err := migrations.Roles(t.Context(), address)
		made <- err
	}()
	for waits := false; !waits; {
		ok(t, other.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_blocking_pids(pid) @> ARRAY[pg_backend_pid()])`).Scan(&waits))
	}
	ok(t, tx.Commit(t.Context()))
	ok(t, <-made)
	exec(`CREATE ROLE app LOGIN PASSWORD 'x' IN ROLE crmintake_worker`)
	missing := lacks(t, as(t, address, "app", "x"), migrations.WorkerRole)
	if missing != nil {
		t.Errorf("it lacks %v", missing)
	}
}

// lacks is MissingRights of whoever connects.
func lacks(t *testing.T, address, role string) []string {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	ok(t, err)
	defer pool.Close()
	missing, err := migrations.MissingRights(t.Context(), pool, role)
	ok(t, err)
	return missing
}

// What a role may not do is refused by the server, and MissingRights knows it beforehand.
func TestRights(t *testing.T) {
	t.Parallel()
	address, exec := ownServer(t)
	_, err := migrations.Roles(t.Context(), address)
	ok(t, err)
	for role, refused := range map[string][]string{
		migrations.WorkerRole: {
			`INSERT INTO operator_action (operator, action, events) VALUES ('nobody', 'discard', 1)`, `DELETE FROM operator_action`,
			`DELETE FROM operator_action_event`, `UPDATE outbox_error SET message = ''`, `UPDATE replay_job SET events = 0`, `DROP TABLE event`,
			`INSERT INTO outbox_revision (event_id, revision, payload) VALUES ('a', 1, '')`, `CREATE TABLE mine ()`,
		},
		migrations.OperatorRole: {
			`DELETE FROM operator_action`, `UPDATE operator_action SET operator = 'somebody else'`, `UPDATE operator_action SET reason = ''`,
			`DELETE FROM event`, `UPDATE event SET event_id = 'b'`, `UPDATE event SET content_hash = ''`, `DELETE FROM outbox_error`,
			`UPDATE outbox_revision SET payload = ''`, `UPDATE quota SET day_used = 0`, `SELECT FROM credential`, `DELETE FROM worker`,
		},
		migrations.ReaderRole: {
			`UPDATE event SET payload = ''`, `INSERT INTO pause (object_type, cause, reason) VALUES ('*', 'operator', 'x')`, `DELETE FROM pause`,
			`SELECT FROM credential`, `DELETE FROM follow`, `UPDATE follow SET one = one`, `SELECT FROM event FOR UPDATE`,
		},
	} {
		t.Run(role, func(t *testing.T) {
			exec(`CREATE ROLE ` + role + `_login LOGIN PASSWORD 'x' IN ROLE ` + role)
			login := as(t, address, role+"_login", "x")
			missing := lacks(t, login, role)
			if missing != nil {
				t.Errorf("it lacks %v", missing)
			}
			conn, err := pgx.Connect(t.Context(), login)
			ok(t, err)
			defer conn.Close(context.Background())
			for _, sql := range refused {
				_, err := conn.Exec(t.Context(), sql)
				var answer *pgconn.PgError
				if !errors.As(err, &answer) || answer.Code != "42501" {
					t.Errorf("%s: %v", sql, err)
				}
			}
		})
	}
	reader := as(t, address, migrations.ReaderRole+"_login", "x")
	missing := lacks(t, reader, migrations.WorkerRole)
	if !slices.Contains(missing, "INSERT on event") || !slices.Contains(missing, "UPDATE on replay_job") || slices.Contains(missing, "SELECT on event") {
		t.Errorf("a reader lacks, to be a worker: %v", missing)
	}
}
