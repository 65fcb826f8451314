package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
	"crmintake/worker/event"
)

const (
	// fetchWait is how long one pull request lives: short enough for a lost one to be missed soon, long enough to cost
	// an idle worker nothing.
	fetchWait = time.Second
	// lateness is what we grant the server beyond that before we take the request for lost.
	lateness = 500 * time.Millisecond
	// infoWait bounds questions to the server.
	infoWait = 5 * time.Second
)

// Source pulls from a durable consumer, or from one for each object type. Open makes one.
type Source struct {
	cfg      Config
	prefix   string // of subjects
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	consumer jetstream.Consumer // the shared one
	next     string             // the subject of its pull requests
	subject  string             // of the last message; Fetch's
	lanes    lanes              // Fetch's
	warnings []string
	aside    map[string]bool // what was left out and logged; Fetch's
	mend     atomic.Bool     // the shared consumer has passed over messages, which lanes would deliver

	lateness time.Duration // the constant, more in tests; withdraw's
}

var _ worker.Source = (*Source)(nil)

// Open finds stream and consumer, and fails with what to type when one is missing or is such that events would be lost
// or misread. The connection stays the caller's.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	js, err := cfg.jetStream(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, cfg.Stream)
	if err != nil {
		return nil, cfg.explainAt(ctx, js, err)
	}
	consumer, err := stream.Consumer(ctx, cfg.Consumer)
	if err != nil {
		return nil, cfg.explain(err)
	}
	found := append(judgeStream(cfg, stream.CachedInfo().Config), judgeConsumer(cfg, consumer.CachedInfo(), stream.CachedInfo().Config)...)
	if err := found.err(); err != nil {
		return nil, err
	}
	return &Source{
		cfg:      cfg,
		prefix:   cfg.Prefix(),
		nc:       nc,
		js:       js,
		stream:   stream,
		consumer: consumer,
		next:     cfg.nextSubject(cfg.Consumer),
		lanes:    lanes{apart: cfg.isApart(consumer.CachedInfo().Config), of: map[string]*lane{}, idle: laneIdle},
		warnings: found.warnings(),
		aside:    map[string]bool{},
		lateness: lateness,
	}, nil
}

// explainAt is explain that tells of a server's domain: a stream that is missing may be in another one.
func (c Config) explainAt(ctx context.Context, js jetstream.JetStream, err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) && c.Domain == "" {
		if domain := domainOf(ctx, js); domain != "" {
			return fmt.Errorf("%w; this server's JetStream is the domain %s: if the stream is in another one, give "+
				"that in --nats-domain",
				c.explain(err), domain)
		}
	}
	return c.explain(err)
}

// domainOf is the domain of the JetStream that answers; "" if it has none, or does not tell.
func domainOf(ctx context.Context, js jetstream.JetStream) string {
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return ""
	}
	return info.Domain
}

// explain says what to type about an error of the JetStream API.
func (c Config) explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("the stream %s does not exist on this NATS server; type '%s' to create it", c.Stream,
			c.program("init"))
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("the stream %s has no consumer %s; type '%s' to create it", c.Stream, c.Consumer,
			c.program("init"))
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return fmt.Errorf("the consumer %s of stream %s is a push consumer; crmintake needs a pull consumer: if "+
			"nobody else uses it %s, "+
			"else choose another name with --consumer", c.Consumer, c.Stream, c.again(jetstream.WorkQueuePolicy, 0))
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the NATS server has JetStream switched off, at least for this account: start nats-server with "+
			"-js (or jetstream {} in its configuration, and jetstream: enabled for the account): %w", err)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("no JetStream answers on this NATS server: it is switched off, or not up yet; start nats-server "+
			"with -js (or jetstream {} in its configuration): %w", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("JetStream does not answer for the stream %s: %w", c.Stream, err)
	default:
		return fmt.Errorf("jetstream: %w", err)
	}
}

// Warnings tells what Open found that works but had better be otherwise, a sentence each, with what to type.
func (s *Source) Warnings() []string { return s.warnings }

// Apart tells whether each object type had a consumer of its own when the server was last asked, by Open or
// Outstanding.
func (s *Source) Apart() bool { return s.cfg.isApart(s.consumer.CachedInfo().Config) }

// PausedFor implements worker.Source.
func (s *Source) PausedFor() time.Duration {
	info := s.consumer.CachedInfo()
	if !info.Paused {
		return 0
	}
	return max(info.PauseRemaining, time.Second)
}

// AckWait is the consumer's: how long a message may be in hand before it is delivered again. With a backoff, its
// shortest.
func (s *Source) AckWait() time.Duration { return shortestWait(s.consumer.CachedInfo().Config) }

// pullRequest is the body of a request for messages, as the server wants it.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"` // subjects and headers count as well
	Expires  time.Duration `json:"expires,omitempty"`
	NoWait   bool          `json:"no_wait,omitempty"` // instead of Expires
}

// errTooBig: the server holds back a message that is larger than what is left of the request's bytes.
var errTooBig = errors.New("the next message is larger than the bytes asked for")

