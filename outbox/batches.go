package outbox

import (
	"context"
	"sync"
	"sync/atomic"
)

// Batches is the way of a batch: what is intended in one transaction before its call, and what became of it in another
// one after.
type Batches struct {
	pool     *Pool
	intents  *grouped[*intent]
	outcomes *grouped[*outcome]
	buffer   atomic.Pointer[[]byte] // of the last pipeline, for the next
	former   sync.Map               // of formerStream, by the stream's name
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
