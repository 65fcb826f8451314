package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// The breaker keeps an object type from filling the dead letters, when a property was renamed or an option taken away,
// say: once more than a share of its last inputs, over the whole fleet, were rejected for the same reason, it is
// paused. What was rejected stays dead. The database keeps the window (outbox.Weigh), and hears of it only when
// something was rejected; and once a second of what was not, in a few numbers, if there is something to weigh it
// against.
//
// So that it is in time, an object type has a congestion window (window.go).
//
// A trial is one batch, and passes when no more than that share of it is rejected, for whatever reason. When it fails,
// the next is twice as long after it, up to breakerTrialMost: what keeps coming and keeps being rejected makes a
// hundred dead letters in that time at most.

// breakerTrialMost is the longest time between two trials of a breaker's pause.
const breakerTrialMost = 15 * time.Minute

// recordOutcomes takes in what became of a call's inputs, and pauses their object type when that was too much.
func (f *feedback) recordOutcomes(writes context.Context, b *attempt, outcomes []worker.Outcome,
	settlements []outbox.Settlement) {
	if f.cfg.Breaker.Off {
		return
	}
	others, rejected := sortOut(outcomes, settlements)
	objectType, size := b.ObjectType, f.cfg.Breaker.Window
	if f.windows.Record(objectType, len(outcomes), others, sum(rejected)) {
		f.wakeUp()
	}
	if b.trial != nil {
		b.trial.add(others, rejected)
		return
	}
	if _, paused := f.pauses.Get(objectType); paused { // the last calls of before the pause
		return
	}
	if len(rejected) == 0 {
		f.successes.Add(objectType, others, size)
		return
	}
	others = min(others+f.successes.Take(objectType), size)
	var reason string
	var n int
	if err := f.retry.write(writes, writes, func(ctx context.Context) (err error) {
		reason, n, err = f.store.Breaker.RecordOutcomes(ctx, objectType, b.ID, others, rejected, size)
		return err
	}); err != nil || float64(n) <= f.cfg.Breaker.Share*float64(size) {
		return
	}
	f.pauser.stopCalls(writes, outbox.Pause{ObjectType: objectType, Cause: outbox.ByBreaker,
		TrialIn: f.cfg.TrialInterval,
		Reason:  fmt.Sprintf("%d of the last %d inputs were rejected: %s", n, size, reason)}, "")
}

// sortOut counts what was not rejected, and what was, by reason. What is neither created nor dead has not come to its
// end.
func sortOut(outcomes []worker.Outcome, settlements []outbox.Settlement) (others int, rejected map[string]int) {
	for k := range outcomes {
		switch s := &settlements[k]; {
		case s.Status == outbox.Created:
			others++
		case s.Status == outbox.Dead && (s.Reason == outbox.Rejected || s.Reason == outbox.Conflict):
			if rejected == nil {
				rejected = map[string]int{}
			}
			rejected[rejection(&outcomes[k])]++
		}
	}
	return others, rejected
}

func sum(rejected map[string]int) (all int) {
	for _, n := range rejected {
		all += n
	}
	return all
}

// rejection is a word for why an input was rejected, the same for all that were rejected for the same. It has no values
// of the event, as a message may have.
func rejection(o *worker.Outcome) string {
	for _, e := range o.Errors {
		if words := strings.Join(strings.Fields(e.Category+" "+e.Rule+" "+e.Property), " "); words != "" {
			return words
		}
	}
	if o.Conflict {
		return "CONFLICT"
	}
	return "for a reason that has no name"
}

// trial gathers what became of the inputs of a trial, which is several calls when its batch is split. One goroutine has
// it.
type trial struct {
	others   int
	rejected map[string]int
}

func (p *trial) add(others int, rejected map[string]int) {
	p.others += others
	for reason, n := range rejected {
		p.rejected[reason] += n
	}
}

// trialOf makes the trial of a batch that is the trial of a breaker's pause, else nil.
func (f *feedback) trialOf(b *attempt) *trial {
	objectType := b.ObjectType
	if p, _ := f.pauses.Get(objectType); p.Cause != outbox.ByBreaker || !slices.Contains(b.trials, objectType) {
		return nil
	}
	return &trial{rejected: map[string]int{}}
}

// endTrial lifts a breaker's pause, or prolongs it. A trial that came to nothing says nothing, nor does one that was a
// scout as well.
func (f *feedback) endTrial(writes context.Context, b *attempt) {
	p, objectType := b.trial, b.ObjectType
	bad := sum(p.rejected)
	switch all := bad + p.others; {
	case all == 0, b.scout: // one event is no share
	case float64(bad) <= f.cfg.Breaker.Share*float64(all):
		f.pauser.resume(writes, []string{objectType})
	default:
		worst := slices.MaxFunc(slices.Sorted(maps.Keys(p.rejected)),
			func(a, b string) int { return cmp.Compare(p.rejected[a], p.rejected[b]) })
		reason := fmt.Sprintf("%d of the %d inputs of a trial were rejected, %d of them: %s", bad, all,
			p.rejected[worst], worst)
		f.log.Warn("calls stay paused: the trial failed", "paused", objectType, "reason", reason)
		_ = f.retry.write(writes, writes, func(ctx context.Context) error {
			return f.store.Pauses.Prolong(ctx, objectType, reason, f.cfg.TrialInterval, breakerTrialMost)
		})
		f.pauser.shut(outbox.Pause{ObjectType: objectType, Cause: outbox.ByBreaker, TrialIn: f.cfg.TrialInterval})
	}
}
