package jetstream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/worker"
	"crmintake/worker/event"
)

// reader makes events of messages. It is for one goroutine: Fetch's.
type reader struct {
	nc      *nats.Conn
	view    *view
	subject string          // of the last message
	skipped map[string]bool // why messages were skipped; each reason is logged once
}

// delivery is an event and the answer to its message, allocated together.
type delivery struct {
	worker.Event
	message
}

// event makes an event of a message, whatever is in it: what can't be sent is marked invalid.
func (r *reader) event(m *nats.Msg) *worker.Event {
	d := &delivery{message: message{r.nc, m.Reply}}
	e := &d.Event
	e.Subject, e.Payload, e.Message = m.Subject, m.Data, &d.message
	meta, err := m.Metadata()
	if err != nil {
		e.Invalid = fmt.Sprintf("the message has no JetStream metadata: %v", err)
		return e
	}
	e.Stream, e.StreamSeq, e.Published = meta.Stream, meta.Sequence.Stream, meta.Timestamp
	e.Redelivered = meta.NumDelivered > 1
	header := func(name string) (string, bool) { return headerOf(m.Header, name) }
	place := worker.Place{Stream: e.Stream, Seq: e.StreamSeq, Published: e.Published}
	e.ID, e.Former, e.Invalid = event.ID(header, place)
	if len(m.Header) > 1 || e.Former != "" { // not with an id alone
		contentType, _ := headerOf(m.Header, "content-type")
		var invalid string
		e.Structured, invalid = event.StructuredMode(contentType)
		e.Invalid = cmp.Or(e.Invalid, invalid)
	}
	if r.view.cfg.Traces {
		e.TraceParent, _ = headerOf(m.Header, "traceparent")
		e.TraceState, _ = headerOf(m.Header, "tracestate")
	}
	// Most messages have the subject of the one before. One copy of it then does for all that are in hand.
	if e.Subject != r.subject {
		r.subject = e.Subject
	}
	e.Subject = r.subject
	objectType, invalid := event.ObjectType(e.Subject, r.view.prefix)
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
		if len(key) == len(name) && strings.EqualFold(key, name) && len(values) > 0 && values[0] != "" &&
			(found == "" || key < found) {
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