// Fetch implements worker.Source. When ctx ends it returns at once, or as soon as what is on its way has come. A
// message that alone is larger than maxBytes is delivered nevertheless, alone.
func (s *Source) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Without a connection requests would wait in the client's buffer, and reach the server together when it is back.
	if !waitConnected(ctx, s.nc, fetchWait) {
		return nil // Connect's log has said why
	}
	lookErr := s.arrange(ctx)
	if s.lanes.apart {
		return errors.Join(lookErr, s.fetchLanes(ctx, max, maxBytes, deliver))
	}
	// With one consumer, what a look could tell the fetch does.
	if max = s.unrestricted(ctx, max); max == 0 {
		sleep(ctx, fetchWait)
		return nil
	}
	n, err := s.fetchFrom(ctx, s.next, s.request(max, maxBytes), deliver)
	s.lanes.nothing = n == 0
	if errors.Is(err, errAbsent) {
		s.lanes.looked = time.Time{}
		err = s.absent(ctx)
	}
	return err
}

// request asks for so much, and waits for it.
func (s *Source) request(max, maxBytes int) pullRequest {
	limits := s.consumer.CachedInfo().Config
	return pullRequest{Batch: atMost(max, limits.MaxRequestBatch), MaxBytes: atMost(maxBytes, limits.MaxRequestMaxBytes),
		Expires: time.Duration(atMost(int(fetchWait), int(limits.MaxRequestExpires)))}
}

// fetchFrom is Fetch for one consumer.
func (s *Source) fetchFrom(ctx context.Context, next string, r pullRequest, deliver func(*worker.Event)) (n int, err error) {
	n, err = s.pull(ctx, next, r, deliver)
	if errors.Is(err, errTooBig) && n == 0 {
		r.Batch, r.MaxBytes = 1, 0
		n, err = s.pull(ctx, next, r, deliver)
	}
	if errors.Is(err, errTooBig) {
		err = nil // the next fetch begins with it
	}
	return n, err
}

// atMost returns n, or the consumer's limit if it has one that is lower.
func atMost(n, limit int) int {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

// pull makes one request, with an inbox of its own, and returns how many messages it has delivered. When it returns,
// the request is over for the server, too.
func (s *Source) pull(ctx context.Context, next string, r pullRequest, deliver func(*worker.Event)) (n int, err error) {
	// The client drops what finds no room: all messages of the request, and its final status.
	incoming := make(chan *nats.Msg, r.Batch+1)
	sub, err := s.nc.ChanSubscribe(s.nc.NewInbox(), incoming)
	if err != nil {
		return 0, fmt.Errorf("jetstream: %w", err)
	}
	body, err := json.Marshal(r)
	if err == nil {
		err = s.nc.PublishRequest(next, sub.Subject, body)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("jetstream: %w", err), sub.Unsubscribe())
	}
	timer := time.NewTimer(r.Expires + lateness)
	defer timer.Stop()
	for bytes := 0; n < r.Batch; {
		var m *nats.Msg
		select {
		case m = <-incoming: // mostly: to wait for three things at once costs more than all else here
		default:
			select {
			case m = <-incoming:
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		if m == nil {
			s.withdraw(sub, incoming, func(m *nats.Msg) {
				s.give(m, deliver)
				n++
			})
			return n, nil
		}
		// Only the server's own words come without a subject to ack on, whatever headers a publisher may choose.
		if m.Reply == "" {
			return n, errors.Join(s.status(m), sub.Unsubscribe())
		}
		s.give(m, deliver)
		n++
		if bytes += m.Size(); bytes == r.MaxBytes {
			return n, sub.Unsubscribe() // to the byte: the server ends the request without a word
		}
	}
	return n, sub.Unsubscribe()
}

// withdraw ends requests early and takes what the server has sent on them until then. It does not send on a request
// that nobody listens to.
func (s *Source) withdraw(sub *nats.Subscription, incoming <-chan *nats.Msg, take func(*nats.Msg)) {
	// Drain tells the server and goes on listening; its answer to the flush comes after the last message. Without a
	// connection no message comes either, and the new one will not know of the inbox.
	if err := sub.Drain(); err == nil && s.nc.IsConnected() {
		_ = s.nc.FlushTimeout(s.lateness)
	}
	for {
		select {
		case m := <-incoming:
			if m.Reply != "" {
				take(m)
			}
		default:
			return
		}
	}
}

// status is the error that the server's word on a request amounts to; nil when it only says that the request is over.
func (s *Source) status(m *nats.Msg) error {
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	lower := strings.ToLower(text)
	switch {
	case code == "408", code == "404":
		return nil
	case code == "503", strings.Contains(lower, "consumer deleted"):
		return errAbsent
	case strings.Contains(lower, "message size exceeds maxbytes"):
		return errTooBig
	case strings.Contains(lower, "batch completed"), strings.Contains(lower, "leadership change"), strings.Contains(lower, "server shutdown"):
		return nil // the next fetch finds out
	default:
		return fmt.Errorf("the consumer %s of stream %s refuses to deliver: %s (status %s)", s.cfg.Consumer, s.cfg.Stream, text, code)
	}
}

// absent finds out why nobody answers for the shared consumer: it is gone, or the server is about to start or change
// leader.
func (s *Source) absent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait) // a part of the fetch
	defer cancel()
	if _, err := s.consumer.Info(ctx); err != nil {
		return s.cfg.explain(err)
	}
	return nil
}

