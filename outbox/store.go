package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store is the outbox.
type Store struct {
	pool     *pgxpool.Pool
	intents  *grouped[*intent]
	outcomes *grouped[*outcome]
	buffer   atomic.Pointer[[]byte] // of the last pipeline, for the next
	former   sync.Map               // of formerStream, by the stream's name
}

// errURL does without pgx's own words, which can hold a part of the password.
var errURL = errors.New("the database's address can't be read; want one such as postgres://user:password@host:5432/name, " +
	"with special characters of the password written as %40 and the like")

// ValidateURL says whether an address can be read, with the certificates that it names, without repeating it.
func ValidateURL(databaseURL string) error {
	_, err := parse(databaseURL)
	return err
}

func parse(databaseURL string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(databaseURL)
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, fmt.Errorf("the database's address names a file that can't be read: %w", file)
	case err != nil:
		return nil, errURL
	}
	switch cfg.ConnConfig.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return nil, errors.New("the database's address has a default_query_exec_mode without types, which is too little for crmintake's arrays; " +
			"take cache_describe, where a pooler forgets prepared statements")
	}
	return cfg, nil
}

// Prepare completes the settings of a connection that is about to be made, for example with a password that has changed since.
type Prepare func(ctx context.Context, cfg *pgx.ConnConfig) error

// Open connects. maxConns bounds the connections that are used at once; each is prepared, if there is something to do so.
func Open(ctx context.Context, databaseURL string, maxConns int, prepare ...Prepare) (*Store, error) {
	cfg, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	cfg.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		for _, p := range prepare {
			if err := p(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
	cfg.MaxConns = int32(maxConns)
	cfg.ConnConfig.RuntimeParams["application_name"] = "crmintake"
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, planByKeys+"; "+missUs)
		return err
	}
	keep := cfg.ConnConfig.OnPgError
	cfg.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		// After a failover the address leads to another server; what it led to before may let us stay for good.
		return err.Code != readOnly && keep(conn, err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("outbox: %w", err)
	}
	s := &Store{pool: pool}
	turn, aside := new(sync.Mutex), make(chan struct{}, asideMost)
	s.intents = &grouped[*intent]{turn: turn, aside: aside, weight: (*intent).bytes, alone: s.intendAlone,
		commit: func(ctx context.Context, group []*intent) error { return s.intendTogether(ctx, waitShort, group) }}
	s.outcomes = &grouped[*outcome]{turn: turn, aside: aside, weight: (*outcome).bytes,
		alone:  func(ctx context.Context, o *outcome) error { return s.settleTogether(ctx, waitLong, []*outcome{o}) },
		commit: func(ctx context.Context, group []*outcome) error { return s.settleTogether(ctx, waitShort, group) }}
	return s, nil
}

// readOnly is the SQLSTATE of a server that takes no writes.
const readOnly = "25006"

// Close ends all connections, when what uses them is done.
func (s *Store) Close() { s.pool.Close() }

// planByKeys: each statement here finds its rows by a key, some hundred at most. The planner, which meets them first when
// the tables are empty and keeps its plans while they grow, would read whole tables instead. (It would compile what has
// no key, small tables, because of the price that this sets on them: hence jit.)
//
// It would also read a whole index, if a merge join could use its order. So statements join the tables by
// "id = ANY (ARRAY[…])", which an index can look up and a merge can't use; and they look up an attempt by its id and
// "state = 'open'", not "closed_at IS NULL", which would lead them through the index of open attempts and what is dead in it.
const planByKeys = `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off`

// missUs has the server notice within half a minute that we are gone without a word, as when a machine or a network fails, and let go of our
// locks. By itself it would take two hours, and no timeout of its own ends a session of which it has a part of a pipeline.
const missUs = `SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3`

// planAnew is for what reads the view, whose tables are joined in the way that suits everybody's questions: a plan that was made
// while they were small would not do later.
const planAnew = pgx.QueryExecModeDescribeExec

// NewAttemptID returns an id that sorts by time.
func NewAttemptID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
