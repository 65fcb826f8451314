package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A connection leads to one server process, or through a pooler to another one for each transaction. What we want to
// hold is told to a process of our own once; behind a pooler to each transaction, for itself alone. So nothing of ours
// stays with a process that others get next, and nothing that they left there holds. A connection is known to lead
// through a pooler by the process id that the server tells at its start: a pooler makes one up.

// readCommitted begins each transaction behind a pooler. By SET and not SET TRANSACTION, which warns where no BEGIN
// was before it, as in a pipeline; it lasts no longer than the transaction all the same.
const readCommitted = `SET transaction_isolation = 'read committed'`

// toldAll is what holds in each transaction of ours; as SQL, in which here is true if it is for this transaction
// alone.
//
// A commit is on the server's disk before it is told, and where the role or the server says off or local, on that of
// its synchronous standbys. remote_write and remote_apply stay: they are a decision about standbys, and the server's
// own disk has it in any case.
//
// plannerSettings: each statement here finds its rows by a key, some hundred at most. The planner, which meets them
// first when the tables are empty and keeps its plans while they grow, would read whole tables instead. (It would
// compile what has no key, small tables, because of the price that this sets on them: hence jit.)
//
// It would also read a whole index, if a merge join could use its order. So statements join the tables by "id = ANY
// (ARRAY[…])", which an index can look up and a merge can't use; and they look up an attempt by its id and "state =
// 'open'", not "closed_at IS NULL", which would lead them through the index of open attempts and what is dead in it.
const (
	toldAll = durable + ", " + plannerSettings
	durable = `set_config('synchronous_commit',
  CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, here)`
	plannerSettings = `set_config('enable_seqscan', 'off', here), set_config('enable_hashjoin', 'off', here),
  set_config('enable_mergejoin', 'off', here), set_config('jit', 'off', here)`
)

// toldWorkers has the server, from 17 on, end a transaction that takes longer than a worker waits for any: one that
// stalled in the middle of a pipeline, with locks. idle_in_transaction_session_timeout does not see that, for the
// server is not idle: it reads.
const toldWorkers = `CASE WHEN current_setting('server_version_num')::int >= 170000
  THEN set_config('transaction_timeout', '30s', here) END`

// toldOwn is for a process of our own. default_transaction_isolation has transactions see what others have committed,
// as all statements here expect. By the rest the server notices within half a minute that we are gone without a word,
// as when a machine or a network fails, and lets go of our locks; by itself it would take two hours. Behind a pooler
// that is between the pooler and the server.
const toldOwn = `set_config('default_transaction_isolation', 'read committed', here),
  set_config('tcp_keepalives_idle', '10', here), set_config('tcp_keepalives_interval', '5', here),
  set_config('tcp_keepalives_count', '3', here)`

// session is how connections are begun.
type session struct {
	writes  bool         // only to servers that take writes
	bounded bool         // what stalls ends
	pooled  *atomic.Bool // connections lead through a pooler, or may
}

// told is what is told; SQL, see toldAll.
func (s session) told() string {
	if s.bounded {
		return toldAll + ", " + toldWorkers
	}
	return toldAll
}

// local is a statement that tells it to the transaction that it is in.
func (s session) local() string { return `SELECT ` + s.told() + ` FROM (SELECT true AS here) AS l` }

// errPooled says that a connection leads through a pooler, and was made as if it did not. The next one won't be.
var errPooled = errors.New("there is a pooler in between; connecting anew, as that wants")

// configure completes the settings of a connection that is about to be made.
func (s session) configure(c *pgx.ConnConfig) {
	if s.pooled.Load() {
		c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	theirs := c.ValidateConnect
	if s.writes || theirs == nil && severalHosts(c) && !namesAttrs(c.ConnString()) {
		c.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
			if err := takesWrites(ctx, pg); err != nil || theirs == nil {
				return err
			}
			return theirs(ctx, pg)
		}
	}
	mode, params := c.DefaultQueryExecMode, c.RuntimeParams
	c.AfterConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		pooled, err := s.begin(ctx, pg)
		if err != nil || !pooled {
			return err
		}
		s.pooled.Store(true)
		if mode == pgx.QueryExecModeCacheStatement {
			return errPooled
		}
		if err := transactions(ctx, pg); err != nil {
			return err
		}
		return passed(ctx, pg, params)
	}
}

