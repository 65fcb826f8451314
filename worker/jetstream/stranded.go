package jetstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	strandedLooks = 3 // which must agree before anybody is told
	// strandedLag is how long a stream and its consumers, on whichever servers, may take to follow each other.
	strandedLag = 500 * time.Millisecond
	// mostSubjects bounds what is asked for of a stream with more subjects: those of events only.
	mostSubjects = 10_000
)

// Stranded implements worker.Source. A consumer never goes back: it has passed over what its filter left out, and what
// was delivered as often as its max_deliver allowed, and says then that nothing is pending. What is published,
// delivered or acked meanwhile is never counted.
func (s *Source) Stranded(ctx context.Context) (events int, advice string, err error) {
	var was look
	for i := range strandedLooks {
		lag := strandedLag
		if i == 0 {
			lag = 0 // mostly nothing is, and that is all
		}
		now, err := s.lookForStranded(ctx, lag)
		switch {
		case err != nil:
			return 0, "", s.cfg.explain(err)
		case now.passed+now.foreign <= 0, i > 0 && now.first != was.first: // what was seen was on its way out
			return 0, "", nil
		case i > 0:
			now.passed, now.foreign = min(now.passed, was.passed), min(now.foreign, was.foreign)
		}
		was = now
	}
	events = was.passed + was.foreign
	if events <= 0 {
		return 0, "", nil
	}
	s.mend.Store(was.passed > 0 && s.stream.CachedInfo().Config.Retention == jetstream.WorkQueuePolicy)
	return events, s.adviseStranded(was), nil
}

// look is what is at least stranded at a moment.
type look struct {
	first   uint64 // of the stream's messages
	passed  int    // messages that our consumers have passed over
	foreign int    // messages under subjects that the stream does not take and no consumer delivers
	which   []string
	subject string // of a foreign one
}

// lookForStranded compares the stream with its consumers. They can't be asked at one moment, and follow each other with
// a lag: all that was published from the first question to the last is taken off, and what is acked before the last one
// is gone from the stream by then.
func (s *Source) lookForStranded(ctx context.Context, lag time.Duration) (l look, err error) {
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	before, err := s.stream.Info(ctx)
	if err != nil {
		return l, err
	}
	sleep(ctx, lag)
	shared, err := s.consumer.Info(ctx)
	if err != nil {
		return l, err
	}
	if before.Config.Retention == jetstream.LimitsPolicy || before.Config.Retention == jetstream.InterestPolicy &&
		before.State.Consumers > 1 {
		// What is acked stays in the stream. Only a consumer that waits for no ack, and yet has not had all acks, has
		// given up on something.
		if shared.NumAckPending == 0 && shared.NumRedelivered > 0 && shared.AckFloor.Stream < shared.Delivered.Stream {
			l = look{first: shared.AckFloor.Stream, passed: shared.NumRedelivered, which: []string{shared.Name}}
		}
		return l, nil
	}
	consumers := []*jetstream.ConsumerInfo{shared}
	if before.State.Consumers > 1 {
		if consumers, err = s.consumers(ctx); err != nil {
			return l, err
		}
	}
	sleep(ctx, lag)
	filter := ">"
	if before.State.NumSubjects > mostSubjects {
		filter = s.prefix + ">"
	}
	after, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return l, err
	}
	return s.compare(after, consumers, int(after.State.LastSeq-before.State.LastSeq)), nil
}

func (s *Source) compare(stream *jetstream.StreamInfo, consumers []*jetstream.ConsumerInfo, published int) look {
	l := look{first: stream.State.FirstSeq}
	apart := slices.ContainsFunc(consumers, func(c *jetstream.ConsumerInfo) bool {
		return c.Name == s.cfg.Consumer &&
			s.cfg.isApart(c.Config)
	})
	holds := make([]int, len(consumers)) // what the stream has for each
	for subject, n := range stream.State.Subjects {
		i := slices.IndexFunc(consumers, func(c *jetstream.ConsumerInfo) bool {
			f := filtersOf(c.Config)
			return len(f) == 0 || coveredBy(f, subject)
		})
		ours := strings.HasPrefix(subject, s.prefix)
		switch {
		case i >= 0:
			holds[i] += int(n)
		case ours && !apart: // else there will be a lane
			l.passed += int(n)
			l.which = []string{s.cfg.Consumer}
		case !ours && !coveredBy(stream.Config.Subjects, subject):
			l.foreign += int(n)
			l.subject = subject
		}
	}
	for i, c := range consumers {
		if c.Name != s.cfg.Consumer && !s.isLane(c) {
			continue
		}
		if more := holds[i] - int(c.NumPending) - c.NumAckPending; more > 0 {
			l.passed += more
			l.which = append(l.which, c.Name)
		}
	}
	l.passed, published = max(0, l.passed-published), max(0, published-l.passed)
	l.foreign = max(0, l.foreign-published)
	return l
}

// adviseStranded says what is so, and what to type.
func (s *Source) adviseStranded(l look) string {
	var parts []string
	stream := s.stream.CachedInfo().Config
	if l.passed > 0 {
		again := s.cfg.again(stream.Retention, s.consumer.CachedInfo().Config.AckWait)
		slices.Sort(l.which)
		if l.which = slices.Compact(l.which); !slices.Contains(l.which, s.cfg.Consumer) {
			var rm []string // lanes are made anew by workers
			for _, name := range l.which {
				rm = append(rm, "'"+s.cfg.nats("consumer rm", word(s.cfg.Stream), word(name), "--force")+"'")
			}
			again = "type " + strings.Join(rm, " and ")
		}
		parts = append(parts, fmt.Sprintf("%d events of the stream %s are delivered to nobody any more: the consumer "+
			"%s has passed over them "+
			"(max_deliver, or another filter); %s", l.passed, s.cfg.Stream, strings.Join(l.which, ", "), again))
	}
	if l.foreign > 0 {
		alike := l.subject[:strings.LastIndexByte(l.subject, '.')+1] + ">"
		parts = append(parts, fmt.Sprintf("%d messages of the stream %s are delivered to nobody: no consumer takes "+
			"their subjects, such as %s; %s",
			l.foreign, s.cfg.Stream, l.subject, s.cfg.readInstead(stream, alike, "", "")))
	}
	return strings.Join(parts, "; ")
}
