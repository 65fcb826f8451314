package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
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
	resends       = 10               // while the server is there and yet doesn't confirm; then we give up, or ask for the stream
	questions     = 12               // for the stream, while nobody hears a message: a minute, where an election takes seconds
	resendPause   = 500 * time.Millisecond
	reconnectLook = time.Minute // between looks at a connection that is away
)

// PublisherConfig says where to publish.
type PublisherConfig struct {
	Stream  string // default CRM_EVENTS
	Domain  string // of JetStream; "" for that of the server that we are connected to
	Subject string // what will be published: a subject, or a pattern such as the default crm.create.>
	Window  int    // how many messages may be unconfirmed at a time; default 4,096

	// Dropped is told, by the publisher's goroutine, of each message that the stream dropped for its id, though it is
	// not known to be the one that the stream had under it. Nil: the first of them is the final error.
	Dropped func(line int, id string, why error)
}

// Message is one event to publish.
type Message struct {
	Subject string
	ID      string // sent as Nats-Msg-Id, by which the stream and the outbox know a message that comes twice; "" for none
	Data    []byte // not to be changed until it is confirmed
	Line    int    // where it comes from, counted from 1, for errors and Progress
}

// Progress is how far a Publisher has come. Confirmations count in the order of publishing: everything up to Line is in
// the stream, but for what was dropped.
type Progress struct {
	Confirmed  int // messages that are in the stream, duplicates included
	Duplicates int // those of them that were there before, by their id, subject and content; also by a try whose confirmation was lost
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
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   string
	maxBytes int // of a message with its headers
	window   int
	forgets  time.Duration // the stream's duplicate window
	dropped  func(line int, id string, why error)
	blind    bool // the stream's messages can't be looked at

	inbox   string             // replies come to inbox.<number of the message>
	sub     *nats.Subscription // on all of them
	answers chan *nats.Msg     // of sub
	changed chan nats.Status   // the connection is lost, or closed for good
	epoch   uint64             // how often it was, as far as we have heard; a message of an earlier one gets no more answers
	next    uint64             // number of the next message
	waiting []*unconfirmed     // in the order of publishing, and so of their numbers
	bytes   int                // of their bodies

	confirmWait, resendPause time.Duration // the constants, less in tests

	done        Progress
	first, last uint64 // of what done counts: see Places
	err         error  // final

	asked int // how often for the stream, since the last message that was confirmed
}