// state tells what the stream has of our subjects, and how much of each. A stream that keeps what is acked has more
// than is to be delivered.
func (s *Source) state(ctx context.Context) (jetstream.StreamState, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(s.prefix+">"))
	if err != nil {
		return jetstream.StreamState{}, s.cfg.explain(err)
	}
	return info.State, nil
}

// Outstanding implements worker.Source.
func (s *Source) Outstanding(ctx context.Context) (pending, unacked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	info, err := s.consumer.Info(ctx)
	if err != nil {
		return 0, 0, s.cfg.explain(err)
	}
	behind, err := s.behind(ctx)
	if err != nil {
		return 0, 0, err
	}
	if s.cfg.isApart(info.Config) {
		pending, unacked, err = s.outstandingApart(ctx)
		return pending + behind, unacked, err
	}
	pending, unacked = int(info.NumPending)+behind, info.NumAckPending
	if unacked > 0 && s.stream.CachedInfo().Config.Retention == jetstream.WorkQueuePolicy {
		// The server goes on counting what it delivered before there were lanes, until it looks at it, though lanes
		// have acked it.
		total, err := s.total(ctx)
		if err != nil {
			return 0, 0, err
		}
		unacked = min(unacked, total)
	}
	return pending, unacked, nil
}

// behind is how many messages the stream has yet to copy from others, as it was last told.
func (s *Source) behind(ctx context.Context) (n int, err error) {
	if c := s.stream.CachedInfo().Config; c.Mirror == nil && len(c.Sources) == 0 {
		return 0, nil
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, s.cfg.explain(err)
	}
	if info.Mirror != nil {
		n = int(info.Mirror.Lag)
	}
	for _, from := range info.Sources {
		n += int(from.Lag)
	}
	return n, nil
}

// delivery is an event and the answer to its message, allocated together.
type delivery struct {
	worker.Event
	message
}

func (s *Source) event(m *nats.Msg) *worker.Event {
	d := &delivery{message: message{s.nc, m.Reply}}
	e := &d.Event
	e.Subject, e.Payload, e.Message = m.Subject, m.Data, &d.message
	meta, err := m.Metadata()
	if err != nil {
		e.Invalid = fmt.Sprintf("the message has no JetStream metadata: %v", err)
		return e
	}
	e.Stream, e.StreamSeq, e.Published, e.Redelivered = meta.Stream, meta.Sequence.Stream, meta.Timestamp, meta.NumDelivered > 1
	header := func(name string) (string, bool) { return headerOf(m.Header, name) }
	e.ID, e.Former, e.Invalid = event.ID(header, worker.Place{Stream: e.Stream, Seq: e.StreamSeq, Published: e.Published})
	if len(m.Header) > 1 || e.Former != "" { // not with an id alone
		contentType, _ := headerOf(m.Header, "content-type")
		var invalid string
		e.Structured, invalid = event.StructuredMode(contentType)
		e.Invalid = cmp.Or(e.Invalid, invalid)
	}
	if s.cfg.Traces {
		e.TraceParent, _ = headerOf(m.Header, "traceparent")
		e.TraceState, _ = headerOf(m.Header, "tracestate")
	}
	// Most messages have the subject of the one before. One copy of it then does for all that are in hand.
	if e.Subject != s.subject {
		s.subject = e.Subject
	}
	e.Subject = s.subject
	objectType, invalid := event.ObjectType(e.Subject, s.prefix)
	e.ObjectType = objectType
	if e.Invalid == "" {
		e.Invalid = invalid
	}
	return e
}

// headerOf is the value of a header, however the letters of its name are: NATS tells Ce-Id from ce-id, which publishers
// don't. A name as it is wanted goes first, and else the least of them, so that each delivery has the same; "" if there
// is none.
func headerOf(h nats.Header, name string) (value string, asWritten bool) {
	if value = h.Get(name); value != "" {
		return value, true
	}
	found := ""
	for key, values := range h {
		if len(key) == len(name) && strings.EqualFold(key, name) && len(values) > 0 && values[0] != "" && (found == "" || key < found) {
			found, value = key, values[0]
		}
	}
	return value, false
}

// message answers the stream. The answers are the server's protocol; they may be sent again, which does nothing.
type message struct {
	nc    *nats.Conn
	reply string
}

var (
	ack        = []byte("+ACK")
	inProgress = []byte("+WPI")
)

func (m *message) Ack() error        { return m.nc.Publish(m.reply, ack) }
func (m *message) InProgress() error { return m.nc.Publish(m.reply, inProgress) }
func (m *message) Nak(delay time.Duration) error {
	answer := []byte("-NAK")
	if delay > 0 {
		answer = append(answer, ` {"delay": `...)
		answer = strconv.AppendInt(answer, delay.Nanoseconds(), 10)
		answer = append(answer, '}')
	}
	return m.nc.Publish(m.reply, answer)
}
