package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// finding is what is odd about an existing stream or consumer, in a sentence, with what to type about it.
type finding struct {
	fatal bool // events would be lost or misread, or none would come: don't start so
	text  string
}

type findings []finding

func (f *findings) fatalf(format string, args ...any) {
	*f = append(*f, finding{true, fmt.Sprintf(format, args...)})
}

func (f *findings) warnf(format string, args ...any) {
	*f = append(*f, finding{false, fmt.Sprintf(format, args...)})
}

// err joins what is fatal; nil if nothing is.
func (f findings) err() error {
	var errs []error
	for _, one := range f {
		if one.fatal {
			errs = append(errs, errors.New(one.text))
		}
	}
	return errors.Join(errs...)
}

func (f findings) warnings() (texts []string) {
	for _, one := range f {
		if !one.fatal {
			texts = append(texts, one.text)
		}
	}
	return texts
}

// judgeStream says what is odd about a stream. Any retention will do.
func judgeStream(cfg Config, s jetstream.StreamConfig) (f findings) {
	edit := "nats stream edit " + s.Name + " "
	// A mirror or an aggregate of other streams has no subjects of its own, or not only.
	if s.Mirror == nil && len(s.Sources) == 0 && !coveredBy(s.Subjects, cfg.Subject) {
		f.fatalf("the stream %s takes the subjects %s, and not all of %s; type '%s--subjects=%s'", s.Name,
			strings.Join(s.Subjects, ", "), cfg.Subject, edit, strings.Join(append(s.Subjects, cfg.Subject), ","))
	}
	if s.Storage == jetstream.MemoryStorage {
		f.warnf("the stream %s is in memory: a restart of the server loses the events in it. The storage of a stream can't be changed", s.Name)
	}
	limits := map[string]int64{"messages": s.MaxMsgs, "bytes": s.MaxBytes, "messages a subject": s.MaxMsgsPerSubject}
	for _, what := range []string{"messages", "bytes", "messages a subject"} {
		if n := limits[what]; n > 0 && s.Discard == jetstream.DiscardOld {
			f.warnf("the stream %s drops its oldest events, taken or not, beyond %d %s; type '%s--discard=new', and the publisher is told instead",
				s.Name, n, what, edit)
		}
	}
	if s.MaxAge > 0 {
		f.warnf("the stream %s drops events, taken or not, after %v; type '%s--max-age=-1'", s.Name, s.MaxAge, edit)
	}
	return f
}

func coveredBy(patterns []string, subject string) bool {
	for _, p := range patterns {
		if covers(p, subject) {
			return true
		}
	}
	return false
}

// judgeConsumer says what is odd about a consumer of the stream.
func judgeConsumer(cfg Config, info *jetstream.ConsumerInfo, s jetstream.StreamConfig) (f findings) {
	c := info.Config
	name := fmt.Sprintf("the consumer %s of stream %s", info.Name, s.Name)
	edit := fmt.Sprintf("nats consumer edit %s %s ", s.Name, info.Name)
	// Acks and the like can't be changed. To remove a consumer forgets what has been acked: on a stream that keeps acked
	// messages they come again, and the outbox recognises them.
	again := fmt.Sprintf("type 'nats consumer rm %s %s', then 'crmintake init'", s.Name, info.Name)

	if c.AckPolicy != jetstream.AckExplicitPolicy {
		f.fatalf("%s has ack policy %q; crmintake needs explicit acks: %s", name, c.AckPolicy, again)
	}
	if c.PriorityPolicy != jetstream.PriorityPolicyNone {
		f.fatalf("%s has priority groups, which crmintake does not ask for; %s", name, again)
	}
	if c.HeadersOnly {
		f.fatalf("%s delivers headers only, and so no events; type '%s--no-headers-only'", name, edit)
	}
	f = append(f, judgeFilter(cfg, info, s)...)
	if c.MaxDeliver > 0 {
		f.fatalf("%s delivers an event %d times at most: what is not taken by then is lost; type '%s--max-deliver=-1'", name, c.MaxDeliver, edit)
	}
	if c.MaxAckPending > 0 && c.MaxAckPending < fewAckPending {
		f.warnf("%s has at most %d events in hand, over all workers, and those put off count; type '%s--max-pending=-1'", name, c.MaxAckPending, edit)
	}
	if c.InactiveThreshold > 0 {
		f.warnf("%s disappears when no worker has run for %v; %s", name, c.InactiveThreshold, again)
	}
	if c.ReplayPolicy == jetstream.ReplayOriginalPolicy {
		f.warnf("%s delivers the backlog at the speed at which it was published; %s", name, again)
	}
	if c.DeliverPolicy != jetstream.DeliverAllPolicy {
		f.warnf("%s began with deliver policy %q: older events do not come; %s", name, c.DeliverPolicy, again)
	}
	if info.Paused {
		f.warnf("%s is paused for %v yet; type 'nats consumer resume %s %s'", name, info.PauseRemaining.Round(time.Second), s.Name, info.Name)
	}
	return f
}

// fewAckPending: with fewer events in hand a single worker can't have a few full batches of each object type ready.
// The server's default of 1,000 is among them.
const fewAckPending = 10_000

// judgeFilter compares what the consumer delivers with the subject that we are to read.
func judgeFilter(cfg Config, info *jetstream.ConsumerInfo, s jetstream.StreamConfig) (f findings) {
	if cfg.isApart(info.Config) {
		return nil // the object types have consumers of their own now
	}
	filters := info.Config.FilterSubjects
	if one := info.Config.FilterSubject; one != "" {
		filters = []string{one}
	}
	if len(filters) == 0 {
		filters = s.Subjects // all of the stream
	}
	shown := strings.Join(filters, ", ")
	type_ := fmt.Sprintf("type 'nats consumer edit %s %s --filter=%s', or give the subject with --subject", s.Name, info.Name, cfg.Subject)
	for _, one := range filters {
		if !covers(cfg.Subject, one) {
			f.fatalf("the consumer %s of stream %s delivers %s, and not only %s: other messages would be taken for invalid events; %s",
				info.Name, s.Name, shown, cfg.Subject, type_)
			return f
		}
	}
	if len(filters) > 0 && !coveredBy(filters, cfg.Subject) {
		f.warnf("the consumer %s of stream %s delivers %s, and not all of %s: other events wait; %s", info.Name, s.Name, shown, cfg.Subject, type_)
	}
	return f
}
