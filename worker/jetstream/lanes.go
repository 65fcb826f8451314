package jetstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker/event"
)

// A work queue gives each message to one consumer, so the filters of its consumers may not overlap. As long as no
// object type is restricted one consumer, the shared one, delivers all. From then on each object type has one of its
// own, a lane, and a paused one is simply not asked. The shared consumer then filters a subject that nobody publishes
// to, which is how the fleet knows.
//
// The server's consumers only ever go forward: what a filter leaves out is passed over for good, whatever the filter is
// afterwards. So lanes are made anew and begin at the stream's first message, and the shared consumer gets its filter
// back only while the stream is empty. What the shared one has delivered and is not acked comes once more, by its lane;
// the outbox knows it.

// apartToken stands in the shared consumer's filter while object types have lanes. It is no object type.
const apartToken = "$apart"

const (
	lookEvery  = time.Second      // at what the stream has, while there are lanes: so late is a new object type seen
	idleLook   = 5 * time.Second  // at the shared consumer while it delivers nothing: others may have made lanes
	laneRecent = 10 * time.Second // for how long a lane is waited for after the stream had a message of it
	laneIdle   = 5 * time.Minute  // for how long a lane is kept without any
	laneTidy   = time.Minute      // between two looks for lanes to remove
	partRetry  = time.Minute      // after a failure to have lanes
	laneRetry  = 10 * time.Second // after a failure to make one
	partWait   = 3 * time.Second  // bounds what is asked for that
	dryWait    = 100 * time.Millisecond
	maxPulls   = 16   // requests at once
	maxLanes   = 1000 // object types beyond that wait until lanes are removed
)

var (
	errAbsent = errors.New("nobody answers for the consumer")
	errLanes  = errors.New("object types can't have consumers of their own")
)

// lane is the consumer of an object type, or of subjects that name none.
type lane struct {
	objectType   string // "" for none
	filter, name string
	next         string // the subject of pull requests

	made  bool
	seen  time.Time // when the stream was last known to have a message of it
	dry   bool      // it had nothing to deliver
	asked time.Time // when that was found out
	until time.Time // not to be asked before
}

// lanes is what Fetch knows of them.
type lanes struct {
	apart   bool // they are in use
	halted  bool // a person has paused the shared consumer, and so all
	list    []*lane
	of      map[string]*lane // by name
	looked  time.Time
	tidied  time.Time
	failed  time.Time      // when having them failed, zero if it didn't
	most    map[string]int // by object type: how many messages a fetch may bring
	nothing bool           // the last fetch brought nothing
	stuck   uint64         // the first message at the last look, if nobody will deliver it
	idle    time.Duration  // laneIdle, less in tests
}

// apartFilter is the shared consumer's while there are lanes.
func (c Config) apartFilter() string { return c.Prefix() + apartToken }

