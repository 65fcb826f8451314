package worker

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxPropertyChars is the longest property value that is accepted, in characters (code points): the longest text that
// the API keeps. A longer one would be refused there, and take its batch with it.
const MaxPropertyChars = 65536

// maxAssociationTypeID: the API's published description makes associationTypeId a 32-bit integer.
const maxAssociationTypeID = 1<<31 - 1

// EventSchema is the JSON Schema (draft 2020-12) of an event body. It says what a schema can say of what Decode accepts;
// Decode is stricter: no doubled members, no lone surrogates, no byte-order mark, at most MaxEventBytes.
//
//go:embed event.schema.json
var EventSchema string

// InvalidEventError says what is wrong with an event. Sending such an event, or decoding it again, will not help.
type InvalidEventError struct {
	// Message names the fault and where it is, for a person: a path such as properties.amount and the byte offset,
	// counted from 0. It never holds a property's value, and is valid UTF-8 without NUL, and short.
	Message string
}

func (e *InvalidEventError) Error() string { return e.Message }

// Decode checks an event body, which is one element of a batch create call's inputs, and makes the Input that is sent.
//
// Property values become strings: numbers and booleans by their very digits and letters ("1.10" stays "1.10"), null is
// left out. Where idProperty is not "" and the event has no value for it (absent, null or the empty string), eventID is
// put there. The eventID must be one that EventID made, and idProperty valid UTF-8 without NUL.
//
// It is strict, because one bad input can have its whole batch refused: every fault that can be seen here is an
// *InvalidEventError, which is the only type of error that Decode returns. Its work and memory are linear in the body's
// size; no value is entered that isn't expected, so nesting costs nothing. Decode does not keep or change the payload,
// and may be called by many goroutines at once.
func Decode(payload []byte, idProperty, eventID string) (Input, error) {
	if len(payload) > MaxEventBytes {
		return Input{}, invalid("the event has %d bytes, more than the %d that are accepted", len(payload), MaxEventBytes)
	}
	// jsontext would report a mere "invalid character" for the marks; naming them helps whoever exported the events.
	for _, bom := range []string{"\xef\xbb\xbf", "\xfe\xff", "\xff\xfe"} {
		if len(payload) >= len(bom) && string(payload[:len(bom)]) == bom {
			return Input{}, invalid("the event begins with a byte-order mark; want UTF-8 without one (byte 0)")
		}
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	d.reset(payload, idProperty, eventID)
	if err := d.event(payload); err != nil {
		return Input{}, err
	}
	return d.input(), nil
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// maxKeptBuffer bounds the buffers that a pooled decoder keeps: enough for any usual event, and one huge event does not
// stay in memory.
const maxKeptBuffer = 64 << 10

// decoder is the state of one Decode. It is reused, for jsontext's decoder and the buffers are worth more than the rest.
type decoder struct {
	src bytes.Buffer // the payload; jsontext reads a *bytes.Buffer's bytes in place
	in  jsontext.Decoder

	idProperty, eventID string

	associations []byte // the elements that go out, separated by commas
	properties   []byte // the members that go out, separated by commas
	target       []byte // the id of the association that is being read, quoted
	types        []byte // its types, separated by commas
	scratch      []byte // the last string that had escapes, without them
	idSet        bool   // the id property is among the properties
	idValue      string
	traceID      string
}

func (d *decoder) reset(payload []byte, idProperty, eventID string) {
	d.src = *bytes.NewBuffer(payload)
	d.in.Reset(&d.src)
	d.idProperty, d.eventID = idProperty, eventID
	d.associations, d.properties, d.scratch = d.associations[:0], d.properties[:0], d.scratch[:0]
	d.idSet, d.idValue, d.traceID = false, "", ""
}

func (d *decoder) release() {
	d.src = bytes.Buffer{}
	d.in.Reset(&d.src) // lets go of the payload
	d.idProperty, d.eventID, d.idValue, d.traceID = "", "", "", ""
	for _, b := range []*[]byte{&d.associations, &d.properties, &d.target, &d.types, &d.scratch} {
		if cap(*b) > maxKeptBuffer {
			*b = nil
		}
	}
	decoders.Put(d)
}

func (d *decoder) input() Input {
	const head, middle, tail = `{"associations":[`, `],"properties":{`, `}}`
	body := make([]byte, 0, len(head)+len(d.associations)+len(middle)+len(d.properties)+len(tail))
	body = append(body, head...)
	body = append(body, d.associations...)
	body = append(body, middle...)
	body = append(body, d.properties...)
	body = append(body, tail...)
	return Input{Body: body, TraceID: d.traceID, IDValue: d.idValue}
}

// event reads the whole body: one object and nothing after it.
func (d *decoder) event(payload []byte) error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	hasProperties := false
	for {
		name, more, err := d.member()
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
			err = d.readAssociations()
		case "objectWriteTraceId":
			var text []byte
			if text, err = d.readString(); err == nil {
				d.traceID = string(text)
			}
		default:
			err = d.unknownMember("properties, associations and objectWriteTraceId")
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
	end := d.in.InputOffset()
	if rest := bytes.TrimLeft(payload[end:], " \t\r\n"); len(rest) > 0 {
		return invalid("something follows the event's object (byte %d)", len(payload)-len(rest))
	}
	return nil
}

func (d *decoder) readProperties() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	for {
		raw, err := d.value()
		if err != nil {
			return err
		}
		if raw == nil {
			return nil
		}
		name, err := d.text(raw)
		if err != nil {
			return err
		}
		if len(name) == 0 {
			return d.fault(raw, "the name is empty")
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
	switch kind := d.in.PeekKind(); kind {
	case '"':
		raw, err := d.value()
		if err != nil {
			return false, err
		}
		text, err := d.text(raw)
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
		raw, err := d.value()
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
		_, err := d.value()
		return false, err
	default:
		return false, d.wrongKind(want)
	}
}

func (d *decoder) tooLong(raw []byte, chars int) error {
	return d.fault(raw, "the value has %d characters, more than the %d that the API keeps", chars, MaxPropertyChars)
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
	var err error
	if d.scratch, err = jsontext.AppendQuote(d.scratch[:0], d.idProperty); err != nil {
		return invalid("the id property's name is not valid UTF-8")
	}
	d.beginProperty(d.scratch)
	if d.properties, err = jsontext.AppendQuote(d.properties, d.eventID); err != nil {
		return invalid("the event id, which stands in for the id property, is not valid UTF-8")
	}
	d.idValue = d.eventID
	return nil
}

func (d *decoder) readAssociations() error {
	if d.in.PeekKind() == 'n' {
		_, err := d.value()
		return err
	}
	if err := d.open('[', "an array or null"); err != nil {
		return err
	}
	for d.in.PeekKind() != ']' {
		if len(d.associations) > 0 {
			d.associations = append(d.associations, ',')
		}
		if err := d.readAssociation(); err != nil {
			return err
		}
	}
	return d.close()
}

// readAssociation reads {"to": {"id": …}, "types": […]}. Its members go out in this order, whatever theirs was.
func (d *decoder) readAssociation() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	d.target, d.types = d.target[:0], d.types[:0]
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch string(name) {
		case "to":
			err = d.readTarget()
		case "types":
			err = d.readTypes()
		default:
			err = d.unknownMember("to and types")
		}
		if err != nil {
			return err
		}
	}
	if len(d.target) == 0 {
		return d.faultAt(start, "to is missing")
	}
	if len(d.types) == 0 {
		return d.faultAt(start, "types is missing")
	}
	d.associations = append(d.associations, `{"to":{"id":`...)
	d.associations = append(d.associations, d.target...)
	d.associations = append(d.associations, `},"types":[`...)
	d.associations = append(d.associations, d.types...)
	d.associations = append(d.associations, `]}`...)
	return nil
}

// readTarget reads {"id": …} into d.target, as a quoted string.
func (d *decoder) readTarget() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if string(name) != "id" {
			return d.unknownMember("id")
		}
		switch d.in.PeekKind() {
		case '"':
			raw, err := d.value()
			if err != nil {
				return err
			}
			if text, err := d.text(raw); err != nil {
				return err
			} else if len(text) == 0 {
				return d.fault(raw, "the id is empty")
			}
			d.target = append(d.target, raw...)
		case '0':
			raw, err := d.value()
			if err != nil {
				return err
			}
			if !isDigits(raw) {
				return d.fault(raw, "want an id of digits only")
			}
			d.target = append(append(append(d.target, '"'), raw...), '"')
		default:
			return d.wrongKind("a string or a number")
		}
	}
	if len(d.target) == 0 {
		return d.faultAt(start, "id is missing")
	}
	return nil
}

