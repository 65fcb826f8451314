package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
)

// cleaner removes created rows. It has one goroutine.
type cleaner struct{ *parts }

// retentionSoon is how long a worker waits at least before it asks again: another may be at the step that is due.
// retentionRetry is for when it could not ask.
const (
	retentionSoon  = 100 * time.Millisecond
	retentionRetry = time.Second
)

// run removes created rows that have been kept for long enough. All workers ask; the outbox lets one of them do it.
func (c *cleaner) run(ctx, writes context.Context) error {
	if c.cfg.KeepCreated < 0 {
		return nil
	}
	trouble := &failureLog{log: c.log, what: "removing old created rows"}
	if !sleep(ctx, retentionSoon) { // the first calls are more urgent
		return nil
	}
	for {
		swept, err := c.sweep(writes)
		switch {
		case err == nil:
			trouble.worked()
			c.metrics.removed.Add(float64(swept.Rows))
		case ctx.Err() == nil:
			trouble.failed(err)
			swept.Next = retentionRetry
		}
		if !sleep(ctx, max(swept.Next, retentionSoon)) {
			return nil
		}
	}
}

func (c *cleaner) sweep(ctx context.Context) (outbox.Swept, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return c.store.Retention.Sweep(ctx, c.cfg.KeepCreated)
}
