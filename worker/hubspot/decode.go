package hubspot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// More entries than these are no answer to MaxInputs inputs, and could fill the memory.
const (
	maxResults = 10 * MaxInputs
	maxErrors  = 100 * MaxInputs
)

// document is a decoded body of any status. Its byte slices point into the body, or into memory that is reused after
// the call. Members that are absent, null or of an unexpected type are empty; what is not needed is only checked for
// being JSON.
type document struct {
	src   bytes.Buffer // the body; jsontext reads a *bytes.Buffer's bytes in place
	in    jsontext.Decoder
	body  []byte
	index map[string]int // the inputs by trace id

	status              string
	results             []result
	errors              []fault
	hasResults          bool  // there is an array of results, were it empty
	numErrors           bool  // numErrors says that there are some
	top                 fault // the body itself as an error object
	policy, correlation string

	scratch []byte // strings that had escapes, without them
}

// result is one element of results.
type result struct {
	raw, properties, warnings []byte // as received
	id, trace, url, createdAt []byte
	contradictory             bool // a member is there twice, with two values
}

// lenient: doubled members are found where they matter, and what isn't UTF-8 becomes U+FFFD in what is decoded and
// stays in what is kept.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

func (d *document) reset(body []byte, index map[string]int) {
	d.src = *bytes.NewBuffer(body)
	d.in.Reset(&d.src, lenient...)
	d.body, d.index = body, index
	d.status, d.policy, d.correlation = "", "", ""
	clear(d.results)
	clear(d.errors)
	d.results, d.errors = d.results[:0], d.errors[:0]
	d.hasResults, d.numErrors = false, false
	d.top = fault{}
	d.scratch = d.scratch[:0]
}

func (d *document) release() {
	d.reset(nil, nil)
	if cap(d.scratch) > maxKeptBuffer {
		d.scratch = nil
	}
}

var (
	errNoObject = errors.New("the body is no JSON object")
	errTrailing = errors.New("something follows the body's object")
	errTooMany  = errors.New("more results or errors than any batch has")
)

// decode reads a whole body, which is to be one object and nothing after it. After an error results and errors are
// empty, and top is what could be read of it.
func (d *document) decode(body []byte, index map[string]int) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	d.reset(body, index)
	if d.plain(body) {
		d.top.raw = body
		return nil
	}
	d.reset(body, index)
	err := d.readTop()
	if err == nil && len(bytes.TrimLeft(body[d.in.InputOffset():], " \t\r\n")) > 0 {
		err = errTrailing
	}
	if err != nil {
		d.results, d.errors, d.hasResults = d.results[:0], d.errors[:0], false
		d.top.named, d.top.absent = nil, nil
		return fmt.Errorf("%w (%d bytes)", err, len(body))
	}
	d.top.raw = body
	return nil
}

func (d *document) readTop() error {
	if d.in.PeekKind() != '{' {
		return errNoObject
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for {
		name, more, err := d.member()
		if !more || err != nil {
			return err
		}
		switch string(name) {
		case "results":
			err = d.readResults()
		case "errors":
			err = d.readErrors(&d.errors)
		case "status":
			d.status, err = d.readText()
		case "numErrors":
			var n []byte
			n, _, err = d.scalar()
			d.numErrors = len(n) > 0 && string(n) != "0"
		case "policyName":
			d.policy, err = d.readText()
		case "correlationId":
			d.correlation, err = d.readText()
		default:
			err = d.readFaultMember(&d.top, name)
		}
		if err != nil {
			return err
		}
	}
}

func (d *document) readResults() error {
	if d.in.PeekKind() != '[' {
		return d.noList()
	}
	d.hasResults = true
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for d.in.PeekKind() != ']' {
		if len(d.results) == maxResults {
			return errTooMany
		}
		d.results = append(d.results, result{})
		if err := d.readResult(&d.results[len(d.results)-1]); err != nil {
			return err
		}
	}
	_, err := d.in.ReadToken()
	return err
}

// noList skips null where a list should be. Anything else there can't be accounted for.
func (d *document) noList() error {
	kind := d.in.PeekKind()
	if _, err := d.in.ReadValue(); err != nil {
		return err
	}
	if kind != 'n' {
		return errors.New("results or errors are no array")
	}
	return nil
}

func (d *document) readResult(r *result) error {
	if d.in.PeekKind() != '{' {
		raw, err := d.value()
		r.raw = raw
		return err
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			r.raw = d.body[start:d.in.InputOffset()]
			return nil
		}
		switch string(name) {
		case "id":
			err = d.readOnce(&r.id, r)
		case "objectWriteTraceId":
			err = d.readOnce(&r.trace, r)
		case "url":
			r.url, _, err = d.scalar()
		case "createdAt":
			r.createdAt, _, err = d.scalar()
		case "properties":
			r.properties, err = d.value()
		case "warnings":
			r.warnings, err = d.value()
		default:
			_, err = d.value()
		}
		if err != nil {
			return err
		}
	}
}

