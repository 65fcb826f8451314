package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
)

// retentionSoon is how long a worker waits at least before it asks again: another may be at the step that is due. retentionRetry
// is for when it could not ask.
const (
	retentionSoon  = 100 * time.Millisecond
	retentionRetry = time.Second
)

// runRetention removes created rows that have been kept for long enough. All workers ask; the outbox lets one of them do it.
func (w *Worker) runRetention(ctx, writes context.Context) error {
	if w.cfg.KeepCreated < 0 {
		return nil
	}
	trouble := &failureLog{log: w.log, what: "removing old created rows"}
	if !sleep(ctx, retentionSoon) { // the first calls are more urgent
		return nil
	}
	for {
		swept, err := w.sweep(writes)
		switch {
		case err == nil:
			trouble.worked()
			w.metrics.removed.Add(float64(swept.Rows))
		case ctx.Err() == nil:
			trouble.failed(err)
			swept.Next = retentionRetry
		}
		if !sleep(ctx, max(swept.Next, retentionSoon)) {
			return nil
		}
	}
}

func (w *Worker) sweep(ctx context.Context) (outbox.Swept, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return w.store.Retention.Sweep(ctx, w.cfg.KeepCreated)
}