// unconfirmed is a message that was sent and waits for its confirmation, or for those before it to have theirs.
type unconfirmed struct {
	m     *nats.Msg // with its reply subject
	id    string
	line  int
	tries int
	epoch uint64    // of the publisher, when it was sent last: an older one gets no more answers
	due   time.Time // when to send it again
	err   error     // what the server last said against it; nil if it said nothing

	asked                bool // the stream for the message that it has under the id
	looks                int  // how often it was asked
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
		told := defaults
		if !strings.HasSuffix(told.Subject, ">") { // one object type's, which is no setting of init's
			told.Subject = ""
		}
		return nil, told.explainAt(ctx, js, err)
	}
	have := stream.CachedInfo().Config
	if !coveredBy(have.Subjects, defaults.Subject) {
		return nil, fmt.Errorf("the stream %s does not take %s: its subjects are %q; see --stream and --subject", have.Name, defaults.Subject, have.Subjects)
	}
	p := &Publisher{
		nc:          nc,
		js:          js,
		stream:      have.Name,
		maxBytes:    atMost(int(nc.MaxPayload()), int(have.MaxMsgSize)),
		window:      cfg.Window,
		forgets:     have.Duplicates,
		dropped:     cfg.Dropped,
		confirmWait: confirmWait,
		resendPause: resendPause,
		inbox:       nc.NewInbox() + ".",
		answers:     make(chan *nats.Msg, 2*cfg.Window), // a message sent again may be answered twice
	}
	if p.sub, err = nc.ChanSubscribe(p.inbox+"*", p.answers); err != nil {
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

// Progress tells how far the publisher has come.
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
			return fmt.Errorf("%w: the message has %d bytes with its headers, and the stream takes %d", ErrTooLarge, size, p.maxBytes)
		}
	}
	p.listen()
	for len(p.waiting) > 0 {
		oldest := p.waiting[0]
		full := len(p.waiting) >= p.window || p.bytes+len(m.Data) > windowBytes
		if !full && !oldest.confirmed && oldest.err == nil {
			break
		}
		if err := p.settle(ctx); err != nil {
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
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return p.err
}

// settle waits until the oldest message is confirmed, and sends what needs it again.
func (p *Publisher) settle(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	oldest := p.waiting[0]
	for p.listen(); !oldest.confirmed; p.listen() {
		if oldest.epoch != p.epoch || !time.Now().Before(oldest.due) {
			if err := p.sendAgain(ctx); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(time.Until(oldest.due))
		select {
		case m := <-p.answers:
			p.take(m)
		case <-p.changed:
			p.epoch++
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		timer.Stop()
	}
	p.asked = 0
	if oldest.dropped != nil {
		if oldest.err = oldest.dropped; p.dropped == nil {
			return p.fail(oldest)
		}
		p.done.Dropped++
		p.dropped(oldest.line, oldest.id, oldest.dropped)
	} else {
		p.done.Confirmed++
		p.first, p.last = min(cmp.Or(p.first, oldest.seq), oldest.seq), max(p.last, oldest.seq)
	}
	p.done.Line = oldest.line
	if oldest.duplicate {
		p.done.Duplicates++
	}
	p.bytes -= len(oldest.m.Data)
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	return nil
}

// listen takes in what has happened until now.
func (p *Publisher) listen() {
	for {
		select {
		case m := <-p.answers:
			p.take(m)
		case <-p.changed:
			p.epoch++
		default:
			return
		}
	}
}

// take notes an answer with the message that it is for.
func (p *Publisher) take(m *nats.Msg) {
	token, looked := strings.CutPrefix(strings.TrimPrefix(m.Subject, p.inbox), lookToken)
	number, err := strconv.ParseUint(token, 10, 64)
	first := p.next - uint64(len(p.waiting))
	if err != nil || number < first || number >= p.next { // of a message that was confirmed long ago
		return
	}
	u := p.waiting[number-first]
	if u.confirmed { // sent twice, and answered twice: the second says only that the first has arrived
		return
	}
	if looked {
		p.compare(u, m)
		return
	}
	var answer struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		u.err = jetstream.ErrNoStreamResponse
	case json.Unmarshal(m.Data, &answer) != nil:
		u.err = jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		u.err = answer.Error
	case answer.Stream != p.stream:
		u.err = fmt.Errorf("it was taken by the stream %q", answer.Stream)
	case answer.Duplicate:
		u.seq = answer.Seq
		p.look(u, number, answer.Seq)
		return
	default:
		u.confirmed, u.seq = true, answer.Seq
		return
	}
	u.due = time.Now() // at once if it is for failing; else sending again waits
	if resendable(u.err, u.id) {
		u.due = u.due.Add(p.resendPause)
	}
}

// sendAgain sends all messages again that are due, or that went out on a connection which is no more, if it is safe. If
// it isn't for the oldest, that is the final error; for others, it will be in their turn.
func (p *Publisher) sendAgain(ctx context.Context) error {
	if !waitConnected(ctx, p.nc, reconnectLook) {
		return ctx.Err() // nil: the caller comes again
	}
	p.listen() // the last words of the connection before
	if err := p.askForStream(ctx); err != nil {
		return err
	}
	for i, u := range p.waiting {
		lost := u.epoch != p.epoch
		if u.confirmed || !lost && time.Now().Before(u.due) {
			continue
		}
		if u.asked && !lost && u.looks >= mostLooks {
			p.blind = true
			p.drop(u, p.errBlind())
			continue
		}
		if !p.nc.IsClosed() && resendable(u.err, u.id) && (lost || u.tries <= resends) {
			if err := p.send(ctx, u); err != nil {
				return err
			}
		} else if i == 0 {
			return p.fail(u)
		}
	}
	return nil
}

// askForStream finds out what it means when nobody hears the oldest message, however often it is sent. A stream without
// a leader has no ears either, and gets another leader: then all that nobody heard may be sent as often again.
func (p *Publisher) askForStream(ctx context.Context) error {
	oldest := p.waiting[0]
	if oldest.confirmed || oldest.epoch != p.epoch || oldest.tries <= resends || !errors.Is(oldest.err, jetstream.ErrNoStreamResponse) {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	stream, err := p.js.Stream(asking, p.stream)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return p.fail(oldest)
	case err == nil:
		if have := stream.CachedInfo().Config.Subjects; !coveredBy(have, oldest.m.Subject) {
			oldest.err = fmt.Errorf("the stream %s does not take %s any more: its subjects are %q", p.stream, oldest.m.Subject, have)
			return p.fail(oldest)
		}
	}
	if p.asked++; p.asked > questions {
		oldest.err = fmt.Errorf("nobody takes it, though the stream %s is there, or may be; ask the servers for its leader, and whether this account may publish %s",
			p.stream, oldest.m.Subject)
		return p.fail(oldest)
	}
	// What else goes wrong with the question belongs to the election, or to a connection that breaks.
	for _, u := range p.waiting {
		if errors.Is(u.err, jetstream.ErrNoStreamResponse) {
			u.tries = 0
		}
	}
	return nil
}

// inProcess is the code of an error: a message with this id is being stored, and is not yet.
const inProcess = 10158

// resendable tells whether a message may be sent again after this error without being stored twice.
func resendable(err error, id string) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		// Refused, since the server has something else to do now; or it is still at storing the message, as sent
		// before.
		return api.Code == 503 || api.ErrorCode == inProcess && id != ""
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return true // nobody heard it
	default:
		return id != ""
	}
}

