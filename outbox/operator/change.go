package operator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Change is what an edit does to the properties of an event. What it does not name stays byte for byte.
type Change struct {
	// from the first name to the second, with the value; where there is the first
	Rename map[string]string `json:"rename,omitempty"`
	Unset  []string          `json:"unset,omitempty"`
	Set    map[string]string `json:"set,omitempty"` // as strings, which is how values are sent
}

// Validate returns a *ChangeError if the change can't be meant.
func (c Change) Validate() error {
	named := map[string]bool{}
	name := func(n string) error {
		if n == "" {
			return &ChangeError{"a property without a name"}
		}
		if named[n] {
			return &ChangeError{fmt.Sprintf("the property %q is named twice", n)}
		}
		named[n] = true
		return nil
	}
	var errs []error
	for from, to := range c.Rename {
		errs = append(errs, name(from), name(to))
	}
	for _, n := range c.Unset {
		errs = append(errs, name(n))
	}
	for n := range c.Set {
		errs = append(errs, name(n))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if len(named) == 0 {
		return &ChangeError{"nothing to change"}
	}
	return nil
}

// ChangeError says what is wrong with a change, in words for the person who made it.
type ChangeError struct{ Message string }

func (e *ChangeError) Error() string { return e.Message }

// member is a member of a JSON object: its name, it as it is written, and where its value begins.
type member struct {
	name          string
	quoted, value []byte
	at            int
}

// Apply returns the payload with the change made: the same payload if it was made before. The error says why that can't
// be done.
func (c Change) Apply(payload []byte) ([]byte, error) {
	members, err := membersOf(payload)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(members, func(m member) bool { return m.name == "properties" })
	if at < 0 {
		return nil, errors.New("the event has no properties")
	}
	before := members[at].value
	properties, err := membersOf(before)
	if err != nil {
		return nil, fmt.Errorf("properties: %w", err)
	}
	after, err := c.apply(properties)
	if err != nil {
		return nil, err
	}
	if slices.EqualFunc(properties, after, func(a, b member) bool {
		return a.name == b.name && bytes.Equal(a.value,
			b.value)
	}) {
		return payload, nil
	}
	start := members[at].at
	return slices.Concat(payload[:start], written(after), payload[start+len(before):]), nil
}

func (c Change) apply(properties []member) ([]member, error) {
	var list []member
	for _, m := range properties {
		if to, ok := c.Rename[m.name]; ok {
			if slices.ContainsFunc(properties, func(m member) bool { return m.name == to }) {
				return nil, fmt.Errorf("it has the properties %q and %q, so the one can't be renamed to the other", m.name, to)
			}
			m = member{name: to, quoted: quote(to), value: m.value}
		}
		if value, ok := c.Set[m.name]; ok {
			m.value = quote(value)
		}
		if !slices.Contains(c.Unset, m.name) {
			list = append(list, m)
		}
	}
	var added []member
	for name, value := range c.Set {
		if !slices.ContainsFunc(list, func(m member) bool { return m.name == name }) {
			added = append(added, member{name: name, quoted: quote(name), value: quote(value)})
		}
	}
	slices.SortFunc(added, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return append(list, added...), nil
}

func quote(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s) // it fails only for what is no UTF-8, which it replaces
	return b
}

func written(members []member) []byte {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.quoted...), ':'), m.value...)
	}
	return append(b, '}')
}

// membersOf reads a JSON object, and nothing but one.
func membersOf(object []byte) ([]member, error) {
	in := jsontext.NewDecoder(bytes.NewBuffer(object)) // whose bytes it reads in place
	if in.PeekKind() != '{' {
		return nil, errors.New("it is no JSON object")
	}
	if _, err := in.ReadToken(); err != nil {
		return nil, err
	}
	var list []member
	for in.PeekKind() != '}' {
		quoted, err := in.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("it is no JSON: %w", err)
		}
		m := member{quoted: bytes.Clone(quoted)}
		name, err := jsontext.AppendUnquote(nil, quoted)
		if err != nil {
			return nil, fmt.Errorf("it is no JSON: %w", err)
		}
		value, err := in.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("it is no JSON: %w", err)
		}
		m.name, m.value, m.at = string(name), bytes.Clone(value), int(in.InputOffset())-len(value)
		list = append(list, m)
	}
	if _, err := in.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := in.ReadToken(); err != io.EOF {
		return nil, errors.New("something follows its object")
	}
	return list, nil
}
