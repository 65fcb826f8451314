package pipeline

import (
	"slices"
	"sync"
	"time"

	"crmintake/batcher"
	"crmintake/worker"
)

// waiting is the fresh events that wait for their call, by object type, and how large a call may be. None of them is
// acked. Its methods may be called by any goroutine.
type waiting struct {
	mu      sync.Mutex
	batches *batcher.Batcher[*item]
	size    requestSize // as batches knows it
}

func newWaiting(cfg batcher.Config) *waiting {
	return &waiting{batches: batcher.New[*item](cfg), size: requestSize{most: cfg.Bytes, bound: cfg.Bytes}}
}

// add puts an event behind the others of its object type. It reports whether the dispatcher has to look again.
func (q *waiting) add(i *item, now time.Time) (wake bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batches.Add(i.ObjectType, i, i.Content.Input.Len(), now)
	return q.batches.Full(i.ObjectType) || q.batches.Waiting(i.ObjectType) == 1
}

// types are the object types of which events wait.
func (q *waiting) types() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.Keys()
}

// next is when a batch of these object types will be due.
func (q *waiting) next(open []string) (at time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.Next(except(open))
}

// ready is the object type, of these, to send events of: of what is full or due, that which has waited longest. While
// tokens are scarce, a call that is not full takes the place of a full one: so events of a rare object type wait for a
// full batch for up to patience, while others have one.
func (q *waiting) ready(now time.Time, open []string, scarce bool, patience time.Duration) (
	objectType string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	objectType, ok = q.batches.Ripe(now, except(open))
	if !ok || q.batches.Full(objectType) || !scarce {
		return objectType, ok
	}
	full, any := q.batches.Ripe(now,
		func(key string) bool { return !q.batches.Full(key) || !slices.Contains(open, key) })
	if oldest, _ := q.batches.Oldest(objectType); any && now.Sub(oldest) < patience {
		return full, true
	}
	return objectType, true
}

func except(open []string) (skip func(objectType string) bool) {
	return func(objectType string) bool { return !slices.Contains(open, objectType) }
}

// cut takes out a batch of at most so many events.
func (q *waiting) cut(objectType string, most int, now time.Time) (items []*item, why batcher.Reason) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.CutFew(objectType, most, now)
}

// takeAll takes out all events of an object type.
func (q *waiting) takeAll(objectType string) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.Drain(objectType)
}

// of is how many events of an object type wait, and len how many in all.
func (q *waiting) of(objectType string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.Waiting(objectType)
}

func (q *waiting) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batches.Len()
}

// mostBytes bounds the inputs of a call.
func (q *waiting) mostBytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size.bound
}

// recordSize takes in whether a request of this size was accepted. It returns the bound that holds from now on, and
// whether it is another one.
func (q *waiting) recordSize(bytes, inputs int, part bool, class worker.Class) (bound int, changed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if changed = q.size.record(bytes, inputs, part, class); changed {
		q.batches.Limit(q.size.bound)
	}
	return q.size.bound, changed
}
