package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// fetchWait is how long one pull request lives: short enough for a lost one to be missed soon, long enough to cost
	// an idle worker nothing.
	fetchWait = time.Second
	// lateness is what we grant the server beyond that before we take the request for lost.
	lateness = 500 * time.Millisecond
)

var (
	// errNoConsumer: the consumer is gone, or no server answers for it at the moment.
	errNoConsumer = errors.New("nobody answers for the consumer")
	// errTooLarge: the server holds back a message that is larger than what is left of the request's bytes.
	errTooLarge = errors.New("the next message is larger than the bytes asked for")
)

// pullRequest is the body of a request for messages, as the server wants it: $JS.API.CONSUMER.MSG.NEXT of the NATS
// API.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"` // subjects and headers count as well
	Expires  time.Duration `json:"expires,omitempty"`   // in nanoseconds
	NoWait   bool          `json:"no_wait,omitempty"`   // instead of Expires
}

// puller makes pull requests. Nothing in it changes.
type puller struct {
	nc       *nats.Conn
	cfg      Config
	lateness time.Duration // the constant, more in tests
}

// pull makes one request to the consumer behind the subject next, and another one for a message that is larger than the
// bytes asked for, if it is the first. It returns how many messages it has handed to take.
func (p *puller) pull(ctx context.Context, next string, r pullRequest, take func(*nats.Msg)) (n int, err error) {
	n, err = p.request(ctx, next, r, take)
	if errors.Is(err, errTooLarge) && n == 0 {
		r.Batch, r.MaxBytes = 1, 0
		n, err = p.request(ctx, next, r, take)
	}
	if errors.Is(err, errTooLarge) {
		err = nil // the next request begins with it
	}
	return n, err
}

// request makes one request, with an inbox of its own. When it returns, the request is over for the server, too.
func (p *puller) request(ctx context.Context, next string, r pullRequest, take func(*nats.Msg)) (n int, err error) {
	// The client drops what finds no room: all messages of the request, and its final status.
	incoming := make(chan *nats.Msg, r.Batch+1)
	sub, err := p.nc.ChanSubscribe(p.nc.NewInbox(), incoming)
	if err != nil {
		return 0, fmt.Errorf("jetstream: %w", err)
	}
	if err := p.send(next, sub.Subject, r); err != nil {
		return 0, errors.Join(err, sub.Unsubscribe())
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
			p.withdraw(sub, incoming, func(m *nats.Msg) {
				take(m)
				n++
			})
			return n, nil
		}
		// Only the server's own words come without a subject to ack on, whatever headers a publisher may choose.
		if m.Reply == "" {
			return n, errors.Join(p.status(m), sub.Unsubscribe())
		}
		take(m)
		n++
		if bytes += m.Size(); bytes == r.MaxBytes {
			return n, sub.Unsubscribe() // to the byte: the server ends the request without a word
		}
	}
	return n, sub.Unsubscribe()
}

func (p *puller) send(next, inbox string, r pullRequest) error {
	body, err := json.Marshal(r)
	if err == nil {
		err = p.nc.PublishRequest(next, inbox, body)
	}
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	return nil
}

// withdraw ends requests early and takes what the server has sent on them until then. It does not send on a request
// that nobody listens to.
func (p *puller) withdraw(sub *nats.Subscription, incoming <-chan *nats.Msg, take func(*nats.Msg)) {
	// Drain has the server end them and goes on listening; the answer to the flush comes after the last message.
	// Without a connection no message comes either, and the new one will not know of the inbox.
	if err := sub.Drain(); err == nil && p.nc.IsConnected() {
		_ = p.nc.FlushTimeout(p.lateness)
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
// Codes and texts are those of nats-server 2.15's consumer.go.
func (p *puller) status(m *nats.Msg) error {
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	lower := strings.ToLower(text)
	switch {
	case code == "408", code == "404":
		return nil
	case code == "503", strings.Contains(lower, "consumer deleted"):
		return errNoConsumer
	case strings.Contains(lower, "message size exceeds maxbytes"):
		return errTooLarge
	case strings.Contains(lower, "batch completed"), strings.Contains(lower, "leadership change"),
		strings.Contains(lower, "server shutdown"):
		return nil // the next request finds out
	default:
		return fmt.Errorf("the consumer %s of stream %s refuses to deliver: %s (status %s)", p.cfg.Consumer,
			p.cfg.Stream, text, code)
	}
}
