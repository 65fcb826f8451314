package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxResends = 10 // while the server is there and yet doesn't confirm; then we give up, or ask for the stream
	// maxQuestions for the stream, while nobody hears a message: a minute, where an election takes seconds.
	maxQuestions = 12
)

// sendAgain sends all messages again that are due, or that went out on a connection which is no more, if it is safe. If
// it isn't for the oldest, that is the final error; for others, it will be in their turn.
func (p *Publisher) sendAgain(ctx context.Context) error {
	if !waitConnected(ctx, p.nc, reconnectPoll) {
		return ctx.Err() // nil: the caller comes again
	}
	p.readReplies() // the last words of the connection before
	if err := p.askForStream(ctx); err != nil {
		return err
	}
	for i, u := range p.waiting {
		lost := u.epoch != p.epoch
		if u.confirmed || !lost && time.Now().Before(u.due) {
			continue
		}
		if u.comparing && !lost && u.compared >= maxCompares {
			p.cannotCompare = true
			p.drop(u, p.errCannotCompare())
			continue
		}
		if !p.nc.IsClosed() && resendable(u.err, u.id) && (lost || u.tries <= maxResends) {
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
	if oldest.confirmed || oldest.epoch != p.epoch || oldest.tries <= maxResends ||
		!errors.Is(oldest.err, jetstream.ErrNoStreamResponse) {
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
		if have := stream.CachedInfo().Config.Subjects; !coveredByAny(have, oldest.m.Subject) {
			oldest.err = fmt.Errorf("the stream %s does not take %s any more: its subjects are %q", p.stream,
				oldest.m.Subject, have)
			return p.fail(oldest)
		}
	}
	if p.questions++; p.questions > maxQuestions {
		oldest.err = fmt.Errorf("nobody takes it, though the stream %s is there, or may be; ask the servers for its "+
			"leader, and whether this account may publish %s", p.stream, oldest.m.Subject)
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

// beingStored is the code of an error: a message with this id is being stored, and is not yet.
const beingStored = 10158

// resendable reports whether a message may be sent again after this error without being stored twice.
func resendable(err error, id string) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		// Refused, since the server has something else to do now; or it is still at storing the message, as sent
		// before.
		return api.Code == 503 || api.ErrorCode == beingStored && id != ""
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return true // nobody heard it
	default:
		return id != ""
	}
}

// send waits for the connection, for otherwise the message would wait in the client's buffer while its time runs out.
func (p *Publisher) send(ctx context.Context, u *unconfirmed) error {
	for {
		for !waitConnected(ctx, p.nc, reconnectPoll) {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		// The client reports a loss before it is connected again, so from here on the message belongs to the new
		// connection.
		p.readReplies()
		u.epoch = p.epoch
		switch err := p.nc.PublishMsg(u.m); {
		case err == nil:
			u.tries++
			u.comparing, u.err, u.due = false, nil, time.Now().Add(p.confirmWait)
			return nil
		case errors.Is(err, nats.ErrReconnectBufExceeded): // the connection was lost just now, and nothing was sent
		case u.id != "" && errors.As(err, new(net.Error)):
			// it broke under the message, whose id makes a second time harmless
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
		p.err = fmt.Errorf("%s: no stream takes %s: the stream %s has gone or JetStream is off; type 'crmintake "+
			"init' to create it", what, u.m.Subject, p.stream)
	case errors.As(u.err, &api):
		p.err = fmt.Errorf("%s: the stream %s refuses it: %w", what, p.stream, u.err)
	case u.err != nil:
		p.err = fmt.Errorf("%s: %w", what, u.err)
	case u.id == "":
		p.err = fmt.Errorf("%s: it was sent and not confirmed, so it may be in the stream or not, and it has no id by "+
			"which sending it again would be safe", what)
	default:
		p.err = fmt.Errorf("%s: it was sent %d times and not confirmed", what, u.tries)
	}
	return p.err
}