// readTypes reads the array of an association's types, at least one, into d.types.
func (d *decoder) readTypes() error {
	if err := d.open('[', "an array"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for d.in.PeekKind() != ']' {
		category, id, err := d.readType()
		if err != nil {
			return err
		}
		if len(d.types) > 0 {
			d.types = append(d.types, ',')
		}
		d.types = append(d.types, `{"associationCategory":"`...)
		d.types = append(d.types, category...)
		d.types = append(d.types, `","associationTypeId":`...)
		d.types = strconv.AppendInt(d.types, id, 10)
		d.types = append(d.types, '}')
	}
	if err := d.close(); err != nil {
		return err
	}
	if len(d.types) == 0 {
		return d.faultAt(start, "want at least one type")
	}
	return nil
}

func (d *decoder) readType() (category string, id int64, err error) {
	if err := d.open('{', "an object"); err != nil {
		return "", 0, err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return "", 0, err
		}
		if !more {
			break
		}
		switch string(name) {
		case "associationCategory":
			text, err := d.readString()
			if err != nil {
				return "", 0, err
			}
			if category = categoryOf(text); category == "" {
				return "", 0, d.faultAt(d.in.InputOffset()-1,
					"want HUBSPOT_DEFINED, INTEGRATOR_DEFINED, USER_DEFINED or WORK")
			}
		case "associationTypeId":
			if d.in.PeekKind() != '0' {
				return "", 0, d.wrongKind("an integer")
			}
			raw, err := d.value()
			if err != nil {
				return "", 0, err
			}
			if isDigits(raw) {
				id, err = strconv.ParseInt(string(raw), 10, 32)
			}
			if err != nil || id < 1 {
				return "", 0, d.fault(raw, "want an integer from 1 to %d", maxAssociationTypeID)
			}
		default:
			return "", 0, d.unknownMember("associationCategory and associationTypeId")
		}
	}
	switch {
	case category == "":
		return "", 0, d.faultAt(start, "associationCategory is missing")
	case id == 0:
		return "", 0, d.faultAt(start, "associationTypeId is missing")
	}
	return category, id, nil
}

