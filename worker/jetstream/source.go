package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

// Source pulls from a durable consumer, or from one for each object type. Open makes one.
//
// Fetch and Restrict are for one goroutine; all else may be called at any time, by many at once.
type Source struct {
	nc       *nats.Conn
	view     *view
	fetcher  fetcher
	warnings []string
}

var _ worker.Source = (*Source)(nil)

// Open finds stream and consumer, and fails with what to type when one is missing or is such that events would be lost
// or misread. The connection stays the caller's.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	js, err := cfg.jetStream(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, cfg.Stream)
	if err != nil {
		return nil, cfg.explainAt(ctx, js, err)
	}
	shared, err := stream.Consumer(ctx, cfg.Consumer)
	if err != nil {
		return nil, cfg.explain(err)
	}
	have := stream.CachedInfo().Config
	found := append(checkStream(cfg, have), checkConsumer(cfg, shared.CachedInfo(), have)...)
	if err := found.err(); err != nil {
		return nil, err
	}
	v := &view{cfg: cfg, prefix: cfg.Prefix(), js: js, stream: stream, shared: shared,
		waits: waits{info: infoWait, split: splitWait, idle: fetchWait}}
	return &Source{
		nc:   nc,
		view: v,
		fetcher: fetcher{
			view:   v,
			puller: puller{nc: nc, cfg: cfg, lateness: lateness},
			reader: reader{nc: nc, view: v, skipped: map[string]bool{}},
			lanes:  newLanes(v),
		},
		warnings: found.warnings(),
	}, nil
}

// Fetch implements worker.Source. When ctx ends it returns at once, or as soon as what is on its way has come. A
// message that alone is larger than maxBytes is delivered nevertheless, alone.
func (s *Source) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	return s.fetcher.fetch(ctx, max, maxBytes, deliver)
}

// Restrict implements worker.Source.
func (s *Source) Restrict(most map[string]int) { s.fetcher.lanes.limits = most }

// Outstanding implements worker.Source.
func (s *Source) Outstanding(ctx context.Context) (pending, unacked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.view.waits.info)
	defer cancel()
	return s.view.outstanding(ctx)
}

// Stranded implements worker.Source. On a work queue, new lanes then fetch what was passed over.
func (s *Source) Stranded(ctx context.Context) (events int, advice string, err error) {
	found, err := s.view.confirmStranded(ctx)
	if err != nil || found.total() == 0 {
		return 0, "", err
	}
	if found.passed > 0 && s.view.isWorkQueue() {
		s.fetcher.lanes.passedOver.Store(&found.by)
	} else {
		s.fetcher.lanes.passedOver.Store(nil)
	}
	return found.total(), s.view.adviseStranded(found), nil
}

// PausedFor implements worker.Source.
func (s *Source) PausedFor() time.Duration {
	info := s.view.shared.CachedInfo()
	if !info.Paused {
		return 0
	}
	return max(info.PauseRemaining, time.Second)
}

// Warnings are what Open found that works but had better be otherwise, a sentence each, with what to type.
func (s *Source) Warnings() []string { return s.warnings }

// Lanes reports whether each object type had a consumer of its own when the server was last asked, by Open or
// Outstanding.
func (s *Source) Lanes() bool { return s.view.cfg.isSplit(s.view.shared.CachedInfo().Config) }

// AckWait is the consumer's: how long a message may be in hand before it is delivered again. With a backoff, its
// shortest.
func (s *Source) AckWait() time.Duration { return shortestWait(s.view.shared.CachedInfo().Config) }

// view asks the server what the stream has, and what its consumers have delivered. It changes nothing, and may be used
// by many goroutines at once.
type view struct {
	cfg    Config // with defaults
	prefix string // what the subject of an event has before the object type
	js     jetstream.JetStream
	stream jetstream.Stream
	shared jetstream.Consumer // the one of all object types, while they have none of their own
	waits  waits
}

// waits bound what is asked of the server. Tests wait for longer, as a busy machine needs it.
type waits struct {
	info  time.Duration // one look, or one change
	split time.Duration // all that a split asks for
	idle  time.Duration // a look while nothing comes
}

// isWorkQueue reports whether an acked message leaves the stream.
func (v *view) isWorkQueue() bool {
	return v.stream.CachedInfo().Config.Retention == jetstream.WorkQueuePolicy
}

// state is what the stream has of our subjects, and how much of each. A stream that keeps what is acked has more than
// is to be delivered.
func (v *view) state(ctx context.Context) (jetstream.StreamState, error) {
	info, err := v.stream.Info(ctx, jetstream.WithSubjectFilter(v.prefix+">"))
	if err != nil {
		return jetstream.StreamState{}, v.cfg.explain(err)
	}
	return info.State, nil
}

// stored counts the messages that the stream has of our subjects.
func (v *view) stored(ctx context.Context) (n int, err error) {
	state, err := v.state(ctx)
	for _, each := range state.Subjects {
		n += int(each)
	}
	return n, err
}

// consumers are all of the stream's.
func (v *view) consumers(ctx context.Context) (list []*jetstream.ConsumerInfo, err error) {
	all := v.stream.ListConsumers(ctx)
	for c := range all.Info() {
		list = append(list, c)
	}
	if err := all.Err(); err != nil {
		return nil, v.cfg.explain(err)
	}
	return list, nil
}

// outstanding counts the messages to be delivered and those to be acked, over all consumers that deliver events.
func (v *view) outstanding(ctx context.Context) (pending, unacked int, err error) {
	info, err := v.shared.Info(ctx)
	if err != nil {
		return 0, 0, v.cfg.explain(err)
	}
	lag, err := v.lag(ctx)
	if err != nil {
		return 0, 0, err
	}
	if v.cfg.isSplit(info.Config) {
		pending, unacked, err = v.outstandingInLanes(ctx)
		return pending + lag, unacked, err
	}
	pending, unacked = int(info.NumPending)+lag, info.NumAckPending
	if unacked > 0 && v.isWorkQueue() {
		// The server goes on counting what the shared consumer delivered before there were lanes, until it looks at it,
		// though lanes have acked it.
		stored, err := v.stored(ctx)
		if err != nil {
			return 0, 0, err
		}
		unacked = min(unacked, stored)
	}
	return pending, unacked, nil
}

// outstandingInLanes is outstanding while there are lanes. It is a work queue: what is acked is gone from the stream.
func (v *view) outstandingInLanes(ctx context.Context) (pending, unacked int, err error) {
	consumers, err := v.consumers(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range consumers {
		if v.cfg.isLane(c) { // what the shared one has delivered is theirs, too, or paused
			unacked += c.NumAckPending
		}
	}
	stored, err := v.stored(ctx)
	unacked = min(unacked, stored)
	return stored - unacked, unacked, err
}

// lag counts the messages that the stream has yet to copy from others, as the server last knew.
func (v *view) lag(ctx context.Context) (n int, err error) {
	if c := v.stream.CachedInfo().Config; c.Mirror == nil && len(c.Sources) == 0 {
		return 0, nil
	}
	info, err := v.stream.Info(ctx)
	if err != nil {
		return 0, v.cfg.explain(err)
	}
	if info.Mirror != nil {
		n = int(info.Mirror.Lag)
	}
	for _, from := range info.Sources {
		n += int(from.Lag)
	}
	return n, nil
}
