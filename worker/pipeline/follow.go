package pipeline

import (
	"context"
	"time"

	"github.com/google/uuid"

	"crmintake/outbox"
)

// follower keeps up with what the fleet and people write into the database about calls. It has one goroutine.
type follower struct {
	*parts
	pauser *pauser
	untold untold
}

// run keeps up with what the fleet and people pause and resume. It is beside all other work, so that nothing
// makes it late, and closes known when it has looked for the first time.
func (f *follower) run(ctx, writes context.Context, known chan<- struct{}) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	credential := ""
	for {
		now := f.crm.CredentialVersion()
		// A worker that has just started may have a new credential, too.
		err := f.look(writes, known != nil || now != credential)
		switch {
		case err == nil:
			credential = now
			f.database.worked()
			if known != nil {
				close(known)
				known = nil
			}
		case ctx.Err() == nil:
			f.retry.failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (f *follower) look(ctx context.Context, newCredential bool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if newCredential {
		if err := f.store.Pauses.TryNow(ctx); err != nil {
			return err
		}
	}
	if err := f.refreshPauses(ctx); err != nil {
		return err
	}
	if err := f.refreshDoubt(ctx); err != nil {
		return err
	}
	if err := f.refreshHold(ctx); err != nil {
		return err
	}
	return f.recordSuccesses(ctx)
}

// refreshPauses takes over the fleet's pauses from the database.
func (f *follower) refreshPauses(ctx context.Context) error {
	version := f.pauses.Version()
	list, err := f.store.Pauses.List(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	ended, begun := f.pauses.Follow(list, version, now)
	f.wakeUp() // a trial may be due sooner, too
	for _, p := range ended {
		if p.Cause == outbox.ByAnswer {
			f.suspects.Answered(p.Key, now) // a trial of another worker was
		}
		f.log.Info("calls go on: the pause was lifted", "paused", pausedName(p.Key))
	}
	for _, p := range begun {
		f.pauser.giveBackPaused(p)
		args := []any{"paused", pausedName(p.ObjectType), "cause", p.Cause, "by", p.By, "reason", p.Reason}
		if p.Cause != outbox.ByOperator {
			args = append(args, "next_trial_in", max(p.TrialIn, 0).Round(time.Second))
		}
		f.log.Warn("calls are paused", args...)
	}
	return nil
}

// refreshHold ends the wait for a CRM that is not well, or that wants fewer calls, if a person wants so.
func (f *follower) refreshHold(ctx context.Context) error {
	until, since := f.backoff.Until()
	if !time.Now().Before(until) {
		return nil
	}
	resumed, err := f.store.Quota.Resumed(ctx, outbox.QuotaAccount, time.Since(since))
	if err != nil || !resumed {
		return err
	}
	if f.backoff.End(since) {
		f.wakeUp()
		f.log.Info("calls go on: a person ended the wait for the CRM")
	}
	return nil
}

// untold is successes that were sent to the database, which has not answered. The follower owns it.
type untold struct {
	call   uuid.UUID
	others map[string]int // nil if there is nothing
}

// recordSuccesses writes to the database what was not rejected. What it could not be told is told again, under the same
// name, unless it was refused.
func (f *follower) recordSuccesses(ctx context.Context) error {
	u := &f.untold
	if u.others == nil {
		*u = untold{call: outbox.NewAttemptID(), others: f.successes.TakeAll()}
	}
	if u.others == nil {
		return nil
	}
	err := f.store.Breaker.RecordSuccesses(ctx, u.call, u.others, f.cfg.Breaker.Window)
	if err == nil || outbox.DataState(err) != "" {
		u.others = nil
	}
	return err
}
