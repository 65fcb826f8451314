package pipeline

import (
	"sync"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// callTime is how long a call takes on average. Its methods may be called by many goroutines at once.
type callTime struct {
	mu   sync.Mutex
	mean time.Duration // 0: not known yet
}

// answered learns how long a call took that the CRM has looked at. Any other tells nothing of what could be done: while
// the CRM is down calls take as long as they are waited for, and more workers would help nobody.
func (c *callTime) answered(class worker.Class, call *worker.Call) {
	if call.Unsent || class != worker.Answered && class != worker.Refused && class != worker.TooLarge {
		return
	}
	took := call.Duration
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mean == 0 {
		c.mean = took
	}
	c.mean += (took - c.mean) / 16
}

// mostRate is about what a worker and its database do where calls take no time.
const mostRate = 100_000

// capacity is what a worker with so many slots could do.
func (c *callTime) capacity(slots, batch int) outbox.Capacity {
	c.mu.Lock()
	defer c.mu.Unlock()
	can := outbox.Capacity{Batch: batch}
	if c.mean > 0 {
		can.Rate = min(float64(slots*batch)/c.mean.Seconds(), mostRate)
	}
	return can
}
