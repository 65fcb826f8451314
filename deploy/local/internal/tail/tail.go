// Package tail passes a log on and remembers its end.
package tail

import (
	"io"
	"strings"
	"sync"
)

// keep is enough for the lines with which a program explains why it does not start.
const keep = 4 << 10

// Tail passes what is written on, and remembers the end of it. Its methods may be called by many goroutines at once.
type Tail struct {
	To io.Writer // may be nil

	mu  sync.Mutex // guards end, and keeps writes to To apart
	end []byte
}

// Write implements io.Writer. It never fails: a log that can't be written must not stop what writes it.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.To != nil {
		_, _ = t.To.Write(p)
	}
	t.end = append(t.end, p...)
	if over := len(t.end) - keep; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(p), nil
}

// String is the end of what was written, without white space around it.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}
