package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store is the outbox: its parts, by subject, over one pool of connections. All methods of all parts may be called at
// once.
type Store struct {
	Batches   *Batches   // the way of a batch: intent, split, outcome
	Leases    *Leases    // of open attempts
	Schedule  *Schedule  // what is due
	Records   *Records   // whose a record of the CRM is
	Pauses    *Pauses    // what the fleet does not call
	Breaker   *Breaker   // when it stops by itself
	Quota     *Quotas    // of calls
	Fleet     *Fleet     // its workers
	Read      *Reader    // for people and metrics
	Retention *Retention // of created rows
	Vault     *Vault     // secrets that the fleet shares

	pool *Pool
}

func newStore(pool *Pool) *Store {
	return &Store{
		Batches: newBatches(pool), Leases: &Leases{pool}, Schedule: &Schedule{pool}, Records: &Records{pool},
		Pauses: &Pauses{pool}, Breaker: &Breaker{pool}, Quota: &Quotas{pool}, Fleet: &Fleet{pool}, Read: &Reader{pool},
		Retention: &Retention{pool}, Vault: &Vault{pool}, pool: pool,
	}
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
	c := cfg.ConnConfig
	switch c.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return nil, errors.New("the database's address has a default_query_exec_mode without types, which is too little for crmintake's arrays; " +
			"leave it out: behind a pooler the right one is taken")
	case pgx.QueryExecModeDescribeExec:
		return nil, errors.New("the database's address has default_query_exec_mode=describe_exec, " +
			"whose second round trip a pooler takes elsewhere; leave it out: behind a pooler the right one is taken")
	case pgx.QueryExecModeCacheStatement:
		if c.StatementCacheCapacity == 0 { // which some say for a pooler
			c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
	}
	if c.DescriptionCacheCapacity == 0 {
		c.DescriptionCacheCapacity = 512 // pgx's own default
	}
	return cfg, nil
}

// Prepare completes the settings of a connection that is about to be made, for example with a password that has changed
// since.
type Prepare func(ctx context.Context, cfg *pgx.ConnConfig) error

// Open connects. maxConns bounds the connections that are used at once; each is prepared, if there is something to do
// so. Of several hosts in the address one that takes writes is found, unless the address has target_session_attrs.
func Open(ctx context.Context, databaseURL string, maxConns int, prepare ...Prepare) (*Store, error) {
	return connect(ctx, databaseURL, maxConns, session{}, prepare)
}

// OpenWorker is Open for a worker: each connection leads to a server that takes writes, also where there is one host,
// or an error says that there is none (see IsTransient); and where Postgres is 17 or later, transactions end after 30
// s.
func OpenWorker(ctx context.Context, databaseURL string, maxConns int, prepare ...Prepare) (*Store, error) {
	return connect(ctx, databaseURL, maxConns, session{writes: true, bounded: true}, prepare)
}

func connect(ctx context.Context, databaseURL string, maxConns int, begun session, prepare []Prepare) (*Store, error) {
	cfg, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	begun.pooled = new(atomic.Bool)
	begun.pooled.Store(cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheDescribe)
	cfg.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		for _, p := range prepare {
			if err := p(ctx, c); err != nil {
				return err
			}
		}
		begun.configure(c)
		return nil
	}
	cfg.MaxConns = int32(maxConns)
	cfg.ConnConfig.RuntimeParams["application_name"] = "crmintake"
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
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
	if err = pool.Ping(ctx); errors.Is(err, errPooled) {
		err = pool.Ping(ctx)
	}
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return newStore(&Pool{pool, begun}), nil
}

// readOnly is the SQLSTATE of a server that takes no writes.
const readOnly = "25006"

// Close ends all connections, when what uses them is done.
func (s *Store) Close() { s.pool.Close() }

// planAnew is for what reads the view, whose tables are joined in the way that suits everybody's questions: a plan that
// was made while they were small would not do later. The statement goes with its parameters, and so is never another's.
const planAnew = pgx.QueryExecModeCacheDescribe

// NewAttemptID returns an id that sorts by time.
func NewAttemptID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
