package batcher

import "time"

// line is the queue of one key: entries[head:], oldest first. Entries before head are zero, so that what went out can
// be collected.
type line[T any] struct {
	key     string
	index   int    // its place in Batcher.queues
	turn    uint64 // grows with each batch cut: of lines that wait equally long the lowest goes first
	entries []entry[T]
	head    int
	bytes   int // of all items in the line
}

// keptBatches is how many batches a buffer may have room for that is kept though it is empty, or nearly so: more than a
// busy line swings by, so that it does not grow anew each time; at 100 items a batch it is 256 KB.
const keptBatches = 64

type entry[T any] struct {
	item  T
	bytes int
	added time.Time
}

func (l *line[T]) len() int { return len(l.entries) - l.head }

func (l *line[T]) oldest() time.Time { return l.entries[l.head].added }

func (l *line[T]) push(e entry[T]) {
	l.entries = append(l.entries, e)
	l.bytes += e.bytes
}

// batch measures the first batch: as many items as the bounds allow, at least one.
func (l *line[T]) batch(bounds Config) (count, bytes int) {
	for _, e := range l.entries[l.head:] {
		// Written as a difference: a sum could overflow.
		if count == bounds.Size || count > 0 && e.bytes > bounds.Bytes-bytes {
			break
		}
		count++
		bytes += e.bytes
	}
	return count, bytes
}

// pop takes the first items, whose bytes the caller knows.
func (l *line[T]) pop(count, bytes int) []T {
	items := make([]T, count)
	from := l.entries[l.head : l.head+count]
	for i := range from {
		items[i] = from[i].item
	}
	clear(from)
	l.head += count
	l.bytes -= bytes
	return items
}

// compact moves the items to the front once half of the entries are gone: each move is paid for by an item that went
// out. A line that was very long gives back its buffer.
func (l *line[T]) compact(size int) {
	if l.head < l.len() {
		return
	}
	rest := l.entries[l.head:]
	if c := cap(l.entries); c > keptBatches*size && c > 4*len(rest) {
		l.entries = append(make([]entry[T], 0, 2*len(rest)), rest...)
	} else {
		n := copy(l.entries, rest)
		clear(l.entries[n:])
		l.entries = l.entries[:n]
	}
	l.head = 0
}