// categoryOf returns the API's own name, which costs no memory, or "".
func categoryOf(text []byte) string {
	for _, category := range [...]string{"HUBSPOT_DEFINED", "INTEGRATOR_DEFINED", "USER_DEFINED", "WORK"} {
		if string(text) == category {
			return category
		}
	}
	return ""
}

// open reads the token that opens an object or an array; want names it in the fault if another value is there.
func (d *decoder) open(kind jsontext.Kind, want string) error {
	if d.in.PeekKind() != kind {
		return d.wrongKind(want)
	}
	return d.close()
}

// close reads the token that PeekKind has seen, which opens or closes something.
func (d *decoder) close() error {
	if _, err := d.in.ReadToken(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// member reads the next member's name; more is false, and the object closed, when there is none. The name is good until
// the next read.
func (d *decoder) member() (name []byte, more bool, err error) {
	raw, err := d.value()
	if raw == nil || err != nil {
		return nil, false, err
	}
	name, err = d.text(raw)
	return name, true, err
}

// value reads a scalar or a member's name, as it is written; nil when the object ends, which is then closed. It is good
// until the next read. It must not be called before an array or an object: those would be read whole.
func (d *decoder) value() ([]byte, error) {
	if d.in.PeekKind() == '}' {
		return nil, d.close()
	}
	raw, err := d.in.ReadValue()
	if err != nil {
		return nil, d.syntax(err)
	}
	return raw, nil
}

func (d *decoder) readString() ([]byte, error) {
	if d.in.PeekKind() != '"' {
		return nil, d.wrongKind("a string")
	}
	raw, err := d.value()
	if err != nil {
		return nil, err
	}
	return d.text(raw)
}

// text is what a string says. jsontext has checked its UTF-8 and its surrogates. The answer is good until the next call.
func (d *decoder) text(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var err error
	if d.scratch, err = jsontext.AppendUnquote(d.scratch[:0], raw); err != nil {
		return nil, d.syntax(err)
	}
	if bytes.IndexByte(d.scratch, 0) >= 0 {
		return nil, d.fault(raw, `\u0000 can't be stored by the CRM`)
	}
	return d.scratch, nil
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func invalid(format string, args ...any) error {
	return &InvalidEventError{Message: fmt.Sprintf(format, args...)}
}

// fault reports what is wrong with raw, the last thing read.
func (d *decoder) fault(raw []byte, format string, args ...any) error {
	return d.faultAt(d.in.InputOffset()-int64(len(raw)), format, args...)
}

// faultAt reports what is wrong with the value read last, or the one that is open.
func (d *decoder) faultAt(offset int64, format string, args ...any) error {
	return invalid("%s: %s (byte %d)", pathOf(d.in.StackPointer()), fmt.Sprintf(format, args...), offset)
}

func (d *decoder) unknownMember(known string) error {
	return d.faultAt(d.in.InputOffset()-1, "unknown member; known are %s", known)
}

// wrongKind reports the value that comes next. Only its first token is read, however much it holds.
func (d *decoder) wrongKind(want string) error {
	kind := d.in.PeekKind()
	if _, err := d.in.ReadToken(); err != nil {
		return d.syntax(err)
	}
	found := map[jsontext.Kind]string{
		'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
	}[kind]
	return d.faultAt(d.in.InputOffset()-1, "found %s, want %s", found, want)
}

// syntax makes a fault of what jsontext found wrong.
func (d *decoder) syntax(err error) error {
	if err == io.EOF {
		return invalid("the event is empty")
	}
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		return invalid("not JSON: %s", strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
	path, offset := pathOf(syntactic.JSONPointer), syntactic.ByteOffset
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalid("%s: the member appears twice (byte %d)", path, offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("%s: not JSON: the event ends too early (byte %d)", path, offset)
	default:
		return invalid("%s: not JSON: %s (byte %d)", path, strings.ToValidUTF8(syntactic.Err.Error(), "\uFFFD"), offset)
	}
}

// maxNameInPath bounds what a message shows of one name: a name can be as long as the event.
const maxNameInPath = 80

// pathOf writes a JSON pointer as people write paths: properties.amount, associations[0].types[1]. Only arrays under
// associations are ever entered, so digits mean an index there and a name elsewhere.
func pathOf(pointer jsontext.Pointer) string {
	var path strings.Builder
	first := ""
	for name := range pointer.Tokens() {
		if path.Len() == 0 {
			first = name
		} else if first == "associations" && isDigits([]byte(name)) {
			path.WriteString("[" + name + "]")
			continue
		}
		cut := name
		if utf8.RuneCountInString(name) > maxNameInPath {
			cut = string([]rune(name)[:maxNameInPath]) + "…"
		}
		switch plain := isPlain(cut); {
		case plain && path.Len() > 0:
			path.WriteString("." + cut)
		case plain:
			path.WriteString(cut)
		default:
			path.WriteString("[" + strconv.Quote(cut) + "]")
		}
	}
	if path.Len() == 0 {
		return "the event"
	}
	return path.String()
}

// isPlain tells whether a name can stand in a path without quotes.
func isPlain(name string) bool {
	for i := range len(name) {
		if !isTokenByte(name[i]) {
			return false
		}
	}
	return name != ""
}
