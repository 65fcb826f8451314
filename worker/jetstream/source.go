package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

// fetchWait is how long one pull request lives: short enough for a stop not to wait, long enough to cost an idle worker nothing.
const fetchWait = time.Second

// Config tells where the events are.
type Config struct {
	Stream   string // default CRM_EVENTS
	Subject  string // the filter, default crm.create.>; the object type is the token in the place of its wildcard
	Consumer string // the durable's name, default crmintake
}

func (c Config) withDefaults() Config {
	if c.Stream == "" {
		c.Stream = "CRM_EVENTS"
	}
	if c.Subject == "" {
		c.Subject = "crm.create.>"
	}
	if c.Consumer == "" {
		c.Consumer = "crmintake"
	}
	return c
}

// prefix is what a subject has before the object type.
func (c Config) prefix() string { return strings.TrimRight(c.Subject, "*>") }

// Validate reports a subject whose last token is no wildcard: nothing would tell the object type.
func (c Config) Validate() error {
	c = c.withDefaults()
	if p := c.prefix(); len(c.Subject)-len(p) != 1 || !strings.HasSuffix(p, ".") || strings.ContainsAny(p, "*> \t") {
		return fmt.Errorf("subject %q: it must end in one wildcard, as crm.create.> does; the object type stands there", c.Subject)
	}
	return nil
}

// Source pulls from a durable consumer. Open makes one.
type Source struct {
	cfg      Config
	consumer jetstream.Consumer
	js       jetstream.JetStream
	now      func() time.Time
}

var _ worker.Source = (*Source)(nil)

// Open finds stream and consumer, and fails with what to type when one is missing. The connection stays the caller's.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	consumer, err := js.Consumer(ctx, cfg.Stream, cfg.Consumer)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("the stream %s does not exist on this NATS server; type 'crmintake init' to create it", cfg.Stream)
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("the stream %s has no consumer %s; type 'crmintake init' to create it", cfg.Stream, cfg.Consumer)
	case err != nil:
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	if p := consumer.CachedInfo().Config.AckPolicy; p != jetstream.AckExplicitPolicy {
		return nil, fmt.Errorf("the consumer %s has ack policy %s; crmintake needs explicit acks", cfg.Consumer, p)
	}
	return &Source{cfg: cfg, consumer: consumer, js: js, now: time.Now}, nil
}

// AckWait is the consumer's: how long a message may be in hand before it is delivered again.
func (s *Source) AckWait() time.Duration { return s.consumer.CachedInfo().Config.AckWait }

// Fetch implements worker.Source.
func (s *Source) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The request is not tied to ctx: what the server has sent on a request that was given up would come again only after
	// the ack wait. It ends by itself within fetchWait.
	batch, err := s.consumer.Fetch(max, jetstream.FetchMaxBytes(maxBytes), jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	for m := range batch.Messages() {
		deliver(s.event(m))
	}
	return ignorable(batch.Error())
}

// ignorable drops what only says that nothing came.
func ignorable(err error) error {
	if err == nil || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		return nil
	}
	return fmt.Errorf("jetstream: %w", err)
}

// Outstanding implements worker.Source.
func (s *Source) Outstanding(ctx context.Context) (pending, unacked int, err error) {
	info, err := s.consumer.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("jetstream: %w", err)
	}
	return int(info.NumPending), info.NumAckPending, nil
}

func (s *Source) event(m jetstream.Msg) *worker.Event {
	e := &worker.Event{Subject: m.Subject(), Payload: m.Data(), ReceivedAt: s.now(), Message: message{m}}
	meta, err := m.Metadata()
	if err != nil { // not from a consumer: can't happen on a pull
		e.Invalid = fmt.Sprintf("the message has no JetStream metadata: %v", err)
		return e
	}
	e.Stream, e.StreamSeq = meta.Stream, meta.Sequence.Stream
	header := m.Headers()
	e.ID, e.Invalid = worker.EventID(header.Get, e.Stream, e.StreamSeq)
	objectType, invalid := worker.ObjectTypeOf(e.Subject, s.cfg.prefix())
	e.ObjectType = objectType
	if e.Invalid == "" {
		e.Invalid = invalid
	}
	return e
}

type message struct{ m jetstream.Msg }

func (m message) Ack() error                    { return m.m.Ack() }
func (m message) Nak(delay time.Duration) error { return m.m.NakWithDelay(delay) }
func (m message) InProgress() error             { return m.m.InProgress() }
