package worker

import (
	"context"
	"time"
)

// Source is the stream that events come from. Fetch is called by one goroutine at a time.
type Source interface {
	// Fetch delivers messages as they arrive, at most max, whose bodies add up to about maxBytes at most, and returns
	// when it has delivered so many or after about a second, or soon after ctx has ended. What it has received it has
	// delivered, with an error too. An error is for the log: the source mends itself, and Fetch may be called again
	// after a pause.
	Fetch(ctx context.Context, max, maxBytes int, deliver func(*Event)) error

	// Restrict bounds how many messages of an object type each Fetch from now on may deliver, 0 for none; those that
	// most does not name have no limit of their own. It is obeyed as soon as the source can: until then, and where it
	// can't, more are delivered, which are to be given back. It is called by Fetch's goroutine; most is the source's
	// then.
	Restrict(most map[string]int)

	// Outstanding counts the messages that were not delivered yet, and those delivered and not acked. It may be called
	// at any time.
	Outstanding(ctx context.Context) (pending, unacked int, err error)

	// Stranded counts the events that are in the stream and are neither pending nor unacked: nobody is given them. What
	// says why, and what to type. Some may be missed while much is published or acked, and none is counted that is only
	// on its way. It takes a second or two where there are some. It may be called at any time; the source then mends
	// what it can by itself.
	Stranded(ctx context.Context) (events int, what string, err error)

	// PausedFor is for how long the stream is still to deliver nothing, because somebody has told it so, as Outstanding
	// last saw it; 0 if nobody has. It asks nobody, and may be called at any time.
	PausedFor() time.Duration
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
