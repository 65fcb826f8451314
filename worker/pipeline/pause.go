package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// pauser begins and ends pauses: here first, then in the database, for the fleet.
type pauser struct {
	*parts
	acks *acker
}

// pause stops the fleet's calls of an object type, or of the account, until a trial succeeds. No event pays for it.
func (s *pauser) pause(writes context.Context, key string, cause outbox.Cause, call *worker.Call) {
	wait := call.Wait
	if wait <= 0 {
		wait = s.cfg.TrialInterval
	}
	reason := call.ForLog() // it is logged, too
	if call.AboutAccount {  // the CRM's own words say what to do
		reason = call.Detail
	}
	s.stopCalls(writes, outbox.Pause{ObjectType: key, Cause: cause, Reason: reason, TrialIn: wait}, call.CorrelationID)
}

func (s *pauser) stopCalls(writes context.Context, p outbox.Pause, correlationID string) {
	p.By = s.cfg.Name
	written := s.pauses.Writing()
	s.shut(p)
	var fresh bool
	err := s.retry.write(writes, writes, func(ctx context.Context) (err error) {
		fresh, err = s.store.Pauses.Begin(ctx, p)
		return err
	})
	written()
	if err == nil && fresh {
		s.log.Error("calls are paused; events wait", "paused", pausedName(p.ObjectType), "cause", p.Cause,
			"reason", p.Reason,
			"next_trial_in", p.TrialIn, "correlation_id", correlationID)
	}
}

func pausedName(key string) string {
	if key == outbox.Account {
		return "everything"
	}
	return key
}

// shut begins a pause in this worker alone, and gives back what waits of it. What a person has paused stays so.
func (s *pauser) shut(p outbox.Pause) {
	s.pauses.Close(p, time.Now())
	s.giveBackPaused(p)
}

// giveBackPaused gives back what waits of what is paused now.
func (s *pauser) giveBackPaused(p outbox.Pause) {
	delay := nakDelay
	if p.Cause != outbox.ByOperator {
		delay = min(p.TrialIn, nakDelay)
	}
	s.acks.giveBack(p.ObjectType, delay)
}

// resume ends pauses whose trial succeeded.
func (s *pauser) resume(writes context.Context, trials []string) {
	for _, key := range trials {
		var was bool
		if err := s.retry.write(writes, writes, func(ctx context.Context) (err error) {
			was, err = s.store.Pauses.Resume(ctx, key)
			return err
		}); err == nil && was {
			s.log.Info("calls go on after a pause", "paused", pausedName(key))
		}
		s.pauses.Open(key)
		s.wakeUp()
	}
}
