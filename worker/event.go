package worker

import (
	"bytes"
	"encoding/json"
	"time"
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
	Payload    []byte // the body, or the data of a CloudEvent in structured mode, byte for byte as received

	// Published is when the stream took the message in, by its clock; zero if that is not known.
	Published time.Time
	// Former is the id under which an older program kept the event; "" if it is the same.
	Former string
	// Redelivered: the stream has delivered the message before.
	Redelivered bool
	// Structured: by its content type the message is a CloudEvent in structured mode.
	Structured bool
	// Lane: it came by the consumer of its object type alone. It comes again only when that object type is fetched.
	Lane bool

	// TraceParent and TraceState are the headers of that name, which tell of the span that the message was published in
	// (W3C trace context); "" if nobody traces, or the message has none.
	TraceParent, TraceState string

	// Invalid is why the event can't be sent, in words for a person; "" for a good one.
	Invalid string

	// Message answers the stream for this event. It is nil for an event that came back from the outbox.
	Message Message
}

// Place is where the event's message stands.
func (e *Event) Place() Place { return Place{e.Stream, e.StreamSeq, e.Published} }

// Input is one element of a batch create call, made from an event by Decode.
type Input struct {
	// Body is a JSON object, from brace to brace. An event that can go out as it came, or nearly so, is not copied:
	// then Body is a part of its payload, and not to be changed. AppendMembers puts in what is missing.
	Body []byte
	// NoAssociations: Body has no associations; the API wants an array, though it be empty.
	NoAssociations bool
	// IDAt is where in Body, behind the brace that opens the properties, the id property is to be put in; 0 if it is
	// there, or none is wanted.
	IDAt int
	// IDProperty is its name, if it is to be put in.
	IDProperty string
	// IDValue is the value of the object type's id property, "" when the object type has no id property.
	IDValue string
	// TraceID is the event's own objectWriteTraceId, "" if it has none. The client replaces it when it is not unique
	// in the batch.
	TraceID string
}

// AppendMembers appends the input as it goes out, but for the brace that opens it: the members "associations" (an
// array, perhaps empty) and "properties" (an object of strings), and no others.
func (in *Input) AppendMembers(dst []byte) []byte {
	if in.NoAssociations {
		dst = append(dst, `"associations":[],`...)
	}
	if in.IDAt == 0 {
		return append(dst, in.Body[1:]...)
	}
	dst = append(dst, in.Body[1:in.IDAt]...)
	dst = appendString(dst, in.IDProperty)
	dst = append(dst, ':')
	dst = appendString(dst, in.IDValue)
	rest := in.Body[in.IDAt:]
	if next := bytes.TrimLeft(rest, " \t\r\n"); next[0] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, rest...)
}

// appendString appends a JSON string of text, which is valid UTF-8: Decode saw to it.
func appendString(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string's always succeeds
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// Len is about how many bytes it has.
func (in *Input) Len() int {
	n := len(in.Body)
	if in.IDAt > 0 {
		n += len(in.IDProperty) + len(in.IDValue) + len(`"":"",`)
	}
	return n
}
