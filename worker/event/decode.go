package event

import (
	"bytes"
	_ "embed"
	"sync"
	"unicode/utf8"

	"crmintake/worker"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxPropertyChars is the longest property value that is accepted, in characters (code points): the longest text that
// the API keeps. A longer one would be refused there, and take its batch with it.
const MaxPropertyChars = 65536

// Schema is the JSON Schema (draft 2020-12) of an event body. It says what a schema can say of what Decode accepts;
// Decode is stricter: no doubled members, no lone surrogates, no byte-order mark, at most MaxEventBytes.
//
//go:embed event.schema.json
var Schema string

// InvalidError is what is wrong with an event. Sending such an event, or decoding it again, will not help.
type InvalidError struct {
	// Message names the fault and where it is, for a person: a path such as properties.amount and the byte offset,
	// counted from 0. It never holds a property's value, and is valid UTF-8 without NUL, and short.
	Message string
}

func (e *InvalidError) Error() string { return e.Message }

// Decode checks an event body, which is one element of a batch create call's inputs, and makes the Input that is sent.
//
// Property values become strings: numbers and booleans by their very digits and letters ("1.10" stays "1.10"), null is
// left out. Where idProperty is not "" and the event has no value for it (absent, null or the empty string), eventID is
// put there. The eventID must be one that ID made, and idProperty valid UTF-8 without NUL.
//
// It is strict, because one bad input can have its whole batch refused: every fault that can be seen here is an
// *InvalidError, which is the only type of error that Decode returns. Its work and memory are linear in the body's
// size; no value is entered that isn't expected, so nesting costs nothing. Decode does not change the payload, but the
// Input's Body may be a part of it. It may be called by many goroutines at once.
func Decode(payload []byte, idProperty, eventID string) (worker.Input, error) {
	if len(payload) > worker.MaxEventBytes {
		return worker.Input{}, invalid("the event has %d bytes, more than the %d that are accepted",
			len(payload), worker.MaxEventBytes)
	}
	// jsontext would report a mere "invalid character" for the marks; naming them helps whoever exported the events.
	if len(payload) > 0 && payload[0] >= utf8.RuneSelf {
		for _, bom := range []string{"\xef\xbb\xbf", "\xfe\xff", "\xff\xfe"} {
			if len(payload) >= len(bom) && string(payload[:len(bom)]) == bom {
				return worker.Input{}, invalid("the event begins with a byte-order mark; want UTF-8 without one (byte 0)")
			}
		}
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	d.reset(idProperty, eventID)
	if !d.plain(payload) {
		d.reset(idProperty, eventID)
		if err := d.event(payload); err != nil {
			return worker.Input{}, err
		}
	}
	return d.input(), nil
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// maxKeptBuffer bounds the buffers that a pooled decoder keeps: enough for any usual event, and one huge event does not
// stay in memory.
const maxKeptBuffer = 64 << 10

// decoder is the state of one Decode. It is reused, for jsontext's decoder and the buffers are worth more than the
// rest.
type decoder struct {
	in reader

	idProperty, eventID string

	names        [][]byte     // of a plain event's properties
	whole        worker.Input // what goes out with the payload as its body; without a body if it has to be copied
	verbatim     []byte       // the part of the payload that goes out as properties; nil if they are copied
	associations associations
	properties   []byte // the members that go out, separated by commas
	idSet        bool   // the id property is among the properties
	idValue      string
	traceID      string
}

func (d *decoder) reset(idProperty, eventID string) {
	d.idProperty, d.eventID = idProperty, eventID
	d.associations.elements, d.properties = d.associations.elements[:0], d.properties[:0]
	d.names, d.whole, d.verbatim = d.names[:0], worker.Input{}, nil
	d.idSet, d.idValue, d.traceID = false, "", ""
}

func (d *decoder) release() {
	clear(d.names)
	d.whole, d.verbatim = worker.Input{}, nil
	d.in.release()
	d.associations.release()
	d.idProperty, d.eventID, d.idValue, d.traceID = "", "", "", ""
	if cap(d.properties) > maxKeptBuffer {
		d.properties = nil
	}
	decoders.Put(d)
}

func (d *decoder) input() worker.Input {
	if d.whole.Body != nil {
		return d.whole
	}
	const head, middle, tail = `{"associations":[`, `],"properties":{`, `}}`
	body := make([]byte, 0, len(head)+len(d.associations.elements)+len(middle)+len(d.properties)+len(d.verbatim)+len(tail))
	body = append(body, head...)
	body = append(body, d.associations.elements...)
	body = append(body, middle...)
	body = append(body, d.properties...)
	body = append(body, d.verbatim...) // the one or the other
	body = append(body, tail...)
	return worker.Input{Body: body, TraceID: d.traceID, IDValue: d.idValue}
}

// event reads the whole body: one object and nothing after it.
func (d *decoder) event(payload []byte) error {
	d.in.read(payload)
	if err := d.in.open('{', "an object"); err != nil {
		return err
	}
	hasProperties := false
	for {
		name, more, err := d.in.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch string(name) {
		case "properties":
			hasProperties = true
			err = d.readProperties()
		case "associations":
			err = d.associations.read(&d.in)
		case "objectWriteTraceId":
			var text []byte
			if text, err = d.in.readString(); err == nil {
				d.traceID = string(text)
			}
		default:
			err = d.in.unknownMember("properties, associations and objectWriteTraceId")
		}
		if err != nil {
			return err
		}
	}
	if !hasProperties {
		return invalid("properties is missing")
	}
	if d.idProperty != "" && !d.idSet {
		if err := d.putEventID(); err != nil {
			return err
		}
	}
	end := d.in.json.InputOffset()
	if rest := bytes.TrimLeft(payload[end:], " \t\r\n"); len(rest) > 0 {
		return invalid("something follows the event's object (byte %d)", len(payload)-len(rest))
	}
	return nil
}

func (d *decoder) readProperties() error {
	if err := d.in.open('{', "an object"); err != nil {
		return err
	}
	for {
		raw, err := d.in.value()
		if err != nil {
			return err
		}
		if raw == nil {
			return nil
		}
		name, err := d.in.text(raw)
		if err != nil {
			return err
		}
		if len(name) == 0 {
			return d.in.fault(raw, "the name is empty")
		}
		isID := d.idProperty != "" && string(name) == d.idProperty
		// The name goes out before it is known whether the value does.
		mark := len(d.properties)
		d.beginProperty(raw)
		if kept, err := d.readProperty(isID); err != nil {
			return err
		} else if !kept {
			d.properties = d.properties[:mark]
		}
	}
}

// readProperty reads one property's value and appends it; kept is false where the property is to be left out.
func (d *decoder) readProperty(isID bool) (kept bool, err error) {
	const want = "a string, number, boolean or null"
	switch kind := d.in.json.PeekKind(); kind {
	case '"':
		raw, err := d.in.value()
		if err != nil {
			return false, err
		}
		text, err := d.in.text(raw)
		if err != nil {
			return false, err
		}
		if isID && len(text) == 0 {
			return false, nil
		}
		if len(text) > MaxPropertyChars {
			if n := utf8.RuneCount(text); n > MaxPropertyChars {
				return false, d.tooLong(raw, n)
			}
		}
		if isID {
			d.idSet, d.idValue = true, string(text)
		}
		d.properties = append(d.properties, raw...)
		return true, nil
	case '0', 't', 'f':
		raw, err := d.in.value()
		if err != nil {
			return false, err
		}
		if len(raw) > MaxPropertyChars {
			return false, d.tooLong(raw, len(raw))
		}
		if isID {
			d.idSet, d.idValue = true, string(raw)
		}
		d.properties = append(d.properties, '"')
		d.properties = append(d.properties, raw...)
		d.properties = append(d.properties, '"')
		return true, nil
	case 'n':
		_, err := d.in.value()
		return false, err
	default:
		return false, d.in.wrongKind(want)
	}
}

func (d *decoder) tooLong(raw []byte, chars int) error {
	return d.in.fault(raw, "the value has %d characters, more than the %d that the API keeps", chars, MaxPropertyChars)
}

// beginProperty appends a property's name, quoted, up to its value.
func (d *decoder) beginProperty(quoted []byte) {
	if len(d.properties) > 0 {
		d.properties = append(d.properties, ',')
	}
	d.properties = append(d.properties, quoted...)
	d.properties = append(d.properties, ':')
}

func (d *decoder) putEventID() error {
	name, err := jsontext.AppendQuote(d.in.scratch[:0], d.idProperty)
	if d.in.scratch = name; err != nil {
		return invalid("the id property's name is not valid UTF-8")
	}
	d.beginProperty(name)
	if d.properties, err = jsontext.AppendQuote(d.properties, d.eventID); err != nil {
		return invalid("the event id, which stands in for the id property, is not valid UTF-8")
	}
	d.idValue = d.eventID
	return nil
}
