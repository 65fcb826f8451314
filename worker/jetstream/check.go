package jetstream

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

// checkStream finds what is odd about a stream. Any retention will do.
func checkStream(cfg Config, s jetstream.StreamConfig) (f findings) {
	f = checkSubjects(cfg, s)
	if s.NoAck {
		f.fatalf("the stream %s confirms nothing: what it refuses or loses is missed by nobody; type '%s'", s.Name,
			cfg.editStream("--ack"))
	}
	if s.Storage == jetstream.MemoryStorage {
		f.warnf("the stream %s is in memory: a restart of the server loses the events in it; %s", s.Name,
			cfg.recreateStream())
	}
	if s.PersistMode == jetstream.AsyncPersistMode {
		f.warnf("the stream %s confirms events before they are written (persist_mode async): a server that dies loses "+
			"them; %s",
			s.Name, cfg.recreateStream())
	}
	checkLimits(cfg, s, &f)
	if s.Duplicates > DuplicateWindow {
		f.warnf("the stream %s drops an event whose id it had within %v, whatever is in it; the outbox tells "+
			"repeats from other events; type '%s'",
			s.Name, s.Duplicates, cfg.editStream(fmt.Sprintf("--dupe-window=%v", DuplicateWindow)))
	}
	checkHeaders(cfg, s, &f)
	if l := s.ConsumerLimits; l.InactiveThreshold > 0 {
		f.warnf("the stream %s removes consumers, and with them what was acked, when no worker has run for %v; type "+
			"'%s'",
			s.Name, l.InactiveThreshold, cfg.withoutLimit("inactive_threshold"))
	}
	if most := s.ConsumerLimits.MaxAckPending; most > 0 && most < fewAckPending {
		f.warnf("the stream %s lets a consumer have at most %d events in hand, over all workers, and those put off "+
			"count; type '%s'",
			s.Name, most, cfg.withoutLimit("max_ack_pending"))
	}
	if s.MaxConsumers > 0 && s.Retention == jetstream.WorkQueuePolicy {
		f.warnf("the stream %s is limited to %d consumers, so that a paused object type's events slow down the "+
			"others; type '%s'", s.Name,
			s.MaxConsumers, cfg.withoutMaxConsumers())
	}
	return f
}

// withoutMaxConsumers lifts it: natscli takes -1 for "as it is".
func (c Config) withoutMaxConsumers() string { return c.editStream("--max-consumers=0") }

// withoutLimit removes one of a stream's limits for its consumers, for which natscli has no flag.
func (c Config) withoutLimit(name string) string {
	return `EDITOR="sed -i.before /` + name + `:/d" ` + c.nats("stream edit", quoted(c.Stream), "--interactive",
		"--force")
}

// checkLimits looks at what a stream drops, taken or not.
func checkLimits(cfg Config, s jetstream.StreamConfig, f *findings) {
	for _, l := range []struct {
		most       int64
		what, flag string
	}{{s.MaxMsgs, "messages", "--max-msgs=-1"}, {s.MaxBytes, "bytes", "--max-bytes=-1"}} {
		if l.most > 0 && s.Discard == jetstream.DiscardOld {
			f.warnf("the stream %s drops its oldest events, taken or not, beyond %d %s; %s", s.Name, l.most, l.what,
				cfg.refuse(s, l.flag, "--discard=new"))
		}
	}
	if s.MaxMsgsPerSubject > 0 && !(s.Discard == jetstream.DiscardNew && s.DiscardNewPerSubject) {
		f.warnf("the stream %s drops the oldest events of a subject, taken or not, beyond %d messages; %s", s.Name,
			s.MaxMsgsPerSubject, cfg.refuse(s, "--max-msgs-per-subject=-1", "--discard=new", "--discard-per-subject"))
	}
	if s.MaxAge > 0 {
		f.warnf("the stream %s drops events, taken or not, after %v; type '%s'", s.Name, s.MaxAge,
			cfg.editStream("--max-age=0s"))
	}
}

// refuse has a full stream refuse what is new. One with schedules can't: its limit goes.
func (c Config) refuse(s jetstream.StreamConfig, lift string, flags ...string) string {
	if s.AllowMsgSchedules {
		return "type '" + c.editStream(lift) + "'"
	}
	return "type '" + c.editStream(flags...) + "', and the publisher is told instead"
}

