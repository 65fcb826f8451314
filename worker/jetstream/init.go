package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// InitConfig is what Init creates.
type InitConfig struct {
	Config
	Replicas int           // of the stream, in a cluster; default 1
	AckWait  time.Duration // of the consumer: how long an event may be in hand unacked; default 60 s
}

const defaultAckWait = time.Minute

// Validate reports what Init can't create.
func (c InitConfig) Validate() error {
	if c.Replicas < 0 || c.Replicas > 5 {
		return fmt.Errorf("replicas %d: NATS takes 1 to 5", c.Replicas)
	}
	if c.AckWait < 0 || c.AckWait > 0 && c.AckWait < time.Second {
		return fmt.Errorf("ack wait %v: less than a second, events would come again while they are being worked on",
			c.AckWait)
	}
	return c.Config.Validate()
}

// DuplicateWindow is for how long the stream that Init creates drops messages whose id it had, whatever is in them: as
// long as a publisher needs that is connected again and sends what was not confirmed. Whoever repeats an event later
// finds the outbox, which compares.
const DuplicateWindow = 2 * time.Second

// InitReport is what Init found and did. A part without a name is neither made nor known to be there.
type InitReport struct {
	Stream, Consumer Part
}

// Part is a stream or a consumer. One that was created has neither faults nor notes.
type Part struct {
	Name    string   `json:"name"`
	Created bool     `json:"created"`
	Faults  []string `json:"faults,omitempty"` // why crmintake can't work with it, a sentence each, with what to type
	Notes   []string `json:"notes,omitempty"`  // what else differs from what Init creates, and whether that matters
}

// add takes the findings in. Its error is of the faults.
func (p *Part) add(found findings) error {
	for _, one := range found {
		if one.fatal {
			p.Faults = append(p.Faults, one.text)
		} else {
			p.Notes = append(p.Notes, one.text)
		}
	}
	return found.err()
}

// Init creates what is missing of stream and consumer. It never deletes nor alters: of what is there it reports what
// differs, and returns an error, with the report complete, if crmintake can't work with that. Two at once do no harm.
//
// The stream is on file and is a work queue: an event leaves it when it is acked, which is when the outbox has it. A
// full stream refuses new events rather than dropping old ones. The consumer delivers as often as it takes, since the
// row in the outbox decides when to give up and a count of deliveries would lose events silently. It has no limit of
// events in hand: each worker bounds its own by bytes, and events put off count too, so a limit could starve all
// workers.
func Init(ctx context.Context, nc *nats.Conn, cfg InitConfig) (InitReport, error) {
	if err := cfg.Validate(); err != nil {
		return InitReport{}, err
	}
	cfg.Config = cfg.withDefaults()
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = defaultAckWait
	}
	var report InitReport
	js, err := cfg.jetStream(nc)
	if err != nil {
		return report, err
	}
	stream, streamErr := cfg.initStream(ctx, js, &report.Stream)
	if stream == nil {
		return report, streamErr
	}
	// With a fault of the stream too: all that is to be mended is said at once.
	return report, errors.Join(streamErr, cfg.initConsumer(ctx, stream, &report.Consumer))
}

// initStream returns nil only without a stream.
func (c InitConfig) initStream(ctx context.Context, js jetstream.JetStream, part *Part) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, c.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := c.whichDomain(ctx, js); err != nil {
			return nil, err
		}
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        c.Stream,
			Description: "Record-creation events for crmintake",
			Subjects:    []string{c.Subject},
			Retention:   jetstream.WorkQueuePolicy,
			Storage:     jetstream.FileStorage,
			Discard:     jetstream.DiscardNew,
			Replicas:    c.Replicas,
			Duplicates:  DuplicateWindow,
		})
		part.Created = err == nil
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another was faster
			stream, err = js.Stream(ctx, c.Stream)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create the stream %s for %s: %w", c.Stream, c.Subject, c.explain(err))
	}
	part.Name = c.Stream
	if part.Created {
		return stream, nil
	}
	have := stream.CachedInfo().Config
	found := checkStream(c.Config, have)
	switch have.Retention {
	case jetstream.LimitsPolicy:
		found.warnf("the stream %s keeps events until its limits, also when they are taken; this works, and costs "+
			"space", have.Name)
	case jetstream.InterestPolicy:
		found.warnf("the stream %s keeps events only for the consumers that it has; this works, as long as the "+
			"consumer %s exists", have.Name, c.Consumer)
	}
	if have.Replicas != c.Replicas {
		found.warnf("the stream %s has %d replicas, and not %d; type '%s' to change that",
			have.Name, have.Replicas, c.Replicas, c.editStream(fmt.Sprintf("--replicas=%d", c.Replicas)))
	}
	return stream, part.add(found)
}

// whichDomain refuses to make a stream where a domain was not asked for: at a leaf node the hub may have the stream,
// and two that take the same subjects both store what is published.
func (c InitConfig) whichDomain(ctx context.Context, js jetstream.JetStream) error {
	if c.Domain != "" {
		return nil
	}
	domain := domainOf(ctx, js)
	if domain == "" {
		return nil
	}
	here := c.Config
	here.Domain = domain
	return fmt.Errorf("there is no stream %s in %s, the JetStream domain of this server, and another domain may have "+
		"it: two would both store what is published; if it belongs here type '%s', else name the domain in "+
		"--nats-domain", c.Stream,
		domain, here.command("init"))
}

func (c InitConfig) initConsumer(ctx context.Context, stream jetstream.Stream, part *Part) error {
	consumer, err := stream.Consumer(ctx, c.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		wanted := jetstream.ConsumerConfig{
			Durable:       c.Consumer,
			Description:   "Workers of crmintake",
			FilterSubject: c.Subject,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       c.AckWait,
			MaxDeliver:    -1,
			MaxAckPending: -1,
		}
		consumer, err = stream.CreateConsumer(ctx, wanted)
		if err != nil && notUnique(err) == nil { // it was deleted while object types had consumers of their own
			wanted.FilterSubject = c.splitFilter()
			if again, againErr := stream.CreateConsumer(ctx, wanted); againErr == nil {
				consumer, err = again, nil
			}
		}
		part.Created = err == nil
		if errors.Is(err, jetstream.ErrConsumerExists) { // another was faster, with other settings
			consumer, err = stream.Consumer(ctx, c.Consumer)
		}
	}
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		part.Name = c.Consumer
		err = c.explain(err)
		part.Faults = append(part.Faults, err.Error())
		return err
	}
	if err != nil {
		return fmt.Errorf("create the consumer %s of stream %s: %w", c.Consumer, c.Stream, c.explain(err))
	}
	part.Name = c.Consumer
	if part.Created {
		return nil
	}
	have := consumer.CachedInfo()
	found := checkConsumer(c.Config, have, stream.CachedInfo().Config)
	if have.Config.AckWait != c.AckWait && have.Config.BackOff == nil { // which has the wait of each delivery
		found.warnf("the consumer %s has an ack wait of %v, and not %v; type '%s' to change that",
			have.Name, have.Config.AckWait, c.AckWait, c.editConsumer("--wait="+c.AckWait.String()))
	}
	return part.add(found)
}
