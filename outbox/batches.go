package outbox

import (
	"context"
	"sync"

	"crmintake/outbox/internal/pgwire"
)

// Batches is the way of a batch: what is intended in one transaction before its call, and what became of it in another
// one after.
type Batches struct {
	pool     *Pool
	intents  *grouped[*intent]
	outcomes *grouped[*outcome]
	wire     pgwire.Pipeline
	former   sync.Map // of formerStream, by the stream's name
}

func newBatches(pool *Pool) *Batches {
	s := &Batches{pool: pool}
	turn, aside := new(sync.Mutex), make(chan struct{}, asideMost)
	s.intents = &grouped[*intent]{turn: turn, aside: aside, weight: (*intent).bytes, alone: s.intendAlone,
		commit: func(ctx context.Context, group []*intent) error { return s.intendTogether(ctx, waitShort, group) }}
	s.outcomes = &grouped[*outcome]{turn: turn, aside: aside, weight: (*outcome).bytes,
		alone:  func(ctx context.Context, o *outcome) error { return s.settleTogether(ctx, waitLong, []*outcome{o}) },
		commit: func(ctx context.Context, group []*outcome) error { return s.settleTogether(ctx, waitShort, group) }}
	return s
}

// pipeline executes statements in one transaction and one round trip, on any of the connections.
func (s *Batches) pipeline(ctx context.Context, statements ...pgwire.Statement) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if s.pool.pooled.Load() {
		told := pgwire.Statement{SQL: s.pool.local(), Row: ignoreRow}
		statements = append([]pgwire.Statement{{SQL: readCommitted}, told}, statements...)
	}
	return s.wire.Run(ctx, conn.Conn(), statements...)
}

func ignoreRow([][]byte) error { return nil }

// lockWait is the statement that bounds how long those after it in a transaction wait for a lock that somebody holds.
type lockWait string

const (
	// waitShort is for a group. All of them would wait for the lock of one.
	waitShort lockWait = `SELECT set_config('lock_timeout', '200ms', true)`
	// waitLong ends before the worker gives up a try, so that it learns why.
	waitLong lockWait = `SELECT set_config('lock_timeout', '10s', true)`
)

func (w lockWait) statement() pgwire.Statement {
	return pgwire.Statement{SQL: string(w), Row: ignoreRow}
}
