package worker

import (
	"time"

	"go.opentelemetry.io/otel/trace"
)

// MaxEventBytes is the largest event body that is accepted: 1 MiB.
const MaxEventBytes = 1 << 20

// MaxEventIDBytes is the longest event id that is accepted.
const MaxEventIDBytes = 256

// Event is one record-creation event in hand: what a message said, and the means to answer the stream.
// An Event is owned by one goroutine at a time.
type Event struct {
	ID         string // at most MaxEventIDBytes, valid UTF-8 without NUL; unique per record wanted
	ObjectType string // "" when the subject names none that is valid
	Subject    string
	Stream     string
	StreamSeq  uint64
	Payload    []byte // the body, byte for byte as received

	// Published is when the stream took the message in, by its clock; zero if that is not known.
	Published time.Time
	// Redelivered tells that the stream has delivered the message before.
	Redelivered bool

	// Publisher is the span that the message was published in; nil if nobody traces, or the message tells none.
	Publisher *trace.SpanContext

	// Invalid tells why the event can't be sent, in words for a person; "" for a good one.
	Invalid string

	// Message answers the stream for this event. It is nil for an event that came back from the outbox.
	Message Message
}

// Input is one element of a batch create call, made from an event by Decode.
type Input struct {
	// Body is a complete JSON object with the members "associations" (an array, perhaps empty) and "properties" (an
	// object of strings), and no others: what the API takes, less the trace id. It begins and ends with a brace. If the event came so,
	// it is the event's payload itself, and not to be changed.
	Body []byte
	// TraceID is the event's own objectWriteTraceId, "" if it has none. The client replaces it when it is not unique
	// in the batch.
	TraceID string
	// IDValue is the value of the object type's id property in Body, "" when the object type has no id property.
	IDValue string
}
