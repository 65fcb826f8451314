package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is connections to the outbox. Whatever is done by its methods is done in a transaction for which holds what
// session.go says, also where a pooler gives each transaction another server process. What takes a connection by
// Acquire sees to that itself.
type Pool struct {
	*pgxpool.Pool
	session
}

// Pool is the store's connections, for packages whose statements have no place here. It is closed with the store. Its
// connections prefer indexes to reading whole tables, see plannerSettings.
func (s *Store) Pool() *Pool { return s.pool }

// Begin begins a transaction.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction with options.
func (p *Pool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	if p.pooled.Load() {
		isolation := pgx.ReadCommitted
		if o.IsoLevel != "" {
			isolation = o.IsoLevel
		}
		o.BeginQuery = `BEGIN ISOLATION LEVEL ` + string(isolation) + ` ` + string(o.AccessMode) + `; ` + p.local()
	}
	return p.Pool.BeginTx(ctx, o)
}

// SendBatch executes statements in one transaction and one round trip.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if !p.pooled.Load() {
		return p.Pool.SendBatch(ctx, b)
	}
	var all pgx.Batch
	all.Queue(readCommitted)
	all.Queue(p.local())
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	results := p.Pool.SendBatch(ctx, &all)
	_, _ = results.Exec() // what fails here fails for all that follows
	_, _ = results.Exec()
	return results
}

// Exec executes a statement, or several that have no parameters.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if !p.pooled.Load() {
		return p.Pool.Exec(ctx, sql, args...)
	}
	rows, err := p.Query(ctx, sql, args...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// Query executes a statement that returns rows.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if !p.pooled.Load() {
		return p.Pool.Query(ctx, sql, args...)
	}
	if len(args) > 0 && args[0] == planAnew { // as all are here, and no batch takes it
		args = args[1:]
	}
	var b pgx.Batch
	b.Queue(sql, args...)
	results := p.SendBatch(ctx, &b)
	rows, err := results.Query()
	told := &toldRows{Rows: rows, results: results}
	if err != nil {
		told.Close()
	}
	return told, err
}

// QueryRow executes a statement that returns a row.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if !p.pooled.Load() {
		return p.Pool.QueryRow(ctx, sql, args...)
	}
	rows, err := p.Query(ctx, sql, args...)
	return toldRow{rows, err}
}

// toldRows are rows that a transaction of their own returns.
type toldRows struct {
	pgx.Rows
	results pgx.BatchResults // nil once it has ended
	err     error            // of its end
}

func (r *toldRows) Next() bool {
	next := r.Rows.Next()
	if !next {
		r.Close()
	}
	return next
}

func (r *toldRows) Close() {
	r.Rows.Close()
	if r.results != nil {
		r.err, r.results = r.results.Close(), nil
	}
}

func (r *toldRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

// toldRow is the first of them.
type toldRow struct {
	rows pgx.Rows
	err  error
}

func (r toldRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
