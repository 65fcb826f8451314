package pgcluster

import (
	"io"
	"strings"
	"sync"
)

// tailBytes is enough for the lines with which a server explains why it does not start.
const tailBytes = 4 << 10

// tail passes a log on and remembers its end.
type tail struct {
	to io.Writer // may be nil

	mu  sync.Mutex // guards end, and keeps writes to `to` apart
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_, _ = t.to.Write(p) // a log that can't be written must not stop the server
	}
	t.end = append(t.end, p...)
	if over := len(t.end) - tailBytes; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}