// send waits for the connection, for otherwise the message would wait in the client's buffer while its time runs out.
func (p *Publisher) send(ctx context.Context, u *unconfirmed) error {
	for {
		for !waitConnected(ctx, p.nc, reconnectLook) {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		// The client reports a loss before it is connected again, so from here on the message belongs to the new
		// connection.
		p.listen()
		u.epoch = p.epoch
		switch err := p.nc.PublishMsg(u.m); {
		case err == nil:
			u.tries++
			u.asked, u.err, u.due = false, nil, time.Now().Add(p.confirmWait)
			return nil
		case errors.Is(err, nats.ErrReconnectBufExceeded): // the connection was lost just now, and nothing was sent
		case u.id != "" && errors.As(err, new(net.Error)): // it broke under the message, whose id makes a second time harmless
		default:
			u.err = err
			return p.fail(u)
		}
	}
}

// fail makes the final error.
func (p *Publisher) fail(u *unconfirmed) error {
	what := "message"
	if u.line > 0 {
		what = fmt.Sprintf("line %d", u.line)
	}
	if u.id != "" {
		what += fmt.Sprintf(" (id %q)", u.id)
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(u.err, jetstream.ErrNoStreamResponse):
		p.err = fmt.Errorf("%s: no stream takes %s: the stream %s has gone or JetStream is off; type 'crmintake init' to create it",
			what, u.m.Subject, p.stream)
	case errors.As(u.err, &api):
		p.err = fmt.Errorf("%s: the stream %s refuses it: %w", what, p.stream, u.err)
	case u.err != nil:
		p.err = fmt.Errorf("%s: %w", what, u.err)
	case u.id == "":
		p.err = fmt.Errorf("%s: it was sent and not confirmed, so it may be in the stream or not, and it has no id by which sending it again would be safe", what)
	default:
		p.err = fmt.Errorf("%s: it was sent %d times and not confirmed", what, u.tries)
	}
	return p.err
}
