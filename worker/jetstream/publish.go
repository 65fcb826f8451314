package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrTooLarge: a message is larger than the server or the stream takes. It was not sent.
var ErrTooLarge = errors.New("too large for NATS")

const (
	// defaultWindow: at 1 ms to the server and back still four million messages a second, so never what limits.
	defaultWindow = 4096
	windowBytes   = 16 << 20         // of bodies, for a window of large messages would be a memory of its own
	confirmWait   = 10 * time.Second // for one confirmation; a busy disk takes a second
	resendPause   = 500 * time.Millisecond
	reconnectPoll = time.Minute // between looks at a connection that is away
)

// PublisherConfig is where to publish, and how much at once.
type PublisherConfig struct {
	Stream  string // default CRM_EVENTS
	Domain  string // of JetStream; "" for that of the server that we are connected to
	Subject string // what will be published: a subject, or a pattern such as the default crm.create.>
	Window  int    // how many messages may be unconfirmed at a time; default 4,096

	// Dropped is called, by the publisher's goroutine, for each message that the stream dropped for its id, though it
	// is not known to be the one that the stream had under it. Nil: the first of them is the final error.
	Dropped func(line int, id string, why error)
}

// Message is one event to publish.
type Message struct {
	Subject string
	// ID is sent as Nats-Msg-Id, by which the stream and the outbox know a message that comes twice; "" for none.
	ID   string
	Data []byte // not to be changed until it is confirmed
	Line int    // where it comes from, counted from 1, for errors and Progress
}

// Progress is how far a Publisher has come. Confirmations count in the order of publishing: everything up to Line is in
// the stream, but for what was dropped.
type Progress struct {
	Confirmed int // messages that are in the stream, duplicates included
	// Duplicates are those of them that were there before, by their id, subject and content; also by a try whose
	// confirmation was lost.
	Duplicates int
	Dropped    int // messages that the stream dropped for their id, and that are not known to be what it had under it
	Line       int // of the last one of them all
}

// Publisher sends events without waiting for each one's confirmation, and yet knows of each whether it is in the
// stream. It is for one goroutine.
//
// A message with an id is sent again for as long as it takes when its confirmation is lost, since the stream drops what
// it has already. One without is sent again only when it certainly was not stored: otherwise that is the caller's to
// decide. While the stream has no leader, nobody hears either of them; they are sent again until it has one, for a
// minute.
//
// A stream drops a message whose id it had within its duplicate window, whatever is in it. So one that is said to be a
// duplicate is compared with what the stream has.
//
// The first error is final: what was sent before the failed message is confirmed, what was sent after it may be.
type Publisher struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	stream     string
	maxBytes   int // of a message with its headers
	window     int
	duplicates time.Duration // the stream's duplicate window
	dropped    func(line int, id string, why error)

	inbox   string             // replies come to inbox.<number of the message>
	sub     *nats.Subscription // on all of them
	replies chan *nats.Msg     // of sub
	changed chan nats.Status   // the connection is lost, or closed for good
	// epoch counts these losses, as far as we have heard of them. A message of an earlier one gets no more replies.
	epoch   uint64
	next    uint64         // number of the next message
	waiting []*unconfirmed // in the order of publishing, and so of their numbers
	bytes   int            // of their bodies

	confirmWait, resendPause time.Duration // the constants, less in tests

	done        Progress
	first, last uint64 // of what done counts: see Places
	err         error  // final

	questions     int  // for the stream, since the last message that was confirmed
	cannotCompare bool // we may not read the stream's messages
}

// unconfirmed is a message that was sent and waits for its confirmation, or for those before it to have theirs.
type unconfirmed struct {
	m     *nats.Msg // with its reply subject
	id    string
	line  int
	tries int
	epoch uint64    // of the publisher, when it was sent last
	due   time.Time // when to send it again
	err   error     // what the server last said against it; nil if it said nothing

	comparing            bool // we have asked for the message that the stream has under the id
	compared             int  // how often
	confirmed, duplicate bool
	seq                  uint64 // in the stream, once confirmed
	dropped              error  // why it is confirmed, and yet not known to be in the stream
}

