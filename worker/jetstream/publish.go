package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrTooLarge says that a message is larger than the server or the stream takes. It was not sent.
var ErrTooLarge = errors.New("too large for NATS")

const (
	defaultWindow = 4096             // at 1 ms to the server and back still four million messages a second: never what limits
	windowBytes   = 16 << 20         // of bodies, for a window of large messages would be a memory of its own
	confirmWait   = 10 * time.Second // for one confirmation; a busy disk takes a second
	resends       = 10               // while the server is there and yet doesn't confirm
	resendPause   = 500 * time.Millisecond
)

// PublisherConfig says where to publish.
type PublisherConfig struct {
	Stream  string // default CRM_EVENTS
	Subject string // what will be published: a subject, or a pattern such as the default crm.create.>
	Window  int    // how many messages may be unconfirmed at a time; default 4,096
}

// Message is one event to publish.
type Message struct {
	Subject string
	ID      string // sent as Nats-Msg-Id, by which the stream and the outbox know a message that comes twice; "" for none
	Data    []byte // not to be changed until it is confirmed
	Line    int    // where it comes from, counted from 1, for errors and Progress
}

// Progress is how far a Publisher has come. Confirmations count in the order of publishing: everything up to Line is in the stream.
type Progress struct {
	Confirmed  int // messages that are in the stream, duplicates included
	Duplicates int // those of them that were there before, by their id
	Line       int // of the last one of them
}

// Publisher sends events without waiting for each one's confirmation, and yet knows of each whether it is in the stream. It is for
// one goroutine.
//
// A message with an id is sent again for as long as it takes when its confirmation is lost, since the stream drops what it
// has already. One without is sent again only when it certainly was not stored: otherwise that is the caller's to decide.
//
// The first error is final: what was sent before the failed message is confirmed, what was sent after it may be.
type Publisher struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   string
	maxBytes int // of a message with its headers
	window   int

	waiting []unconfirmed // in the order of publishing
	bytes   int           // of their bodies
	done    Progress
	err     error
}

type unconfirmed struct {
	m      *nats.Msg
	id     string
	line   int
	future jetstream.PubAckFuture
}

// OpenPublisher checks that the stream exists and takes the subject; the error says what to type. The connection stays
// the caller's. Close ends the publisher.
func OpenPublisher(ctx context.Context, nc *nats.Conn, cfg PublisherConfig) (*Publisher, error) {
	defaults := Config{Stream: cfg.Stream, Subject: cfg.Subject}.withDefaults()
	if cfg.Window <= 0 {
		cfg.Window = defaultWindow
	}
	// The window is ours to keep; the library must not have a smaller one.
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(confirmWait), jetstream.WithPublishAsyncMaxPending(cfg.Window+1))
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	stream, err := js.Stream(ctx, defaults.Stream)
	if err != nil {
		return nil, defaults.explain(err)
	}
	have := stream.CachedInfo().Config
	if !coveredBy(have.Subjects, defaults.Subject) {
		return nil, fmt.Errorf("the stream %s does not take %s: its subjects are %q; see --stream and --subject", have.Name, defaults.Subject, have.Subjects)
	}
	return &Publisher{nc: nc, js: js, stream: have.Name, window: cfg.Window, maxBytes: atMost(int(nc.MaxPayload()), int(have.MaxMsgSize))}, nil
}

// Close releases what the publisher holds of the connection. Without a Flush before it, what is unconfirmed stays so.
func (p *Publisher) Close() { p.js.CleanupPublisher() }

// Progress tells how far the publisher has come.
func (p *Publisher) Progress() Progress { return p.done }

// Unconfirmed is the number of messages that were sent and are not known to be in the stream.
func (p *Publisher) Unconfirmed() int { return len(p.waiting) }