// readOnce reads a member that says who somebody is: a second one with another value is a contradiction.
func (d *document) readOnce(dst *[]byte, r *result) error {
	text, _, err := d.scalar()
	if *dst != nil && !bytes.Equal(*dst, text) {
		r.contradictory = true
	}
	*dst = text
	return err
}

// property finds the value of one of a result's properties, "" if there is none.
func (d *document) property(r *result, name string) string {
	if len(r.properties) == 0 || r.properties[0] != '{' {
		return ""
	}
	d.src = *bytes.NewBuffer(r.properties)
	d.in.Reset(&d.src, lenient...)
	if _, err := d.in.ReadToken(); err != nil {
		return ""
	}
	for {
		member, more, err := d.member()
		if !more || err != nil {
			return ""
		}
		if string(member) == name {
			text, _, _ := d.scalar()
			return string(text)
		}
		if _, err := d.value(); err != nil {
			return ""
		}
	}
}

// propertiesOf finds the values of those of a result's properties that have one.
func (d *document) propertiesOf(r *result, names []string) map[string]string {
	found := make(map[string]string, len(names))
	if len(r.properties) == 0 || r.properties[0] != '{' {
		return found
	}
	d.src = *bytes.NewBuffer(r.properties)
	d.in.Reset(&d.src, lenient...)
	if _, err := d.in.ReadToken(); err != nil {
		return found
	}
	for {
		member, more, err := d.member()
		if !more || err != nil {
			return found
		}
		name := string(member)
		text, _, err := d.scalar()
		if err != nil {
			return found
		}
		if _, twice := found[name]; text != nil && !twice && slices.Contains(names, name) {
			found[name] = string(text)
		}
	}
}

// member reads the next member's name; more is false, and the object closed, when there is none.
func (d *document) member() (name []byte, more bool, err error) {
	if d.in.PeekKind() == '}' {
		_, err := d.in.ReadToken()
		return nil, false, err
	}
	raw, err := d.in.ReadValue()
	if err != nil {
		return nil, false, err
	}
	return d.unquote(raw), true, nil
}

// value reads the next value as it is written.
func (d *document) value() ([]byte, error) {
	return d.in.ReadValue() // which is a part of the body, for a *bytes.Buffer's bytes are never moved or changed
}

// scalar reads the next value and returns what a string says, or a number's digits or a boolean's letters; nil for null,
// and nil and not ok for an object or an array.
func (d *document) scalar() (text []byte, ok bool, err error) {
	raw, err := d.value()
	if err != nil {
		return nil, false, err
	}
	switch raw[0] {
	case '"':
		return d.unquote(raw), true, nil
	case 'n':
		return nil, true, nil
	case '{', '[':
		return nil, false, nil
	}
	return raw, true, nil
}

// readText is scalar for what is kept.
func (d *document) readText() (string, error) {
	text, _, err := d.scalar()
	return string(text), err
}

func (d *document) unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	start := len(d.scratch)
	// It fails only for what is no UTF-8, which it replaces.
	d.scratch, _ = jsontext.AppendUnquote(d.scratch, raw)
	return d.scratch[start:len(d.scratch):len(d.scratch)]
}

// isCode compares the API's words, whatever their case.
func isCode(s string, codes ...string) bool {
	for _, code := range codes {
		if strings.EqualFold(s, code) {
			return true
		}
	}
	return false
}
