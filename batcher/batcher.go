package batcher

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds a batch. The zero value of a field is its default.
type Config struct {
	// Size is the most items in a batch; 0 means DefaultSize.
	Size int
	// Bytes is the most bytes in a batch, save for a single larger item; 0 means DefaultBytes.
	Bytes int
	// Wait is how long an item waits at most for its batch to fill up; 0 means DefaultWait. For no wait worth the
	// name, use a nanosecond.
	Wait time.Duration
}

const (
	// DefaultSize is the most inputs that the batch create API takes.
	DefaultSize = 100
	// DefaultBytes is 4 MiB: 100 events of 40 KiB each, where 300 bytes are usual, so it never costs a usual batch
	// anything; and it is four of the largest events, which bounds what one call holds in memory. The API publishes
	// no limit of its own.
	DefaultBytes = 4 << 20
	// DefaultWait lets 200 events a second fill a batch, and is little beside what a call takes.
	DefaultWait = 500 * time.Millisecond
)

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.Size < 0 {
		faults = append(faults, fmt.Errorf("batch size %d is negative", c.Size))
	}
	if c.Bytes < 0 {
		faults = append(faults, fmt.Errorf("batch bytes %d is negative", c.Bytes))
	}
	if c.Wait < 0 {
		faults = append(faults, fmt.Errorf("batch wait %v is negative", c.Wait))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	if c.Bytes == 0 {
		c.Bytes = DefaultBytes
	}
	if c.Wait == 0 {
		c.Wait = DefaultWait
	}
	return c
}

// Reason is why a batch was cut when it was.
type Reason uint8

const (
	// Flush: the batch was neither full nor due; the owner wanted it out.
	Flush Reason = iota
	// Age: it was not full, but its oldest item had waited for Config.Wait.
	Age
	// Count: it had Config.Size items.
	Count
	// Bytes: no further item would have fitted into Config.Bytes.
	Bytes
)