// Publish sends a message, after waiting for room in the window, and for the connection. An error is either ErrTooLarge,
// which concerns this message alone, or ctx's, after which Publish and Flush may be called again, or final; it
// may be of a message sent earlier, and names its line.
func (p *Publisher) Publish(ctx context.Context, m Message) error {
	msg := &nats.Msg{Subject: m.Subject, Data: m.Data}
	if m.ID != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {m.ID}}
	}
	// Size encodes the headers, so look only when it may matter.
	if len(m.Data)+len(m.ID)+1024 > p.maxBytes {
		if size := msg.Size() - len(m.Subject); size > p.maxBytes {
			return fmt.Errorf("%w: the message has %d bytes with its headers, and the stream takes %d", ErrTooLarge, size, p.maxBytes)
		}
	}
	for len(p.waiting) > 0 {
		full := len(p.waiting) >= p.window || p.bytes+len(m.Data) > windowBytes
		if !full && !p.settled() {
			break
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	if p.err != nil {
		return p.err
	}
	future, err := p.send(ctx, msg)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return p.fail(unconfirmed{m: msg, id: m.ID, line: m.Line}, err)
	}
	p.waiting = append(p.waiting, unconfirmed{msg, m.ID, m.Line, future})
	p.bytes += len(m.Data)
	return nil
}

// Flush waits until all that was sent is confirmed.
func (p *Publisher) Flush(ctx context.Context) error {
	for len(p.waiting) > 0 {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return p.err
}

// settled tells whether the answer to the oldest message has come.
func (p *Publisher) settled() bool {
	f := p.waiting[0].future
	return len(f.Ok()) > 0 || len(f.Err()) > 0
}

// settle waits for the confirmation of the oldest message, and sends it again if need be and if it is safe.
func (p *Publisher) settle(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	oldest := &p.waiting[0]
	for tries := 1; ; tries++ {
		select {
		case ack := <-oldest.future.Ok():
			p.done.Confirmed++
			p.done.Line = oldest.line
			if ack.Duplicate {
				p.done.Duplicates++
			}
			p.bytes -= len(oldest.m.Data)
			*oldest = unconfirmed{}
			p.waiting = p.waiting[1:]
			return nil
		case err := <-oldest.future.Err():
			lost := errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting)
			if p.nc.IsClosed() || !resendable(err, oldest.id) || tries > resends && !lost {
				return p.fail(*oldest, err)
			}
			if !lost && !errors.Is(err, jetstream.ErrAsyncPublishTimeout) { // refused at once: don't hurry
				select {
				case <-time.After(resendPause):
				case <-ctx.Done():
				}
			}
			future, sendErr := p.send(ctx, oldest.m)
			if sendErr != nil {
				if ctx.Err() != nil {
					oldest.future = failed{oldest.future, err} // for whoever calls again
					return ctx.Err()
				}
				return p.fail(*oldest, sendErr)
			}
			oldest.future = future
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed is a future whose error was taken out of it already.
type failed struct {
	jetstream.PubAckFuture
	err error
}

func (f failed) Err() <-chan error {
	c := make(chan error, 1)
	c <- f.err
	return c
}

// resendable tells whether a message may be sent again after this error without being stored twice.
func resendable(err error, id string) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		return api.Code == 503 // refused, since the server has something else to do now
	case noStream(err):
		return true // nobody heard it
	default:
		return id != ""
	}
}

func noStream(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders)
}

// send waits for the connection, for otherwise the message would wait in the client's buffer while its time runs out.
func (p *Publisher) send(ctx context.Context, m *nats.Msg) (jetstream.PubAckFuture, error) {
	for !waitConnected(ctx, p.nc, time.Minute) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	// The library writes to the message that it is given.
	return p.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
}

// fail makes the final error.
func (p *Publisher) fail(u unconfirmed, err error) error {
	what := "message"
	if u.line > 0 {
		what = fmt.Sprintf("line %d", u.line)
	}
	if u.id != "" {
		what += fmt.Sprintf(" (id %q)", u.id)
	}
	var api *jetstream.APIError
	switch {
	case noStream(err):
		p.err = fmt.Errorf("%s: no stream takes %s: the stream %s has gone or JetStream is off; type 'crmintake init' to create it", what, u.m.Subject, p.stream)
	case errors.As(err, &api):
		p.err = fmt.Errorf("%s: the stream %s refuses it: %w", what, p.stream, err)
	case u.future != nil && !resendable(err, u.id):
		p.err = fmt.Errorf("%s: it was sent and not confirmed, so it may be in the stream or not, and it has no id by which sending it again would be safe: %w", what, err)
	default:
		p.err = fmt.Errorf("%s: %w", what, err)
	}
	return p.err
}
