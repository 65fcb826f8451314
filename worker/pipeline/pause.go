package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// pause stops the fleet's calls of an object type, or of the account, until a trial succeeds. No event pays for it.
func (w *Worker) pause(writes context.Context, key string, cause outbox.Cause, call *worker.Call) {
	wait := call.Wait
	if wait <= 0 {
		wait = w.cfg.TrialInterval
	}
	reason := call.ForLog() // it is logged, too
	if call.AboutAccount {  // the CRM's own words say what to do
		reason = call.Detail
	}
	w.stopCalls(writes, outbox.Pause{ObjectType: key, Cause: cause, Reason: reason, TrialIn: wait}, call.CorrelationID)
}

func (w *Worker) stopCalls(writes context.Context, p outbox.Pause, correlationID string) {
	p.By = w.cfg.Name
	written := w.pauses.Writing()
	w.shut(p)
	var fresh bool
	err := w.retryWrite(writes, writes, func(ctx context.Context) (err error) {
		fresh, err = w.store.Pauses.Begin(ctx, p)
		return err
	})
	written()
	if err == nil && fresh {
		w.log.Error("calls are paused; events wait", "paused", pausedName(p.ObjectType), "cause", p.Cause, "reason", p.Reason,
			"next_trial_in", p.TrialIn, "correlation_id", correlationID)
	}
}

func pausedName(key string) string {
	if key == outbox.Account {
		return "everything"
	}
	return key
}

// shut closes a gate here, and gives back what waits behind it. What a person has paused stays so.
func (w *Worker) shut(p outbox.Pause) {
	w.pauses.Close(p, time.Now())
	w.giveBackPaused(p)
}

// giveBackPaused gives back what waits of what is paused now.
func (w *Worker) giveBackPaused(p outbox.Pause) {
	delay := nakDelay
	if p.Cause != outbox.ByOperator {
		delay = min(p.TrialIn, nakDelay)
	}
	w.giveBack(p.ObjectType, delay)
}

// resume ends pauses whose trial succeeded.
func (w *Worker) resume(writes context.Context, trials []string) {
	for _, key := range trials {
		var was bool
		if err := w.retryWrite(writes, writes, func(ctx context.Context) (err error) {
			was, err = w.store.Pauses.Resume(ctx, key)
			return err
		}); err == nil && was {
			w.log.Info("calls go on after a pause", "paused", pausedName(key))
		}
		w.pauses.Open(key)
		w.wakeUp()
	}
}

// watchPauses keeps up with what the fleet and people pause and resume. It is beside all other work, so that nothing
// makes it late, and closes known when it has looked for the first time.
func (w *Worker) watchPauses(ctx, writes context.Context, known chan<- struct{}) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	credential := ""
	for {
		now := w.crm.CredentialVersion()
		// A worker that has just started may have a new credential, too.
		err := w.lookAtPauses(writes, known != nil || now != credential)
		switch {
		case err == nil:
			credential = now
			w.database.worked()
			if known != nil {
				close(known)
				known = nil
			}
		case ctx.Err() == nil:
			w.databaseFailed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Worker) lookAtPauses(ctx context.Context, newCredential bool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if newCredential {
		if err := w.store.Pauses.TryNow(ctx); err != nil {
			return err
		}
	}
	if err := w.refreshPauses(ctx); err != nil {
		return err
	}
	if err := w.refreshDoubt(ctx); err != nil {
		return err
	}
	if err := w.refreshHold(ctx); err != nil {
		return err
	}
	return w.recordSuccesses(ctx)
}

// refreshHold ends the wait for a CRM that is not well, or that wants fewer calls, if a person wants so.
func (w *Worker) refreshHold(ctx context.Context) error {
	until, since := w.backoff.Until()
	if !time.Now().Before(until) {
		return nil
	}
	resumed, err := w.store.Quota.Resumed(ctx, outbox.QuotaAccount, time.Since(since))
	if err != nil || !resumed {
		return err
	}
	if w.backoff.End(since) {
		w.wakeUp()
		w.log.Info("calls go on: a person ended the wait for the CRM")
	}
	return nil
}

// refreshPauses takes over the fleet's pauses from the database.
func (w *Worker) refreshPauses(ctx context.Context) error {
	version := w.pauses.Version()
	list, err := w.store.Pauses.List(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	ended, begun := w.pauses.Follow(list, version, now)
	w.wakeUp() // a trial may be due sooner, too
	for _, p := range ended {
		if p.Cause == outbox.ByAnswer {
			w.suspects.Answered(p.Key, now) // a trial of another worker was
		}
		w.log.Info("calls go on: the pause was lifted", "paused", pausedName(p.Key))
	}
	for _, p := range begun {
		w.giveBackPaused(p)
		args := []any{"paused", pausedName(p.ObjectType), "cause", p.Cause, "by", p.By, "reason", p.Reason}
		if p.Cause != outbox.ByOperator {
			args = append(args, "next_trial_in", max(p.TrialIn, 0).Round(time.Second))
		}
		w.log.Warn("calls are paused", args...)
	}
	return nil
}
