package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/worker"
	"crmintake/worker/event"
)

// maxPulls is how many lanes are waited for at once.
const maxPulls = 16

// fetcher decides which consumer is asked for how much. It is for one goroutine: Fetch's.
type fetcher struct {
	view   *view
	puller puller
	reader reader
	lanes  *lanes
}

// fetch is Source's Fetch.
func (f *fetcher) fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Without a connection requests would wait in the client's buffer, and reach the server together when it is back.
	if !waitConnected(ctx, f.puller.nc, fetchWait) {
		return nil // Connect's log has said why
	}
	updateErr := f.lanes.update(ctx)
	if f.lanes.split {
		return errors.Join(updateErr, f.fromLanes(ctx, f.request(max, maxBytes), f.takeFromLanes(deliver)))
	}
	// The fetch itself finds what is wrong with the one consumer.
	return f.fromShared(ctx, max, maxBytes, func(m *nats.Msg) { f.reader.read(m, deliver) })
}

// takeFromLanes delivers events as those of lanes.
func (f *fetcher) takeFromLanes(deliver func(*worker.Event)) func(*nats.Msg) {
	marked := func(e *worker.Event) {
		e.Lane = true
		deliver(e)
	}
	return func(m *nats.Msg) { f.reader.read(m, marked) }
}

// request asks for so much, within the consumer's limits, and waits for it.
func (f *fetcher) request(max, maxBytes int) pullRequest {
	limits := f.view.shared.CachedInfo().Config
	return pullRequest{
		Batch:    atMost(max, limits.MaxRequestBatch),
		MaxBytes: atMost(maxBytes, limits.MaxRequestMaxBytes),
		Expires:  time.Duration(atMost(int(fetchWait), int(limits.MaxRequestExpires))),
	}
}

// atMost returns n, or the limit if there is one that is lower.
func atMost(n, limit int) int {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

// fromShared fetches from the shared consumer.
func (f *fetcher) fromShared(ctx context.Context, max, maxBytes int, take func(*nats.Msg)) error {
	if max = f.unrestricted(ctx, max); max == 0 {
		sleep(ctx, fetchWait)
		return nil
	}
	n, err := f.puller.pull(ctx, f.view.cfg.nextSubject(f.view.cfg.Consumer), f.request(max, maxBytes), take)
	f.lanes.idle = n == 0
	if errors.Is(err, errNoConsumer) {
		f.lanes.lookSoon()
		err = f.whyNoConsumer(ctx)
	}
	return err
}

// unrestricted bounds a fetch from the shared consumer while object types are restricted and have no lanes: nothing is
// fetched when the stream has only what may not be, and no more than may be when it has only such. With others among
// them all is fetched.
func (f *fetcher) unrestricted(ctx context.Context, max int) int {
	if len(f.lanes.limits) == 0 {
		return max
	}
	ctx, cancel := context.WithTimeout(ctx, f.view.waits.info)
	defer cancel()
	state, err := f.view.state(ctx)
	if err != nil || len(state.Subjects) == 0 {
		return max // the fetch waits for what comes, or says what is wrong
	}
	sum := 0
	for subject := range state.Subjects {
		objectType, _ := event.ObjectType(subject, f.view.prefix)
		limit, restricted := f.lanes.limits[objectType]
		if !restricted {
			return max
		}
		sum += limit
	}
	return min(max, sum)
}

// whyNoConsumer finds out why nobody answers for the shared consumer: it is gone, or the server is about to start or
// change leader, which is no error.
func (f *fetcher) whyNoConsumer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.view.waits.idle) // a part of the fetch
	defer cancel()
	if _, err := f.view.shared.Info(ctx); err != nil {
		return f.view.cfg.explain(err)
	}
	return nil
}

