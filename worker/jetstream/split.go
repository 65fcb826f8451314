package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	lookEvery  = time.Second      // at what the stream has, while there are lanes: so late is a new object type seen
	idleLook   = 5 * time.Second  // at the shared consumer while it delivers nothing: others may have split
	cleanEvery = time.Minute      // between two looks for lanes to remove
	splitRetry = time.Minute      // after a failure to split
	laneRetry  = 10 * time.Second // after a failure to make a lane
	splitWait  = 3 * time.Second  // bounds what is asked of the server for a split
	oldLane    = time.Minute      // a younger lane is not made anew: another worker has just done that
)

var errLanes = errors.New("object types can't have consumers of their own")

// update has lanes made while they are wanted, and finds out which ones there are. It asks the server only when that is
// due.
func (l *lanes) update(ctx context.Context) error {
	now := time.Now()
	since := now.Sub(l.lookedAt)
	switch {
	case l.split && l.passedOver.Load() != nil:
		ctx, cancel := context.WithTimeout(ctx, l.waits.info)
		defer cancel()
		return l.renew(ctx, *l.passedOver.Swap(nil))
	case l.split && since >= lookEvery:
		ctx, cancel := context.WithTimeout(ctx, l.waits.info)
		defer cancel()
		return l.look(ctx)
	case !l.split && (len(l.limits) > 0 || l.passedOver.Load() != nil) && now.Sub(l.failedAt) >= splitRetry:
		ctx, cancel := context.WithTimeout(ctx, l.waits.split)
		defer cancel()
		l.passedOver.Store(nil)
		if err := l.trySplit(ctx); err != nil {
			if l.failedAt.IsZero() && !errors.Is(err, context.Canceled) {
				what := "a paused object type's backlog will slow down the others"
				if len(l.limits) == 0 {
					what = "events that the consumer has passed over can't be fetched; type 'crmintake check'"
				}
				l.cfg.log().Warn(what, "error", l.cfg.explain(err))
			}
			l.failedAt = now
			return nil // all is fetched then
		}
		l.failedAt = time.Time{}
		return l.look(ctx)
	case !l.split && l.idle && since >= l.idleLook:
		ctx, cancel := context.WithTimeout(ctx, l.waits.idle)
		defer cancel()
		return l.look(ctx)
	}
	return nil
}

// look finds out whether there are lanes, and what the stream has for them.
func (l *lanes) look(ctx context.Context) error {
	now := time.Now()
	info, err := l.shared.Info(ctx)
	if err != nil {
		l.lookedAt = now // the next try is not sooner for that
		return l.cfg.explain(err)
	}
	state, err := l.state(ctx)
	l.lookedAt = now
	if err != nil {
		return err
	}
	l.paused = info.Paused
	if l.split = l.cfg.isSplit(info.Config); !l.split {
		return l.recoverPassedOver(ctx, info, state)
	}
	for subject := range state.Subjects {
		l.found(subject, now)
	}
	if state.Msgs == 0 && len(l.limits) == 0 {
		return l.merge(ctx)
	}
	return l.clean(ctx, now)
}

// recoverPassedOver splits for messages that the shared consumer has passed over: it will never deliver them, and lanes
// do. Two looks must agree.
func (l *lanes) recoverPassedOver(ctx context.Context, info *jetstream.ConsumerInfo, s jetstream.StreamState) error {
	l.list, l.byName = nil, map[string]*lane{}
	before, f := l.stuck, filtersOf(info.Config)
	l.stuck = 0
	if len(s.Subjects) > 0 && info.NumPending == 0 && info.NumAckPending == 0 && len(f) == 1 &&
		f[0] == l.cfg.Subject && l.isWorkQueue() {
		l.stuck = s.FirstSeq
	}
	if before != 0 && before == l.stuck {
		return l.trySplit(ctx)
	}
	return nil
}

// renew removes lanes that have passed over messages, as after a crash of the server one has that it knows as acked and
// the stream still has. A new lane begins at the first message. What is in somebody's hand comes once more; the outbox
// knows it.
func (l *lanes) renew(ctx context.Context, names []string) error {
	for _, name := range names {
		if name == l.cfg.Consumer {
			continue
		}
		lane, err := l.js.Consumer(ctx, l.cfg.Stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return l.cfg.explain(err)
		}
		if info := lane.CachedInfo(); info.TimeStamp.Sub(info.Created) < l.oldLane {
			continue
		}
		if err := l.remove(ctx, name); err != nil {
			return err
		}
		if one := l.byName[name]; one != nil {
			one.created, one.empty, one.notBefore = false, false, time.Time{}
		}
	}
	return l.look(ctx)
}

// trySplit has the fleet use lanes. Several workers may do so at once.
func (l *lanes) trySplit(ctx context.Context) error {
	info, err := l.shared.Info(ctx)
	if err != nil {
		return err
	}
	if l.cfg.isSplit(info.Config) {
		l.split = true
		return nil
	}
	stream := l.stream.CachedInfo().Config
	f := filtersOf(info.Config)
	switch {
	case !l.isWorkQueue():
		return fmt.Errorf("%w: the stream %s is no work queue", errLanes, l.cfg.Stream)
	case len(f) != 1 || f[0] != l.cfg.Subject:
		return fmt.Errorf("%w: the consumer %s does not deliver %s", errLanes, l.cfg.Consumer, l.cfg.Subject)
	case stream.MaxConsumers > 0:
		return fmt.Errorf("%w: the stream %s is limited to %d; type '%s'", errLanes, l.cfg.Stream, stream.MaxConsumers,
			l.cfg.withoutMaxConsumers())
	}
	account, err := l.js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	if most := account.Limits.MaxConsumers; most > 0 && most < account.Consumers+2*maxPulls {
		return fmt.Errorf("%w: the account has %d consumers of %d", errLanes, account.Consumers, most)
	}
	if err := l.checkRights(ctx); err != nil {
		return err
	}
	if err := l.setFilter(ctx, info.Config, l.cfg.splitFilter()); err != nil {
		return err
	}
	l.split = true
	return nil
}

