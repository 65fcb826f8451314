package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
	"crmintake/worker/event"
)

// unrestricted bounds a fetch from the shared consumer while object types are restricted and have no lanes: nothing is
// fetched when the stream has only what may not be, and no more than may be when it has only such. With others among
// them all is fetched.
func (s *Source) unrestricted(ctx context.Context, max int) int {
	if len(s.lanes.most) == 0 {
		return max
	}
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	state, err := s.state(ctx)
	if err != nil || len(state.Subjects) == 0 {
		return max // the fetch waits for what comes, or tells
	}
	sum := 0
	for subject := range state.Subjects {
		objectType, _ := event.ObjectType(subject, s.prefix)
		most, restricted := s.lanes.most[objectType]
		if !restricted {
			return max
		}
		sum += most
	}
	return min(max, sum)
}

// fetchLanes is Fetch while there are lanes. Those that have something are asked one after the other, each for as much
// as there is room for; once none has, all that had lately are waited for together.
func (s *Source) fetchLanes(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	now := time.Now()
	open := s.openLanes(now)
	if s.lanes.halted {
		open = nil
	}
	r := s.request(max, maxBytes)
	switch len(open) {
	case 0:
		sleep(ctx, lookEvery)
		return nil
	case 1:
		return s.fetchLane(ctx, open[0], r, deliver)
	}
	again := now.Add(-time.Duration(len(open)) * dryWait / maxPulls).Add(-dryWait)
	if slices.ContainsFunc(open, func(l *lane) bool { return !l.dry }) {
		i := slices.IndexFunc(open, func(l *lane) bool { return !l.dry || l.asked.Before(again) })
		r.NoWait, r.Expires = true, 0
		return s.fetchLane(ctx, open[i], r, deliver)
	}
	rounds := (len(open) + maxPulls - 1) / maxPulls
	r.Expires /= time.Duration(rounds)
	return s.await(ctx, open[:min(len(open), maxPulls, r.Batch)], r, deliver)
}

// openLanes are those that may have something which may be fetched. The first of them has waited longest for its turn.
func (s *Source) openLanes(now time.Time) (open []*lane) {
	for _, l := range s.lanes.list {
		most, restricted := s.lanes.most[l.objectType]
		if restricted && most <= 0 {
			l.dry = false // unknown, when it is open again
			continue
		}
		if now.Sub(l.seen) <= laneRecent && !now.Before(l.until) {
			open = append(open, l)
		}
	}
	return open
}

// limit is a request within what may be fetched of the lane's object type.
func (s *Source) limit(l *lane, r pullRequest) pullRequest {
	if most, restricted := s.lanes.most[l.objectType]; restricted {
		r.Batch = min(r.Batch, most)
	}
	return r
}

// turn puts a lane behind the others.
func (s *Source) turn(l *lane) {
	i := slices.Index(s.lanes.list, l)
	s.lanes.list = append(slices.Delete(s.lanes.list, i, i+1), l)
}

// fetchLane fetches from one lane.
func (s *Source) fetchLane(ctx context.Context, l *lane, r pullRequest, deliver func(*worker.Event)) error {
	s.turn(l)
	if ok, err := s.make(ctx, l); !ok {
		return err
	}
	r = s.limit(l, r)
	n, err := s.fetchFrom(ctx, l.next, r, apart(deliver))
	s.fetched(l, n, n < r.Batch, err)
	if errors.Is(err, errAbsent) {
		return nil
	}
	return err
}

// fetched takes note of what a lane has brought.
func (s *Source) fetched(l *lane, n int, dry bool, err error) {
	now := time.Now()
	l.dry, l.asked = dry, now
	if n > 0 {
		l.seen = now
	}
	if errors.Is(err, errAbsent) { // removed by another worker, or all are
		l.made, l.until = l.name == s.cfg.Consumer, now.Add(dryWait)
		s.lanes.looked = time.Time{}
	}
}

// apart marks events of lanes.
func apart(deliver func(*worker.Event)) func(*worker.Event) {
	return func(e *worker.Event) {
		e.Apart = true
		deliver(e)
	}
}

// await waits for lanes together, until one of them has brought its share or the request's time is over.
func (s *Source) await(ctx context.Context, list []*lane, r pullRequest, deliver func(*worker.Event)) error {
	deliver = apart(deliver)
	shares := map[string]*share{}
	r.Batch, r.MaxBytes = r.Batch/len(list), max(1, r.MaxBytes/len(list))
	total := 0
	var failed error
	inbox := s.nc.NewInbox()
	incoming := make(chan *nats.Msg, len(list)*(r.Batch+1))
	sub, err := s.nc.ChanSubscribe(inbox+".*", incoming)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	byInbox := make([]*share, len(list))
	for i, l := range list {
		s.turn(l)
		ok, err := s.make(ctx, l)
		if !ok {
			failed = errors.Join(failed, err)
			continue
		}
		each := s.limit(l, r)
		body, err := json.Marshal(each)
		if err == nil {
			err = s.nc.PublishRequest(l.next, inbox+"."+strconv.Itoa(i), body)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("jetstream: %w", err))
			continue
		}
		byInbox[i] = &share{lane: l, left: each.Batch}
		shares[l.name] = byInbox[i]
		total++
	}
	if total == 0 {
		return errors.Join(failed, sub.Unsubscribe())
	}
	take := func(m *nats.Msg) (full bool) {
		s.give(m, deliver)
		meta, err := m.Metadata()
		if err != nil {
			return false
		}
		x := shares[meta.Consumer]
		if x == nil {
			return false
		}
		x.n++
		x.left--
		return x.left == 0
	}
	timer := time.NewTimer(r.Expires + lateness)
	defer timer.Stop()
	for full := false; total > 0 && !full; {
		select {
		case m := <-incoming:
			if m.Reply != "" {
				full = take(m)
				continue
			}
			total--
			i, _ := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox+"."))
			err := s.status(m)
			switch {
			case errors.Is(err, errAbsent):
				byInbox[i].err = err
			case errors.Is(err, errTooBig):
				byInbox[i].left, full = 0, true
			default:
				failed = errors.Join(failed, err)
			}
		case <-timer.C:
			total = 0
		case <-ctx.Done():
			total = 0
		}
	}
	s.withdraw(sub, incoming, func(m *nats.Msg) { take(m) })
	for _, x := range shares {
		s.fetched(x.lane, x.n, x.left > 0, x.err)
	}
	return failed
}

// share is what one lane brings while several are waited for.
type share struct {
	lane    *lane
	n, left int
	err     error
}

// outstandingApart is Outstanding while there are lanes. It is a work queue: what is acked is gone from the stream.
func (s *Source) outstandingApart(ctx context.Context) (pending, unacked int, err error) {
	consumers, err := s.consumers(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range consumers {
		if s.isLane(c) { // what the shared one has delivered is theirs, too, or paused
			unacked += c.NumAckPending
		}
	}
	total, err := s.total(ctx)
	unacked = min(unacked, total)
	return total - unacked, unacked, err
}

// total counts what the stream has of our subjects.
func (s *Source) total(ctx context.Context) (n int, err error) {
	state, err := s.state(ctx)
	for _, each := range state.Subjects {
		n += int(each)
	}
	return n, err
}

// consumers are all of the stream's.
func (s *Source) consumers(ctx context.Context) (list []*jetstream.ConsumerInfo, err error) {
	all := s.stream.ListConsumers(ctx)
	for c := range all.Info() {
		list = append(list, c)
	}
	if err := all.Err(); err != nil {
		return nil, s.cfg.explain(err)
	}
	return list, nil
}

// sleep waits, no longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