// fromLanes fetches while there are lanes. Those that have something are asked one after the other, each for as much as
// there is room for; once none has, all that had lately are waited for together.
func (f *fetcher) fromLanes(ctx context.Context, r pullRequest, take func(*nats.Msg)) error {
	now := time.Now()
	open := f.lanes.open(now)
	if f.lanes.paused {
		open = nil
	}
	switch len(open) {
	case 0:
		sleep(ctx, lookEvery)
		return nil
	case 1:
		return f.fromLane(ctx, open[0], r, take)
	}
	askAgain := now.Add(-time.Duration(len(open)) * emptyWait / maxPulls).Add(-emptyWait)
	if slices.ContainsFunc(open, func(l *lane) bool { return !l.empty }) {
		i := slices.IndexFunc(open, func(l *lane) bool { return !l.empty || l.askedAt.Before(askAgain) })
		r.NoWait, r.Expires = true, 0
		return f.fromLane(ctx, open[i], r, take)
	}
	rounds := (len(open) + maxPulls - 1) / maxPulls
	r.Expires /= time.Duration(rounds)
	return f.awaitLanes(ctx, open[:min(len(open), maxPulls, r.Batch)], r, take)
}

// fromLane fetches from one lane.
func (f *fetcher) fromLane(ctx context.Context, l *lane, r pullRequest, take func(*nats.Msg)) error {
	f.lanes.toBack(l)
	if ok, err := f.lanes.create(ctx, l); !ok {
		return err
	}
	r = f.lanes.bound(l, r)
	n, err := f.puller.pull(ctx, l.next, r, take)
	f.lanes.fetched(l, n, n < r.Batch, err)
	if errors.Is(err, errNoConsumer) {
		return nil
	}
	return err
}

// share is what one lane brings while several are waited for.
type share struct {
	lane    *lane
	n, left int
	err     error
}

// awaitLanes waits for lanes together, until one of them has brought its share or the request's time is over.
func (f *fetcher) awaitLanes(ctx context.Context, list []*lane, r pullRequest, deliver func(*nats.Msg)) error {
	r.Batch, r.MaxBytes = r.Batch/len(list), max(1, r.MaxBytes/len(list))
	inbox := f.puller.nc.NewInbox()
	incoming := make(chan *nats.Msg, len(list)*(r.Batch+1))
	sub, err := f.puller.nc.ChanSubscribe(inbox+".*", incoming)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	shares, failed := f.requestShares(ctx, list, r, inbox)
	waiting := len(shares)
	if waiting == 0 {
		return errors.Join(failed, sub.Unsubscribe())
	}
	byName := map[string]*share{}
	for _, x := range shares {
		byName[x.lane.name] = x
	}
	take := func(m *nats.Msg) (full bool) {
		deliver(m)
		meta, err := m.Metadata()
		if err != nil {
			return false
		}
		x := byName[meta.Consumer]
		if x == nil {
			return false
		}
		x.n++
		x.left--
		return x.left == 0
	}
	timer := time.NewTimer(r.Expires + lateness)
	defer timer.Stop()
	for full := false; waiting > 0 && !full; {
		select {
		case m := <-incoming:
			if m.Reply != "" {
				full = take(m)
				continue
			}
			waiting--
			x := shares[strings.TrimPrefix(m.Subject, inbox+".")]
			err := f.puller.status(m)
			switch {
			case x == nil: // of no request that was sent
			case errors.Is(err, errNoConsumer):
				x.err = err
			case errors.Is(err, errTooLarge):
				x.left, full = 0, true
			default:
				failed = errors.Join(failed, err)
			}
		case <-timer.C:
			waiting = 0
		case <-ctx.Done():
			waiting = 0
		}
	}
	f.puller.withdraw(sub, incoming, func(m *nats.Msg) { take(m) })
	for _, x := range shares {
		f.lanes.fetched(x.lane, x.n, x.left > 0, x.err)
	}
	return failed
}

// requestShares asks each lane for its share, whose messages come to inbox.<key of the share>.
func (f *fetcher) requestShares(ctx context.Context, list []*lane, r pullRequest, inbox string) (
	shares map[string]*share, failed error) {
	shares = map[string]*share{}
	for i, l := range list {
		f.lanes.toBack(l)
		ok, err := f.lanes.create(ctx, l)
		if !ok {
			failed = errors.Join(failed, err)
			continue
		}
		each, key := f.lanes.bound(l, r), strconv.Itoa(i)
		if err := f.puller.send(l.next, inbox+"."+key, each); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		shares[key] = &share{lane: l, left: each.Batch}
	}
	return shares, failed
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