// filtersOf are the subjects that a consumer delivers; none for all.
func filtersOf(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func (c Config) isApart(consumer jetstream.ConsumerConfig) bool {
	f := filtersOf(consumer)
	return len(f) == 1 && f[0] == c.apartFilter()
}

// laneOf makes the lane for a subject; nil if it can't have one.
func (s *Source) laneOf(subject string) *lane {
	token, rest, more := strings.Cut(strings.TrimPrefix(subject, s.prefix), ".")
	l := &lane{filter: s.prefix + token}
	objectType, invalid := event.ObjectType(subject, s.prefix)
	switch {
	case token == "" || token == "*" || token == ">" || more && rest == "":
		return nil // NATS would read the filter otherwise
	case more:
		l.filter, l.name = s.prefix+"*.>", s.cfg.Consumer+"_"
	case token == apartToken:
		l.name, l.made = s.cfg.Consumer, true
	case invalid != "":
		l.name = fmt.Sprintf("%s_%x", s.cfg.Consumer, sha256.Sum256([]byte(token)))[:len(s.cfg.Consumer)+17]
	default:
		l.objectType, l.name = objectType, s.cfg.Consumer+"-"+objectType
	}
	l.next = s.cfg.nextSubject(l.name)
	return l
}

// isLane tells whether a consumer of the stream is one of ours.
func (s *Source) isLane(info *jetstream.ConsumerInfo) bool {
	f := filtersOf(info.Config)
	if len(f) != 1 || !covers(s.prefix+">", f[0]) || info.Name == s.cfg.Consumer {
		return false
	}
	l := s.laneOf(strings.Replace(f[0], "*.>", "x.x", 1))
	return l != nil && l.name == info.Name
}

// Restrict implements worker.Source.
func (s *Source) Restrict(most map[string]int) { s.lanes.most = most }

// arrange sees to it that there are lanes while they are wanted, and that it is known which ones.
func (s *Source) arrange(ctx context.Context) error {
	now := time.Now()
	since := now.Sub(s.lanes.looked)
	switch {
	case s.lanes.apart && since >= lookEvery:
		ctx, cancel := context.WithTimeout(ctx, infoWait)
		defer cancel()
		return s.look(ctx)
	case !s.lanes.apart && (len(s.lanes.most) > 0 || s.mend.Load()) && now.Sub(s.lanes.failed) >= partRetry:
		ctx, cancel := context.WithTimeout(ctx, partWait)
		defer cancel()
		what := "a paused object type's backlog will slow down the others"
		if len(s.lanes.most) == 0 {
			what = "events that the consumer has passed over can't be fetched; type 'crmintake check'"
		}
		s.mend.Store(false)
		if err := s.part(ctx); err != nil {
			if s.lanes.failed.IsZero() && !errors.Is(err, context.Canceled) {
				s.cfg.log().Warn(what, "error", s.cfg.explain(err))
			}
			s.lanes.failed = now
			return nil // all is fetched then
		}
		s.lanes.failed = time.Time{}
		return s.look(ctx)
	case !s.lanes.apart && s.lanes.nothing && since >= idleLook:
		ctx, cancel := context.WithTimeout(ctx, fetchWait)
		defer cancel()
		return s.look(ctx)
	}
	return nil
}

// part has the fleet use lanes. Several workers may do so at once.
func (s *Source) part(ctx context.Context) error {
	info, err := s.consumer.Info(ctx)
	if err != nil {
		return err
	}
	if s.cfg.isApart(info.Config) {
		s.lanes.apart = true
		return nil
	}
	stream := s.stream.CachedInfo().Config
	f := filtersOf(info.Config)
	switch {
	case stream.Retention != jetstream.WorkQueuePolicy:
		return fmt.Errorf("%w: the stream %s is no work queue", errLanes, s.cfg.Stream)
	case len(f) != 1 || f[0] != s.cfg.Subject:
		return fmt.Errorf("%w: the consumer %s does not deliver %s", errLanes, s.cfg.Consumer, s.cfg.Subject)
	case stream.MaxConsumers > 0:
		return fmt.Errorf("%w: the stream %s is limited to %d; type '%s'", errLanes, s.cfg.Stream, stream.MaxConsumers,
			s.cfg.withoutMaxConsumers())
	}
	account, err := s.js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	if most := account.Limits.MaxConsumers; most > 0 && most < account.Consumers+2*maxPulls {
		return fmt.Errorf("%w: the account has %d consumers of %d", errLanes, account.Consumers, most)
	}
	if err := s.mayHaveLanes(ctx); err != nil {
		return err
	}
	if err := s.filter(ctx, info.Config, s.cfg.apartFilter()); err != nil {
		return err
	}
	s.lanes.apart = true
	return nil
}

// mayHaveLanes finds out whether we have the rights for them, before nothing else delivers anything: requests without
// go unanswered. Now that the shared consumer's filter is in the way, a lane that is to be made is refused.
func (s *Source) mayHaveLanes(ctx context.Context) error {
	probe := s.laneOf(s.prefix + "x.x")
	if _, err := s.js.CreateConsumer(ctx, s.cfg.Stream, s.configOf(probe)); notUnique(err) != nil {
		return fmt.Errorf("create a consumer of stream %s: %w", s.cfg.Stream, err)
	}
	if err := s.remove(ctx, probe.name); err != nil {
		return err
	}
	_, err := s.consumers(ctx)
	return err
}

// filter gives the shared consumer another filter.
func (s *Source) filter(ctx context.Context, c jetstream.ConsumerConfig, subject string) error {
	c.FilterSubject, c.FilterSubjects = subject, nil
	_, err := s.js.UpdateConsumer(ctx, s.cfg.Stream, c)
	return err
}

// look learns whether there are lanes, and what the stream has for them.
func (s *Source) look(ctx context.Context) error {
	now := time.Now()
	info, err := s.consumer.Info(ctx)
	if err != nil {
		s.lanes.looked = now // the next try is not sooner for that
		return s.cfg.explain(err)
	}
	state, err := s.state(ctx)
	s.lanes.looked = now
	if err != nil {
		return err
	}
	s.lanes.halted = info.Paused
	if s.lanes.apart = s.cfg.isApart(info.Config); !s.lanes.apart {
		return s.lookWhole(ctx, info, state)
	}
	for subject := range state.Subjects {
		l := s.laneOf(subject)
		if l == nil {
			continue
		}
		if known := s.lanes.of[l.name]; known != nil {
			l = known
		} else if len(s.lanes.list) < maxLanes {
			s.lanes.of[l.name] = l
			s.lanes.list = append(s.lanes.list, l)
		}
		if now.Sub(l.seen) > laneRecent {
			l.dry = false
		}
		l.seen = now
	}
	if state.Msgs == 0 && len(s.lanes.most) == 0 {
		return s.join(ctx)
	}
	return s.tidy(ctx, now)
}

// lookWhole finds messages that the shared consumer has passed over, which it will never deliver: lanes do.
func (s *Source) lookWhole(ctx context.Context, info *jetstream.ConsumerInfo, state jetstream.StreamState) error {
	s.lanes.list, s.lanes.of = nil, map[string]*lane{}
	was, f := s.lanes.stuck, filtersOf(info.Config)
	s.lanes.stuck = 0
	if len(state.Subjects) > 0 && info.NumPending == 0 && info.NumAckPending == 0 && len(f) == 1 && f[0] == s.cfg.Subject &&
		s.stream.CachedInfo().Config.Retention == jetstream.WorkQueuePolicy {
		s.lanes.stuck = state.FirstSeq
	}
	if was != 0 && was == s.lanes.stuck {
		return s.part(ctx)
	}
	return nil
}

// join has the fleet use the shared consumer again, while the stream is empty. What is published meanwhile may have
// been passed over by it, if anybody asks it in that moment, as a worker of an older version does: then there are lanes
// again.
func (s *Source) join(ctx context.Context) error {
	consumers, err := s.consumers(ctx)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if s.isLane(c) {
			if err := s.remove(ctx, c.Name); err != nil {
				return err
			}
		}
	}
	for _, l := range s.lanes.list {
		l.made = l.name == s.cfg.Consumer
	}
	info, err := s.consumer.Info(ctx)
	if err != nil {
		return s.cfg.explain(err)
	}
	if err := s.filter(ctx, info.Config, s.cfg.Subject); err != nil {
		return notUnique(err) // another worker has made a lane: the stream is not empty any more
	}
	s.lanes.apart = false
	if info, err = s.consumer.Info(ctx); err != nil {
		return s.cfg.explain(err)
	}
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	if state.Msgs > 0 && state.FirstSeq <= info.Delivered.Stream {
		return s.part(ctx)
	}
	return nil
}