// checkHeaders looks at what a publisher's headers may do to the events of others.
func checkHeaders(cfg Config, s jetstream.StreamConfig, f *findings) {
	switch {
	case s.SubjectDeleteMarkerTTL > 0:
		f.warnf("the stream %s puts a marker where its last event of a subject was dropped; type '%s'", s.Name,
			cfg.editStream("--subject-del-markers-ttl=0s", "--no-allow-rollup"))
	case s.AllowRollup && !s.AllowMsgSchedules: // which bring it with them
		f.warnf("the stream %s lets a publisher replace the events of a subject, taken or not (Nats-Rollup); type "+
			"'%s'", s.Name,
			cfg.editStream("--no-allow-rollup"))
	}
	if s.AllowMsgTTL {
		f.warnf("the stream %s lets a publisher say when an event is dropped, taken or not (Nats-TTL); if one does, "+
			"%s", s.Name, cfg.recreateStream())
	}
	inner := func(subject string) bool { return covers(cfg.Subject, subject) }
	if s.AllowMsgSchedules && !slices.ContainsFunc(s.Subjects, func(subject string) bool { return !inner(subject) }) {
		aside := strings.TrimSuffix(cfg.Prefix(), ".") + "-schedules.>"
		f.warnf("the stream %s takes schedules (Nats-Schedule), which are no events, among the events only: they are "+
			"left there, and run --drain waits for them; type '%s', and publish them there", s.Name,
			cfg.editStream("--subjects="+quoted(strings.Join(append(slices.Clone(s.Subjects), aside), ","))))
	}
}

// checkConsumer finds what is odd about a consumer of the stream.
func checkConsumer(cfg Config, info *jetstream.ConsumerInfo, s jetstream.StreamConfig) (f findings) {
	c := info.Config
	name := "the consumer " + info.Name + " of stream " + s.Name
	again := cfg.recreateConsumer(s.Retention, c.AckWait)

	if c.AckPolicy != jetstream.AckExplicitPolicy {
		f.fatalf("%s has ack policy %q; crmintake needs explicit acks: %s", name, c.AckPolicy, again)
	}
	if c.PriorityPolicy != jetstream.PriorityPolicyNone {
		f.fatalf("%s has priority groups, which crmintake does not ask for; %s", name, again)
	}
	if c.HeadersOnly {
		f.fatalf("%s delivers headers only, and so no events; type '%s'", name, cfg.editConsumer("--no-headers-only"))
	}
	f = append(f, checkFilter(cfg, info, s)...)
	if c.MaxDeliver > 0 {
		// A higher number, or none, brings back nothing that was delivered so often.
		f.fatalf("%s delivers an event %d times at most: what is not taken by then is delivered to nobody, whatever "+
			"the number is later; %s",
			name, c.MaxDeliver, again)
	}
	if c.MaxAckPending > 0 && c.MaxAckPending < fewAckPending {
		// natscli takes -1 for "as it is".
		f.warnf("%s has at most %d events in hand, over all workers, and those put off count; type '%s'", name,
			c.MaxAckPending,
			cfg.editConsumer("--max-pending=1000000"))
	}
	if shortest := shortestWait(c); len(c.BackOff) > 0 && shortest < worker.DefaultCallTimeout {
		f.warnf("%s gives an event to another worker after %v (backoff), while the first may have it in a call; type "+
			"'%s'", name, shortest,
			cfg.editConsumer("--backoff=none", "--wait="+defaultAckWait.String()))
	}
	if c.MemoryStorage {
		f.warnf("%s is in memory: a restart of the server forgets what was acked and put off; %s", name, again)
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
		f.warnf("%s is paused for %v yet; type '%s'", name, info.PauseRemaining.Round(time.Second),
			cfg.nats("consumer resume", quoted(s.Name), quoted(info.Name), "--force"))
	}
	return f
}

// fewAckPending: with fewer events in hand a single worker can't have a few full batches of each object type ready.
// The server's default of 1,000 is among them.
const fewAckPending = 10_000

// shortestWait is how long a message may be in hand before it is delivered again.
func shortestWait(c jetstream.ConsumerConfig) time.Duration {
	return slices.Min(append([]time.Duration{c.AckWait}, c.BackOff...))
}
