package hubspot

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// reader reads JSON value by value, leniently: doubled members are found where they matter, and what isn't UTF-8
// becomes U+FFFD in what is decoded and stays in what is kept. What it returns points into the text, or into memory
// that begin reuses.
type reader struct {
	src     bytes.Buffer // jsontext reads a *bytes.Buffer's bytes in place
	json    jsontext.Decoder
	scratch []byte // strings that had escapes, without them
}

var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// begin reads text from now on. What was returned before is good no longer.
func (r *reader) begin(text []byte) {
	r.scratch = r.scratch[:0]
	r.within(text)
}

// within reads a part of the text; what was returned before stays good.
func (r *reader) within(part []byte) {
	r.src = *bytes.NewBuffer(part)
	r.json.Reset(&r.src, lenient...)
}

func (r *reader) release() {
	r.begin(nil)
	if cap(r.scratch) > maxKeptBuffer {
		r.scratch = nil
	}
}

// skipNull skips null where a list should be. Anything else there can't be accounted for.
func (r *reader) skipNull() error {
	kind := r.json.PeekKind()
	if _, err := r.json.ReadValue(); err != nil {
		return err
	}
	if kind != 'n' {
		return errors.New("results or errors are no array")
	}
	return nil
}

// member reads the next member's name; more is false, and the object closed, when there is none.
func (r *reader) member() (name []byte, more bool, err error) {
	if r.json.PeekKind() == '}' {
		_, err := r.json.ReadToken()
		return nil, false, err
	}
	raw, err := r.json.ReadValue()
	if err != nil {
		return nil, false, err
	}
	return r.unquote(raw), true, nil
}

// value reads the next value as it is written.
func (r *reader) value() ([]byte, error) {
	return r.json.ReadValue() // which is a part of the body, for a *bytes.Buffer's bytes are never moved or changed
}

// scalar reads the next value and returns what a string says, or a number's digits or a boolean's letters; nil for
// null, and nil and not ok for an object or an array.
func (r *reader) scalar() (text []byte, ok bool, err error) {
	raw, err := r.value()
	if err != nil {
		return nil, false, err
	}
	switch raw[0] {
	case '"':
		return r.unquote(raw), true, nil
	case 'n':
		return nil, true, nil
	case '{', '[':
		return nil, false, nil
	}
	return raw, true, nil
}

// readText is scalar for what is kept.
func (r *reader) readText() (string, error) {
	text, _, err := r.scalar()
	return string(text), err
}

func (r *reader) unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	start := len(r.scratch)
	// It fails only for what is no UTF-8, which it replaces.
	r.scratch, _ = jsontext.AppendUnquote(r.scratch, raw)
	return r.scratch[start:len(r.scratch):len(r.scratch)]
}

// readWords reads an array of scalars, or one scalar.
func (r *reader) readWords(word func(string)) error {
	if r.json.PeekKind() != '[' {
		text, _, err := r.scalar()
		if text != nil {
			word(string(text))
		}
		return err
	}
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for r.json.PeekKind() != ']' {
		text, _, err := r.scalar()
		if err != nil {
			return err
		}
		if text != nil {
			word(string(text))
		}
	}
	_, err := r.json.ReadToken()
	return err
}
