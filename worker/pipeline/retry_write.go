package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"crmintake/outbox"
)

// retrier repeats what fails in the database. Its methods may be called by many goroutines at once.
type retrier struct {
	database *failureLog // the database is away
	refusals *refusals   // it refuses data
}

// statementTimeout bounds one try at the database: so long, and the connection is taken for dead.
const statementTimeout = 15 * time.Second

// dataTries is how often is tried what the database refuses for its content: for a second or two, so that who begins
// anew then is no storm.
const dataTries = 8

// write repeats what do does in the database until it works, or the lease is lost, or a record is another's, or ctx
// ends. Once patience has ended, a failure is final; and so is one of the data after dataTries.
func (r *retrier) write(patience, ctx context.Context, do func(context.Context) error) error {
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(3*time.Second),
		backoff.WithMaxElapsedTime(0))
	for waits, refused := false, 0; ; {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, statementTimeout)
			defer cancel()
			return do(ctx)
		}()
		switch {
		case err == nil:
			r.database.worked()
			return nil
		case errors.Is(err, outbox.ErrLeaseLost), errors.Is(err, outbox.ErrRecordTaken),
			ctx.Err() != nil, patience.Err() != nil:
			return err
		}
		if !r.failed(err) {
			if refused++; refused == dataTries {
				return err
			}
		} else if !waits {
			waits = true
			defer r.database.wait()() // once
		}
		if !sleep(patience, retry.NextBackOff()) && ctx.Err() != nil {
			return err
		}
	}
}

// failed logs an error of the database. It reports whether that is away: data that it refuses, it refuses again.
func (r *retrier) failed(err error) (repeating bool) {
	if state := outbox.DataState(err); state != "" {
		r.refusals.refused(state, err)
		return false
	}
	r.database.failed(err)
	return true
}
