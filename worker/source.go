package worker

import (
	"context"
	"time"
)

// Source is the stream that events come from. Fetch is called by one goroutine at a time.
type Source interface {
	// Fetch delivers messages as they arrive, at most max, whose bodies add up to about maxBytes at most, and returns when
	// it has delivered so many or after about a second, or soon after ctx has ended. What it has received it has delivered, with an
	// error too. An error is for the log: the source mends itself, and Fetch may be called again after a pause.
	Fetch(ctx context.Context, max, maxBytes int, deliver func(*Event)) error

	// ObjectTypes tells of which object types the stream has messages, "" for a subject that names none. They may be more than the
	// consumer has still to deliver, and never fewer.
	ObjectTypes(ctx context.Context) ([]string, error)

	// Outstanding counts the messages that the consumer has not delivered yet, and those delivered and not acked.
	Outstanding(ctx context.Context) (pending, unacked int, err error)
}

// Message answers the stream for one event. Its methods do not wait for the server: an answer that is lost means that
// the message is delivered again, which the outbox makes harmless.
type Message interface {
	Ack() error
	// Nak gives the message back, to be delivered again after delay.
	Nak(delay time.Duration) error
	// InProgress starts the message's ack wait anew.
	InProgress() error
}