// OpenPublisher checks that the stream exists and takes the subject; the error says what to type. The connection stays
// the caller's. Close ends the publisher.
func OpenPublisher(ctx context.Context, nc *nats.Conn, cfg PublisherConfig) (*Publisher, error) {
	defaults := Config{Stream: cfg.Stream, Subject: cfg.Subject, Domain: cfg.Domain}.withDefaults()
	if cfg.Window <= 0 {
		cfg.Window = defaultWindow
	}
	js, err := defaults.jetStream(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, defaults.Stream)
	if err != nil {
		shown := defaults
		if !strings.HasSuffix(shown.Subject, ">") { // one object type's, which is no setting of init's
			shown.Subject = ""
		}
		return nil, shown.explainAt(ctx, js, err)
	}
	have := stream.CachedInfo().Config
	if !coveredByAny(have.Subjects, defaults.Subject) {
		return nil, fmt.Errorf("the stream %s does not take %s: its subjects are %q; see --stream and --subject",
			have.Name, defaults.Subject, have.Subjects)
	}
	p := &Publisher{
		nc:          nc,
		js:          js,
		stream:      have.Name,
		maxBytes:    atMost(int(nc.MaxPayload()), int(have.MaxMsgSize)),
		window:      cfg.Window,
		duplicates:  have.Duplicates,
		dropped:     cfg.Dropped,
		confirmWait: confirmWait,
		resendPause: resendPause,
		inbox:       nc.NewInbox() + ".",
		replies:     make(chan *nats.Msg, 2*cfg.Window), // a message sent again may be answered twice
	}
	if p.sub, err = nc.ChanSubscribe(p.inbox+"*", p.replies); err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	p.changed = nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	return p, nil
}

// Close releases what the publisher holds of the connection. Without a Flush before it, what is unconfirmed stays so.
func (p *Publisher) Close() {
	_ = p.sub.Unsubscribe() // fails on a closed connection alone, which has no subscriptions
	p.nc.RemoveStatusListener(p.changed)
}

// Progress is how far the publisher has come.
func (p *Publisher) Progress() Progress { return p.done }

// Places are the stream's numbers of the first and the last message that Progress counts; 0 for none. Others' may lie
// between.
func (p *Publisher) Places() (first, last uint64) { return p.first, p.last }

// Unconfirmed is the number of messages that were sent and that Progress does not count yet.
func (p *Publisher) Unconfirmed() int { return len(p.waiting) }

// Publish sends a message, after waiting for room in the window, and for the connection. An error is either
// ErrTooLarge, which concerns this message alone, or ctx's, after which Publish and Flush may be called again, or
// final; it may be of a message sent earlier, and names its line.
func (p *Publisher) Publish(ctx context.Context, m Message) error {
	msg := &nats.Msg{Subject: m.Subject, Data: m.Data}
	if m.ID != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {m.ID}}
	}
	// Size encodes the headers, so look only when it may matter.
	if len(m.Data)+len(m.ID)+1024 > p.maxBytes {
		if size := msg.Size() - len(m.Subject); size > p.maxBytes {
			return fmt.Errorf("%w: the message has %d bytes with its headers, and the stream takes %d", ErrTooLarge,
				size, p.maxBytes)
		}
	}
	p.readReplies()
	for len(p.waiting) > 0 {
		oldest := p.waiting[0]
		full := len(p.waiting) >= p.window || p.bytes+len(m.Data) > windowBytes
		if !full && !oldest.confirmed && oldest.err == nil {
			break
		}
		if err := p.awaitOldest(ctx); err != nil {
			return err
		}
	}
	if p.err != nil {
		return p.err
	}
	msg.Reply = p.inbox + strconv.FormatUint(p.next, 10)
	u := &unconfirmed{m: msg, id: m.ID, line: m.Line}
	if err := p.send(ctx, u); err != nil {
		return err
	}
	p.next++
	p.waiting = append(p.waiting, u)
	p.bytes += len(m.Data)
	return nil
}

// Flush waits until all that was sent is confirmed.
func (p *Publisher) Flush(ctx context.Context) error {
	for len(p.waiting) > 0 {
		if err := p.awaitOldest(ctx); err != nil {
			return err
		}
	}
	return p.err
}
