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
	strandedLooks = 3 // that must agree
	// strandedLag is how long a stream and its consumers, on whichever servers, may take to follow each other.
	strandedLag = 500 * time.Millisecond
	// maxSubjects: of a stream with more of them, only those of events are asked for.
	maxSubjects = 10_000
)

// stranded counts, at least, the messages that nobody will be given.
type stranded struct {
	first   uint64   // of the stream's messages
	passed  int      // messages that our consumers have passed over
	by      []string // these consumers
	foreign int      // messages under subjects that the stream does not take and no consumer delivers
	subject string   // of a foreign one
}

func (s stranded) total() int { return s.passed + s.foreign }

// confirmStranded counts only what several looks agree on. A consumer never goes back: it has passed over what its
// filter left out, and what was delivered as often as its max_deliver allowed, and says then that nothing is pending.
// What is published, delivered or acked meanwhile is never counted.
func (v *view) confirmStranded(ctx context.Context) (found stranded, err error) {
	for i := range strandedLooks {
		lag := strandedLag
		if i == 0 {
			lag = 0 // mostly nothing is, and that is all
		}
		now, err := v.lookForStranded(ctx, lag)
		switch {
		case err != nil:
			return stranded{}, v.cfg.explain(err)
		case now.total() <= 0, i > 0 && now.first != found.first: // what was seen was on its way out
			return stranded{}, nil
		case i > 0:
			now.passed, now.foreign = min(now.passed, found.passed), min(now.foreign, found.foreign)
		}
		found = now
	}
	if found.total() <= 0 {
		return stranded{}, nil
	}
	return found, nil
}

// lookForStranded compares the stream with its consumers. They can't be asked at one moment, and follow each other with
// a lag: all that was published from the first question to the last is taken off, and what is acked before the last one
// is gone from the stream by then.
func (v *view) lookForStranded(ctx context.Context, lag time.Duration) (found stranded, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.waits.info)
	defer cancel()
	before, err := v.stream.Info(ctx)
	if err != nil {
		return found, err
	}
	sleep(ctx, lag)
	shared, err := v.shared.Info(ctx)
	if err != nil {
		return found, err
	}
	if before.Config.Retention == jetstream.LimitsPolicy || before.Config.Retention == jetstream.InterestPolicy &&
		before.State.Consumers > 1 {
		// What is acked stays in the stream. Only a consumer that waits for no ack, and yet has not had all acks, has
		// given up on something.
		if shared.NumAckPending == 0 && shared.NumRedelivered > 0 && shared.AckFloor.Stream < shared.Delivered.Stream {
			found = stranded{first: shared.AckFloor.Stream, passed: shared.NumRedelivered, by: []string{shared.Name}}
		}
		return found, nil
	}
	consumers := []*jetstream.ConsumerInfo{shared}
	if before.State.Consumers > 1 {
		if consumers, err = v.consumers(ctx); err != nil {
			return found, err
		}
	}
	sleep(ctx, lag)
	filter := ">"
	if before.State.NumSubjects > maxSubjects {
		filter = v.prefix + ">"
	}
	after, err := v.stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return found, err
	}
	return v.compareStranded(after, consumers, int(after.State.LastSeq-before.State.LastSeq)), nil
}

// compareStranded takes what the consumers have pending and unacked off what the stream has for them, and then what was
// published meanwhile.
func (v *view) compareStranded(stream *jetstream.StreamInfo, consumers []*jetstream.ConsumerInfo,
	published int) stranded {
	found := stranded{first: stream.State.FirstSeq}
	split := slices.ContainsFunc(consumers, func(c *jetstream.ConsumerInfo) bool {
		return c.Name == v.cfg.Consumer && v.cfg.isSplit(c.Config)
	})
	stored := make([]int, len(consumers)) // what the stream has for each
	for subject, n := range stream.State.Subjects {
		i := slices.IndexFunc(consumers, func(c *jetstream.ConsumerInfo) bool {
			f := filtersOf(c.Config)
			return len(f) == 0 || coveredByAny(f, subject)
		})
		ours := strings.HasPrefix(subject, v.prefix)
		switch {
		case i >= 0:
			stored[i] += int(n)
		case ours && !split: // else there will be a lane
			found.passed += int(n)
			found.by = []string{v.cfg.Consumer}
		case !ours && !coveredByAny(stream.Config.Subjects, subject):
			found.foreign += int(n)
			found.subject = subject
		}
	}
	for i, c := range consumers {
		if c.Name != v.cfg.Consumer && !v.cfg.isLane(c) {
			continue
		}
		if more := stored[i] - int(c.NumPending) - c.NumAckPending; more > 0 {
			found.passed += more
			found.by = append(found.by, c.Name)
		}
	}
	found.passed, published = max(0, found.passed-published), max(0, published-found.passed)
	found.foreign = max(0, found.foreign-published)
	return found
}

// adviseStranded is what is so, and what to type.
func (v *view) adviseStranded(found stranded) string {
	var parts []string
	stream := v.stream.CachedInfo().Config
	if found.passed > 0 {
		again := v.cfg.recreateConsumer(stream.Retention, v.shared.CachedInfo().Config.AckWait)
		slices.Sort(found.by)
		if found.by = slices.Compact(found.by); !slices.Contains(found.by, v.cfg.Consumer) {
			var rm []string // lanes are made anew by workers
			for _, name := range found.by {
				rm = append(rm, "'"+v.cfg.nats("consumer rm", quoted(v.cfg.Stream), quoted(name), "--force")+"'")
			}
			again = "type " + strings.Join(rm, " and ")
		}
		parts = append(parts, fmt.Sprintf("%d events of the stream %s are delivered to nobody any more: the consumer "+
			"%s has passed over them (max_deliver, or another filter); %s", found.passed, v.cfg.Stream,
			strings.Join(found.by, ", "), again))
	}
	if found.foreign > 0 {
		alike := found.subject[:strings.LastIndexByte(found.subject, '.')+1] + ">"
		parts = append(parts, fmt.Sprintf("%d messages of the stream %s are delivered to nobody: no consumer takes "+
			"their subjects, such as %s; %s", found.foreign, v.cfg.Stream, found.subject,
			v.cfg.readInstead(stream, alike, "", "")))
	}
	return strings.Join(parts, "; ")
}
