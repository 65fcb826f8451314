package worker

import (
	"context"
	"time"

	"crmintake/outbox"
)

// pause stops the fleet's calls of an object type, or of the account, until a trial succeeds. No event pays for it.
func (w *Worker) pause(writes context.Context, key string, call *Call) {
	wait := call.Wait
	if wait <= 0 {
		wait = w.cfg.TrialInterval
	}
	w.shut(key, wait)
	var fresh bool
	if err := w.persist(writes, writes, func(ctx context.Context) (err error) {
		fresh, err = w.store.Pause(ctx, key, call.Detail, wait)
		return err
	}); err == nil && fresh {
		w.log.Error("calls are paused; no event is harmed", "paused", pausedName(key), "reason", call.Detail, "next_trial_in", wait,
			"correlation_id", call.CorrelationID)
	}
}

func pausedName(key string) string {
	if key == outbox.Account {
		return "everything"
	}
	return key
}

// shut closes a gate here, and gives back what waits behind it.
func (w *Worker) shut(key string, wait time.Duration) {
	w.mu.Lock()
	w.changes++
	w.gates[key] = &gate{trialAt: time.Now().Add(wait)}
	w.mu.Unlock()
	w.giveBack(func(objectType string) bool { return key == outbox.Account || key == objectType }, min(wait, giveBackDelay))
}

// resume ends pauses whose trial succeeded.
func (w *Worker) resume(writes context.Context, trials []string) {
	for _, key := range trials {
		var was bool
		if err := w.persist(writes, writes, func(ctx context.Context) (err error) {
			was, err = w.store.Resume(ctx, key)
			return err
		}); err == nil && was {
			w.log.Info("calls go on after a pause", "paused", pausedName(key))
		}
		w.mu.Lock()
		w.changes++
		delete(w.gates, key)
		w.wakeUp()
		w.mu.Unlock()
	}
}

// refreshPauses takes over the fleet's pauses from the database.
func (w *Worker) refreshPauses(ctx context.Context) error {
	w.mu.Lock()
	before := w.changes
	w.mu.Unlock()
	list, err := w.store.Pauses(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	paused := map[string]outbox.Pause{}
	for _, p := range list {
		paused[p.ObjectType] = p
	}
	w.mu.Lock()
	if w.changes != before { // what was read is older than what this worker has done meanwhile
		w.mu.Unlock()
		return nil
	}
	var opened []string
	for key := range w.gates {
		if _, still := paused[key]; !still {
			opened = append(opened, key)
			delete(w.gates, key)
		}
	}
	var shut []outbox.Pause
	for key, p := range paused {
		if g := w.gates[key]; g != nil {
			g.trialAt = now.Add(p.TrialIn)
		} else {
			shut = append(shut, p)
		}
	}
	w.wakeUp()
	w.mu.Unlock()
	for _, key := range opened {
		w.log.Info("calls go on: the pause was lifted", "paused", pausedName(key))
	}
	for _, p := range shut {
		w.log.Warn("calls are paused", "paused", pausedName(p.ObjectType), "reason", p.Reason, "next_trial_in", p.TrialIn.Round(time.Second))
		w.shut(p.ObjectType, p.TrialIn)
	}
	return nil
}
