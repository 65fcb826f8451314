package hubspot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	in    reader
	body  []byte
	index map[string]int // the inputs by trace id

	status              string
	results             []result
	errors              []apiError
	hasResults          bool     // there is an array of results, were it empty
	numErrors           bool     // numErrors says that there are some
	top                 apiError // the body itself as an error object
	policy, correlation string
}

// result is one element of results.
type result struct {
	raw, properties, warnings []byte // as received
	id, trace, url, createdAt []byte
	contradictory             bool // a member is there twice, with two values
}

func (d *document) reset(body []byte, index map[string]int) {
	d.in.begin(body)
	d.body, d.index = body, index
	d.status, d.policy, d.correlation = "", "", ""
	clear(d.results)
	clear(d.errors)
	d.results, d.errors = d.results[:0], d.errors[:0]
	d.hasResults, d.numErrors = false, false
	d.top = apiError{}
}

func (d *document) release() {
	d.reset(nil, nil)
	d.in.release()
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
	if err == nil && len(bytes.TrimLeft(body[d.in.json.InputOffset():], " \t\r\n")) > 0 {
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
	if d.in.json.PeekKind() != '{' {
		return errNoObject
	}
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	for {
		name, more, err := d.in.member()
		if !more || err != nil {
			return err
		}
		switch string(name) {
		case "results":
			err = d.readResults()
		case "errors":
			err = d.readErrors(&d.errors)
		case "status":
			d.status, err = d.in.readText()
		case "numErrors":
			var n []byte
			n, _, err = d.in.scalar()
			d.numErrors = len(n) > 0 && string(n) != "0"
		case "policyName":
			d.policy, err = d.in.readText()
		case "correlationId":
			d.correlation, err = d.in.readText()
		default:
			err = d.readErrorMember(&d.top, name)
		}
		if err != nil {
			return err
		}
	}
}

func (d *document) readResults() error {
	if d.in.json.PeekKind() != '[' {
		return d.in.skipNull()
	}
	d.hasResults = true
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	for d.in.json.PeekKind() != ']' {
		if len(d.results) == maxResults {
			return errTooMany
		}
		d.results = append(d.results, result{})
		if err := d.readResult(&d.results[len(d.results)-1]); err != nil {
			return err
		}
	}
	_, err := d.in.json.ReadToken()
	return err
}

func (d *document) readResult(r *result) error {
	if d.in.json.PeekKind() != '{' {
		raw, err := d.in.value()
		r.raw = raw
		return err
	}
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	start := d.in.json.InputOffset() - 1
	for {
		name, more, err := d.in.member()
		if err != nil {
			return err
		}
		if !more {
			r.raw = d.body[start:d.in.json.InputOffset()]
			return nil
		}
		switch string(name) {
		case "id":
			err = d.readOnce(&r.id, r)
		case "objectWriteTraceId":
			err = d.readOnce(&r.trace, r)
		case "url":
			r.url, _, err = d.in.scalar()
		case "createdAt":
			r.createdAt, _, err = d.in.scalar()
		case "properties":
			r.properties, err = d.in.value()
		case "warnings":
			r.warnings, err = d.in.value()
		default:
			_, err = d.in.value()
		}
		if err != nil {
			return err
		}
	}
}

// readOnce reads a member that says who somebody is: a second one with another value is a contradiction.
func (d *document) readOnce(dst *[]byte, r *result) error {
	text, _, err := d.in.scalar()
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
	d.in.within(r.properties)
	if _, err := d.in.json.ReadToken(); err != nil {
		return ""
	}
	for {
		member, more, err := d.in.member()
		if !more || err != nil {
			return ""
		}
		if string(member) == name {
			text, _, _ := d.in.scalar()
			return string(text)
		}
		if _, err := d.in.value(); err != nil {
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
	d.in.within(r.properties)
	if _, err := d.in.json.ReadToken(); err != nil {
		return found
	}
	for {
		member, more, err := d.in.member()
		if !more || err != nil {
			return found
		}
		name := string(member)
		text, _, err := d.in.scalar()
		if err != nil {
			return found
		}
		if _, twice := found[name]; text != nil && !twice && slices.Contains(names, name) {
			found[name] = string(text)
		}
	}
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