// notUnique drops the error that says that filters overlap: things have changed, and the next look finds out.
func notUnique(err error) error {
	var api *jetstream.APIError
	const overlap, unfiltered = 10100, 10099
	if errors.As(err, &api) && (api.ErrorCode == overlap || api.ErrorCode == unfiltered) {
		return nil
	}
	return err
}

// tidy removes lanes of which the stream has had nothing for long. What comes after all makes the lane anew.
func (s *Source) tidy(ctx context.Context, now time.Time) error {
	if now.Sub(s.lanes.tidied) < min(laneTidy, s.lanes.idle) {
		return nil
	}
	s.lanes.tidied = now
	var kept []*lane
	for _, l := range s.lanes.list {
		if now.Sub(l.seen) < s.lanes.idle {
			kept = append(kept, l)
			continue
		}
		if l.made && l.name != s.cfg.Consumer {
			if err := s.remove(ctx, l.name); err != nil {
				return err
			}
		}
		delete(s.lanes.of, l.name)
	}
	s.lanes.list = kept
	return nil
}

// remove deletes a lane. Others may have been faster.
func (s *Source) remove(ctx context.Context, name string) error {
	if err := s.js.DeleteConsumer(ctx, s.cfg.Stream, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove the consumer %s of stream %s: %w", name, s.cfg.Stream, err)
	}
	return nil
}

// configOf is all that the shared consumer has but the filter, and what would strand events.
func (s *Source) configOf(l *lane) jetstream.ConsumerConfig {
	c := s.consumer.CachedInfo().Config
	c.Name, c.Durable, c.FilterSubject, c.FilterSubjects, c.Metadata = l.name, l.name, l.filter, nil, nil
	c.DeliverPolicy, c.OptStartSeq, c.OptStartTime, c.PauseUntil = jetstream.DeliverAllPolicy, 0, nil, nil
	c.MaxDeliver = -1 // whatever somebody has made of the shared one's
	return c
}

// make creates a lane. Several workers may do so at once. It reports false without
// an error when there are no lanes any more.
func (s *Source) make(ctx context.Context, l *lane) (ok bool, err error) {
	if l.made {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	_, err = s.js.CreateConsumer(ctx, s.cfg.Stream, s.configOf(l))
	if err == nil || errors.Is(err, jetstream.ErrConsumerExists) { // with what the shared one had before
		l.made = true
		return true, nil
	}
	if notUnique(err) == nil {
		info, infoErr := s.consumer.Info(ctx)
		if infoErr != nil {
			return false, s.cfg.explain(infoErr)
		}
		if !s.cfg.isApart(info.Config) {
			s.lanes.looked = time.Time{}
			return false, nil
		}
	}
	l.until = time.Now().Add(laneRetry)
	return false, fmt.Errorf("create the consumer %s of stream %s: %w", l.name, s.cfg.Stream, err)
}