func (r Reason) String() string {
	switch r {
	case Flush:
		return "flush"
	case Age:
		return "age"
	case Count:
		return "count"
	case Bytes:
		return "bytes"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Batcher holds the items that wait, in a line for each key. Use New to make one. It is not safe for concurrent use.
type Batcher[T any] struct {
	config Config // with the defaults filled in
	byKey  map[string]*line[T]
	queues []*line[T] // the same lines, to go over; none is empty
	len    int        // items in all lines
	bytes  int        // their bytes
	turn   uint64     // counts what line.turn is set from
	spare  []entry[T] // the empty buffer of the line that ended last, for the next one
}

// New makes an empty Batcher. It panics if config.Validate finds a fault.
func New[T any](config Config) *Batcher[T] {
	if err := config.Validate(); err != nil {
		panic("batcher: " + err.Error())
	}
	return &Batcher[T]{config: config.withDefaults(), byKey: make(map[string]*line[T])}
}

// Add puts an item at the end of its key's line. Its bytes are 0 or more. The time must not lie before that of an
// earlier call, or ripening goes by the wrong order.
func (b *Batcher[T]) Add(key string, item T, bytes int, now time.Time) {
	if bytes < 0 {
		panic("batcher: an item of negative bytes")
	}
	l := b.byKey[key]
	if l == nil {
		b.turn++
		l = &line[T]{key: key, index: len(b.queues), turn: b.turn, entries: b.spare}
		b.spare = nil
		b.byKey[key] = l
		b.queues = append(b.queues, l)
	}
	l.push(entry[T]{item: item, bytes: bytes, added: now})
	b.len++
	b.bytes += bytes
}

// Ripe is the key of the batch to cut now: that of the key whose oldest item has waited longest, among those that are
// full or due. It leaves out the keys for which skip, unless nil, reports true: those that can't be sent now. ok is
// false when nothing is ripe.
func (b *Batcher[T]) Ripe(now time.Time, skip func(key string) bool) (key string, ok bool) {
	var best *line[T]
	for _, l := range b.queues {
		if !b.full(l) && !b.due(l, now) {
			continue
		}
		if best != nil {
			if c := l.oldest().Compare(best.oldest()); c > 0 || c == 0 && l.turn > best.turn {
				continue
			}
		}
		if skip != nil && skip(l.key) {
			continue
		}
		best = l
	}
	if best == nil {
		return "", false
	}
	return best.key, true
}

// Next is when the next batch ripens by age, among the keys that skip (unless nil) does not leave out. The time may
// have passed already. ok is false when no item waits there. Batches ripen by filling up, too, which only Ripe sees.
func (b *Batcher[T]) Next(skip func(key string) bool) (at time.Time, ok bool) {
	for _, l := range b.queues {
		if due := l.oldest().Add(b.config.Wait); (!ok || due.Before(at)) && (skip == nil || !skip(l.key)) {
			at, ok = due, true
		}
	}
	return at, ok
}

// Cut takes the next batch of a key, oldest items first, ripe or not, and says why it was cut when it was. A batch that
// is both full and due counts as full. The slice is the caller's. It is nil when the key has no items.
func (b *Batcher[T]) Cut(key string, now time.Time) (items []T, why Reason) {
	return b.CutFew(key, b.config.Size, now)
}

// CutFew is Cut of so many items at most, 1 at least; the others of the batch stay. The reason is that of the batch.
func (b *Batcher[T]) CutFew(key string, most int, now time.Time) (items []T, why Reason) {
	l := b.byKey[key]
	if l == nil {
		return nil, Flush
	}
	count, size := l.batch(b.config)
	switch {
	case count == b.config.Size:
		why = Count
	case b.full(l):
		why = Bytes
	case b.due(l, now):
		why = Age
	}
	if most < count {
		count, size = l.batch(Config{Size: max(most, 1), Bytes: b.config.Bytes})
	}
	b.turn++
	l.turn = b.turn
	return b.take(l, count, size), why
}

// Limit changes Config.Bytes, for the batches that are cut from now on. It must be 1 at least.
func (b *Batcher[T]) Limit(bytes int) {
	if bytes < 1 {
		panic("batcher: a limit below one byte")
	}
	b.config.Bytes = bytes
}

// Waiting is how many items of a key wait.
func (b *Batcher[T]) Waiting(key string) int {
	if l := b.byKey[key]; l != nil {
		return l.len()
	}
	return 0
}

// Full: the key has a batch that no further item would fit into.
func (b *Batcher[T]) Full(key string) bool {
	l := b.byKey[key]
	return l != nil && b.full(l)
}

// Oldest is when the oldest item of a key was added. ok is false when none of it waits.
func (b *Batcher[T]) Oldest(key string) (added time.Time, ok bool) {
	if l := b.byKey[key]; l != nil {
		return l.oldest(), true
	}
	return added, false
}

// Len is how many items wait.
func (b *Batcher[T]) Len() int { return b.len }

// Bytes is the sum of their bytes.
func (b *Batcher[T]) Bytes() int { return b.bytes }

// Keys are the keys of which items wait.
func (b *Batcher[T]) Keys() []string {
	keys := make([]string, len(b.queues))
	for i, l := range b.queues {
		keys[i] = l.key
	}
	return keys
}

// Each calls f for every item that waits, key by key, oldest first within a key. f must not call the Batcher's methods
// that change it.
func (b *Batcher[T]) Each(f func(key string, item T, added time.Time)) {
	for _, l := range b.queues {
		for _, e := range l.entries[l.head:] {
			f(l.key, e.item, e.added)
		}
	}
}

// Drain takes out all items of one key, oldest first: they are given back, and make no batch.
func (b *Batcher[T]) Drain(key string) []T {
	l := b.byKey[key]
	if l == nil {
		return nil
	}
	return b.take(l, l.len(), l.bytes)
}

// DrainAll takes out all items of all keys, oldest first within a key.
func (b *Batcher[T]) DrainAll() []T {
	if b.len == 0 {
		return nil
	}
	items := make([]T, 0, b.len)
	for len(b.queues) > 0 {
		items = append(items, b.Drain(b.queues[len(b.queues)-1].key)...)
	}
	return items
}

// full: no further item fits into the line's first batch. If the whole line has Config.Bytes or more, then its first
// batch has them exactly, or ends before an item that doesn't fit.
func (b *Batcher[T]) full(l *line[T]) bool {
	return l.len() >= b.config.Size || l.bytes >= b.config.Bytes
}

func (b *Batcher[T]) due(l *line[T], now time.Time) bool {
	return !now.Before(l.oldest().Add(b.config.Wait))
}

// take removes the line's first items, and the line with the last of them.
func (b *Batcher[T]) take(l *line[T], count, bytes int) []T {
	items := l.pop(count, bytes)
	b.len -= count
	b.bytes -= bytes
	if l.len() > 0 {
		l.compact(b.config.Size)
		return items
	}
	last := len(b.queues) - 1
	b.queues[l.index] = b.queues[last]
	b.queues[l.index].index = l.index
	b.queues[last] = nil
	b.queues = b.queues[:last]
	delete(b.byKey, l.key)
	// One buffer is kept, so that a key which empties again and again does not grow a new one each time.
	if cap(l.entries) <= keptBatches*b.config.Size {
		b.spare = l.entries[:0]
	}
	return items
}