// begin tells the server process what is to hold, and whether it is a pooler's.
func (s session) begin(ctx context.Context, pg *pgconn.PgConn) (pooled bool, err error) {
	answer, err := ask(ctx, pg, fmt.Sprintf(`SELECT here, %s, %s FROM (SELECT pg_backend_pid() <> %d AS here) AS l`,
		toldOwn, s.told(), pg.PID()))
	return answer == "t", err
}

// ask returns the first value that a statement answers with.
func ask(ctx context.Context, pg *pgconn.PgConn, sql string) (string, error) {
	results, err := pg.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 || len(results[0].Rows) == 0 {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// transactions sees whether the pooler lets transactions have a server process for themselves.
func transactions(ctx context.Context, pg *pgconn.PgConn) error {
	_, err := pg.Exec(ctx, `BEGIN`).ReadAll()
	if err == nil {
		_, err = pg.Exec(ctx, `ROLLBACK`).ReadAll()
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && strings.Contains(answer.Message, "statement pooling") {
		return fmt.Errorf("%w, in statement pooling mode, which keeps no two statements together; "+
			"set pool_mode = transaction, or session: %w", ErrPooler, err)
	}
	return err
}

// passed sees whether a pooler has passed on what the address sets for the session. What it swallows would have
// others' tables used.
func passed(ctx context.Context, pg *pgconn.PgConn, params map[string]string) error {
	for name, value := range params {
		switch name {
		case "application_name": // ours, for those who look at the server
			continue
		case "options":
			return fmt.Errorf("%w, and the address has options=…, which it does not pass on; "+toRole, ErrPooler)
		}
		got, err := ask(ctx, pg, fmt.Sprintf(`SELECT current_setting('%s', true)`, strings.ReplaceAll(name, "'", "''")))
		if err != nil {
			return err
		}
		if got != value {
			return fmt.Errorf("%w, and the address sets %s, which it does not pass on; "+toRole, ErrPooler, name)
		}
	}
	return nil
}

const toRole = "take that out of the address and give it to the role, " +
	"as by ALTER ROLE intake IN DATABASE crm SET search_path = crm"

// errNoWrites says that a server is not the one to work with, at least for now.
var errNoWrites = errors.New("the server takes no writes: it is a standby, or default_transaction_read_only is set; " +
	"workers need the primary: give all hosts in the address, as postgres://user@one,two/crm, or promote this one " +
	"(a pooler must not spread reads over standbys: Pgpool-II's load_balance_mode = off)")

// takesWrites lets only those connections pass whose server takes writes. It asks in a way that a pooler which spreads
// reads over standbys takes for a read: so it is one of those that answers, if ours would go there.
func takesWrites(ctx context.Context, pg *pgconn.PgConn) error {
	answer, err := ask(ctx, pg, `SELECT current_setting('transaction_read_only')`)
	if err == nil && answer != "off" {
		err = errNoWrites
	}
	return err
}

func severalHosts(c *pgx.ConnConfig) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != c.Host || f.Port != c.Port
	})
}

func namesAttrs(address string) bool {
	return strings.Contains(address, "target_session_attrs") || os.Getenv("PGTARGETSESSIONATTRS") != ""
}

// Configure completes the settings of a connection that is about to be made by others, which is to change things, as
// Open does those of its own: for a server that takes writes, durable commits, and no statements that a pooler would
// forget.
func Configure(c *pgx.ConnConfig) {
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	session{writes: true, pooled: new(atomic.Bool)}.configure(c)
}