// checkRights finds out whether we have the rights for lanes, before nothing else delivers anything: requests without
// them go unanswered. A lane that is made now is refused, for the shared consumer's filter is in the way.
func (l *lanes) checkRights(ctx context.Context) error {
	probe := l.cfg.laneOf(l.prefix + "x.x")
	if _, err := l.js.CreateConsumer(ctx, l.cfg.Stream, l.configOf(probe)); notUnique(err) != nil {
		return fmt.Errorf("create a consumer of stream %s: %w", l.cfg.Stream, err)
	}
	if err := l.remove(ctx, probe.name); err != nil {
		return err
	}
	_, err := l.consumers(ctx)
	return err
}

// merge has the fleet use the shared consumer again, while the stream is empty. What is published meanwhile may have
// been passed over by it, if anybody asks it in that moment, as a worker of an older version does: then there are lanes
// again.
func (l *lanes) merge(ctx context.Context) error {
	consumers, err := l.consumers(ctx)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if l.cfg.isLane(c) {
			if err := l.remove(ctx, c.Name); err != nil {
				return err
			}
		}
	}
	for _, one := range l.list {
		one.created = one.name == l.cfg.Consumer
	}
	info, err := l.shared.Info(ctx)
	if err != nil {
		return l.cfg.explain(err)
	}
	if err := l.setFilter(ctx, info.Config, l.cfg.Subject); err != nil {
		return notUnique(err) // another worker has made a lane: the stream is not empty any more
	}
	l.split = false
	if info, err = l.shared.Info(ctx); err != nil {
		return l.cfg.explain(err)
	}
	state, err := l.state(ctx)
	if err != nil {
		return err
	}
	if state.Msgs > 0 && state.FirstSeq <= info.Delivered.Stream {
		return l.trySplit(ctx)
	}
	return nil
}

// setFilter gives the shared consumer another filter.
func (l *lanes) setFilter(ctx context.Context, c jetstream.ConsumerConfig, subject string) error {
	c.FilterSubject, c.FilterSubjects = subject, nil
	_, err := l.js.UpdateConsumer(ctx, l.cfg.Stream, c)
	return err
}

// clean removes lanes of which the stream has had nothing for long. What comes after all makes the lane anew.
func (l *lanes) clean(ctx context.Context, now time.Time) error {
	if now.Sub(l.cleanedAt) < min(cleanEvery, l.keep) {
		return nil
	}
	l.cleanedAt = now
	var kept []*lane
	for _, one := range l.list {
		if now.Sub(one.pendingAt) < l.keep {
			kept = append(kept, one)
			continue
		}
		if one.created && one.name != l.cfg.Consumer {
			if err := l.remove(ctx, one.name); err != nil {
				return err
			}
		}
		delete(l.byName, one.name)
	}
	l.list = kept
	return nil
}

// remove deletes a lane. Others may have been faster.
func (l *lanes) remove(ctx context.Context, name string) error {
	err := l.js.DeleteConsumer(ctx, l.cfg.Stream, name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove the consumer %s of stream %s: %w", name, l.cfg.Stream, err)
	}
	return nil
}

// configOf is all that the shared consumer has but the filter, and what would strand events.
func (l *lanes) configOf(one *lane) jetstream.ConsumerConfig {
	c := l.shared.CachedInfo().Config
	c.Name, c.Durable, c.FilterSubject, c.FilterSubjects, c.Metadata = one.name, one.name, one.filter, nil, nil
	c.DeliverPolicy, c.OptStartSeq, c.OptStartTime, c.PauseUntil = jetstream.DeliverAllPolicy, 0, nil, nil
	c.MaxDeliver = -1 // whatever somebody has made of the shared one's
	return c
}

// create makes a lane's consumer, unless it is there. Several workers may do so at once. It returns false without an
// error when there are no lanes any more.
func (l *lanes) create(ctx context.Context, one *lane) (ok bool, err error) {
	if one.created {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.waits.info)
	defer cancel()
	_, err = l.js.CreateConsumer(ctx, l.cfg.Stream, l.configOf(one))
	if err == nil || errors.Is(err, jetstream.ErrConsumerExists) { // with what the shared one had before
		one.created = true
		return true, nil
	}
	if notUnique(err) == nil {
		info, infoErr := l.shared.Info(ctx)
		if infoErr != nil {
			return false, l.cfg.explain(infoErr)
		}
		if !l.cfg.isSplit(info.Config) {
			l.lookSoon()
			return false, nil
		}
	}
	one.notBefore = time.Now().Add(laneRetry)
	return false, fmt.Errorf("create the consumer %s of stream %s: %w", one.name, l.cfg.Stream, err)
}

// notUnique drops the error of overlapping filters: things have changed, and the next look finds out. The codes
// are the server's JSConsumerWQConsumerNotUniqueErr and JSConsumerWQMultipleUnfilteredErr.
func notUnique(err error) error {
	var api *jetstream.APIError
	const overlap, unfiltered = 10100, 10099
	if errors.As(err, &api) && (api.ErrorCode == overlap || api.ErrorCode == unfiltered) {
		return nil
	}
	return err
}
