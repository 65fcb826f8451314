package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// reader reads an event's JSON token by token, and words what is wrong with it. Its zero value reads nothing.
type reader struct {
	src     bytes.Buffer // jsontext reads a *bytes.Buffer's bytes in place
	json    jsontext.Decoder
	reading bool   // src has a payload, or a part of it
	scratch []byte // the last string that had escapes, without them
}

// read begins with b, which stays the caller's and must not change meanwhile.
func (r *reader) read(b []byte) {
	r.src = *bytes.NewBuffer(b)
	r.json.Reset(&r.src)
	r.reading = true
}

// release forgets what was read, and keeps the memory.
func (r *reader) release() {
	if r.reading {
		r.read(nil)
		r.reading = false
	}
	if cap(r.scratch) > maxKeptBuffer {
		r.scratch = nil
	}
}

// open reads the token that opens an object or an array; want names it in the fault if another value is there.
func (r *reader) open(kind jsontext.Kind, want string) error {
	if r.json.PeekKind() != kind {
		return r.wrongKind(want)
	}
	return r.close()
}

// close reads the token that PeekKind has seen, which opens or closes something.
func (r *reader) close() error {
	if _, err := r.json.ReadToken(); err != nil {
		return r.syntax(err)
	}
	return nil
}

// member reads the next member's name; more is false, and the object closed, when there is none. The name is good until
// the next read.
func (r *reader) member() (name []byte, more bool, err error) {
	raw, err := r.value()
	if raw == nil || err != nil {
		return nil, false, err
	}
	name, err = r.text(raw)
	return name, true, err
}

// value reads a scalar or a member's name, as it is written; nil when the object ends, which is then closed. It is good
// until the next read. It must not be called before an array or an object: those would be read whole.
func (r *reader) value() ([]byte, error) {
	if r.json.PeekKind() == '}' {
		return nil, r.close()
	}
	raw, err := r.json.ReadValue()
	if err != nil {
		return nil, r.syntax(err)
	}
	return raw, nil
}

func (r *reader) readString() ([]byte, error) {
	if r.json.PeekKind() != '"' {
		return nil, r.wrongKind("a string")
	}
	raw, err := r.value()
	if err != nil {
		return nil, err
	}
	return r.text(raw)
}

// text is what a string says. jsontext has checked its UTF-8 and its surrogates. The answer is good until the next
// call.
func (r *reader) text(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var err error
	if r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], raw); err != nil {
		return nil, r.syntax(err)
	}
	if bytes.IndexByte(r.scratch, 0) >= 0 {
		return nil, r.fault(raw, `\u0000 can't be stored by the CRM`)
	}
	return r.scratch, nil
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
	return &InvalidError{Message: fmt.Sprintf(format, args...)}
}

// fault reports what is wrong with raw, the last thing read.
func (r *reader) fault(raw []byte, format string, args ...any) error {
	return r.faultAt(r.json.InputOffset()-int64(len(raw)), format, args...)
}

// faultAt reports what is wrong with the value read last, or the one that is open.
func (r *reader) faultAt(offset int64, format string, args ...any) error {
	return invalid("%s: %s (byte %d)", pathOf(r.json.StackPointer()), fmt.Sprintf(format, args...), offset)
}

func (r *reader) unknownMember(known string) error {
	return r.faultAt(r.json.InputOffset()-1, "unknown member; known are %s", known)
}

// wrongKind reports the value that comes next. Only its first token is read, however much it holds.
func (r *reader) wrongKind(want string) error {
	kind := r.json.PeekKind()
	if _, err := r.json.ReadToken(); err != nil {
		return r.syntax(err)
	}
	found := map[jsontext.Kind]string{
		'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
	}[kind]
	return r.faultAt(r.json.InputOffset()-1, "found %s, want %s", found, want)
}

// syntax makes a fault of what jsontext found wrong.
func (r *reader) syntax(err error) error {
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

// isPlain: the name can stand in a path without quotes.
func isPlain(name string) bool {
	for i := range len(name) {
		if !isTokenByte(name[i]) {
			return false
		}
	}
	return name != ""
}
