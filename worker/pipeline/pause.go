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
	w.mu.Lock()
	w.pausing++
	w.mu.Unlock()
	w.shut(p)
	var fresh bool
	err := w.retryWrite(writes, writes, func(ctx context.Context) (err error) {
		fresh, err = w.store.Pauses.Begin(ctx, p)
		return err
	})
	w.mu.Lock()
	w.pausing--
	w.changes++
	w.mu.Unlock()
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
	delay := nakDelay
	if p.Cause != outbox.ByOperator {
		delay = min(p.TrialIn, nakDelay)
	}
	w.mu.Lock()
	w.changes++
	if g := w.pauses[p.ObjectType]; g == nil || g.cause != outbox.ByOperator {
		w.pauses[p.ObjectType] = &pauseState{cause: p.Cause, trialAt: time.Now().Add(p.TrialIn)}
	}
	w.mu.Unlock()
	w.nak(func(objectType string) bool { return p.ObjectType == outbox.Account || p.ObjectType == objectType }, delay)
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
		w.mu.Lock()
		w.changes++
		if g := w.pauses[key]; g != nil && g.cause != outbox.ByOperator {
			delete(w.pauses, key)
		}
		w.wakeUp()
		w.mu.Unlock()
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
	w.mu.Lock()
	since, waits := w.backoff.since, time.Now().Before(w.backoff.until)
	w.mu.Unlock()
	if !waits {
		return nil
	}
	resumed, err := w.store.Quota.Resumed(ctx, outbox.QuotaAccount, time.Since(since))
	if err != nil || !resumed {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.backoff.since.Equal(since) { // nothing else was learned since
		w.backoff = crmBackoff{}
		w.wakeUp()
		w.log.Info("calls go on: a person ended the wait for the CRM")
	}
	return nil
}

// refreshPauses takes over the fleet's pauses from the database.
func (w *Worker) refreshPauses(ctx context.Context) error {
	w.mu.Lock()
	before := w.changes
	w.mu.Unlock()
	list, err := w.store.Pauses.List(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	paused := map[string]outbox.Pause{}
	for _, p := range list {
		paused[p.ObjectType] = p
	}
	w.mu.Lock()
	if w.changes != before || w.pausing > 0 { // what was read is older than what this worker has done meanwhile
		w.mu.Unlock()
		return nil
	}
	var opened []string
	for key := range w.pauses {
		if _, still := paused[key]; !still {
			opened = append(opened, key)
			if w.pauses[key].cause == outbox.ByAnswer {
				w.worked[key] = now // a trial of another worker was answered
			}
			delete(w.pauses, key)
		}
	}
	var shut []outbox.Pause
	for key, p := range paused {
		if g := w.pauses[key]; g != nil && g.cause == p.Cause {
			g.trialAt = now.Add(p.TrialIn)
		} else {
			delete(w.pauses, key)
			shut = append(shut, p)
		}
	}
	w.wakeUp()
	w.mu.Unlock()
	for _, key := range opened {
		w.log.Info("calls go on: the pause was lifted", "paused", pausedName(key))
	}
	for _, p := range shut {
		w.shut(p)
		args := []any{"paused", pausedName(p.ObjectType), "cause", p.Cause, "by", p.By, "reason", p.Reason}
		if p.Cause != outbox.ByOperator {
			args = append(args, "next_trial_in", max(p.TrialIn, 0).Round(time.Second))
		}
		w.log.Warn("calls are paused", args...)
	}
	return nil
}

// restricted tells of how many events of each paused object type a fetch may bring: of none, or what its trial wants.
func (w *Worker) restricted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pauses) == 0 {
		return nil
	}
	now := time.Now()
	most := map[string]int{}
	for key := range w.pauses {
		if key != outbox.Account {
			most[key], _ = w.roomOf(key, now)
		}
	}
	return most
}

// roomOf tells how many events of an object type may be taken in hand, if a pause limits that: none, or for a trial
// one, of a breaker a batch. The caller holds mu.
func (w *Worker) roomOf(objectType string, now time.Time) (n int, limited bool) {
	trials, ok := w.pauses.passable(fresh, objectType, now)
	switch {
	case !ok:
		return 0, true
	case len(trials) > 0:
		n = 1
		if g := w.pauses[objectType]; g != nil && g.cause == outbox.ByBreaker {
			n = w.cfg.Batch.Size
		}
		return max(0, n-w.waiting.Waiting(objectType)), true
	}
	return 0, false
}
