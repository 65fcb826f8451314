package hubspottest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxInputs     = 100
	maxValueChars = 65536
)

// parser reads request bodies. It is reused, and what it has read points into its body.
type parser struct {
	src    bytes.Buffer // the body; jsontext reads a *bytes.Buffer's bytes in place
	in     jsontext.Decoder
	body   []byte
	member []byte // the name that object has just read, as received

	inputs []input
	props  []prop
	values [][]byte // of a read: the ids asked for
	wanted [][]byte // of a read: the properties asked for
	idProp string
	seen   map[string]struct{}
}

// input is one element of a create call's inputs.
type input struct {
	trace    []byte // the trace id as received, in quotes; nil if there is none
	from, to int    // its properties, in parser.props
	links    []Association
}

// prop is one property of an input: name and value as received, in quotes.
type prop struct {
	name, value []byte
	declared    *property // nil if the object type does not declare it
}

func (p *parser) reset(body []byte) {
	p.body = body
	p.src = *bytes.NewBuffer(body)
	p.in.Reset(&p.src)
	p.inputs, p.props, p.values, p.wanted, p.idProp = p.inputs[:0], p.props[:0], p.values[:0], p.wanted[:0], ""
	if p.seen == nil {
		p.seen = make(map[string]struct{}, maxInputs)
	}
	clear(p.seen)
}

func (p *parser) of(in input) []prop { return p.props[in.from:in.to] }

// multi: the answer may speak for each input, as every input has a trace id.
func (p *parser) multi() bool {
	for _, in := range p.inputs {
		if in.trace == nil {
			return false
		}
	}
	return true
}

// create reads the body of a batch create. The error says what is wrong with its shape.
func (p *parser) create() error {
	err := p.object("the body", []string{"inputs"}, func(name []byte) error {
		if string(name) != "inputs" {
			return unknown(name)
		}
		return p.array("inputs", p.input)
	})
	if err != nil {
		return err
	}
	return p.end()
}

func (p *parser) input() error {
	in := input{from: len(p.props)}
	err := p.object("an input", []string{"associations", "properties"}, func(name []byte) (err error) {
		switch string(name) {
		case "properties":
			err = p.object("properties", nil, p.property)
		case "associations":
			err = p.array("associations", func() error { return p.association(&in) })
		case "objectWriteTraceId":
			in.trace, err = p.unique("objectWriteTraceId")
		default:
			err = unknown(name)
		}
		return err
	})
	in.to = len(p.props)
	p.inputs = append(p.inputs, in)
	if len(p.inputs) > maxInputs {
		return errTooMany
	}
	return err
}

//lint:ignore ST1005 the API's own words
var errTooMany = errors.New("The maximum number of inputs supported in a batch is 100")

// unique reads a string that no other input has; an empty one counts as none.
func (p *parser) unique(what string) ([]byte, error) {
	raw, err := p.text(what)
	if err != nil || len(raw) == 2 {
		return nil, err
	}
	key := string(unquote(raw))
	if _, twice := p.seen[key]; twice {
		return nil, fmt.Errorf("%s %q is not unique in the request", what, key)
	}
	p.seen[key] = struct{}{}
	return raw, nil
}

func (p *parser) property(name []byte) error {
	raw := p.member
	value, err := p.text("a property's value")
	if err != nil {
		return err
	}
	p.props = append(p.props, prop{name: raw, value: value})
	return nil
}

func (p *parser) association(in *input) error {
	var a Association
	err := p.object("an association", []string{"to", "types"}, func(name []byte) error {
		switch string(name) {
		case "to":
			return p.object("to", []string{"id"}, func(name []byte) error {
				if string(name) != "id" {
					return unknown(name)
				}
				id, err := p.text("the id of an association's target")
				if err == nil && len(id) == 2 {
					err = errors.New("the id of an association's target is empty")
				}
				if err == nil {
					a.To = string(unquote(id))
				}
				return err
			})
		case "types":
			err := p.array("types", func() error {
				var kind AssociationType
				err := p.object("a type", []string{"associationCategory", "associationTypeId"}, func(name []byte) error {
					return p.associationType(&kind, name)
				})
				a.Types = append(a.Types, kind)
				return err
			})
			if err == nil && a.Types == nil {
				err = errors.New("an association has no types")
			}
			return err
		}
		return unknown(name)
	})
	in.links = append(in.links, a)
	return err
}

func (p *parser) associationType(kind *AssociationType, name []byte) error {
	switch string(name) {
	case "associationCategory":
		category, err := p.text("associationCategory")
		if err != nil {
			return err
		}
		switch kind.Category = string(unquote(category)); kind.Category {
		case "HUBSPOT_DEFINED", "INTEGRATOR_DEFINED", "USER_DEFINED", "WORK":
			return nil
		}
		return fmt.Errorf(
			"associationCategory %s is none of HUBSPOT_DEFINED, INTEGRATOR_DEFINED, USER_DEFINED, WORK", category)
	case "associationTypeId":
		if p.in.PeekKind() != '0' {
			return p.wrong("associationTypeId", "an integer")
		}
		raw, err := p.raw()
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(string(raw), 10, 32)
		if err != nil || id < 1 {
			return fmt.Errorf("associationTypeId %s is not a positive 32-bit integer", raw)
		}
		kind.TypeID = int(id)
		return nil
	}
	return unknown(name)
}

// read reads the body of a batch read.
func (p *parser) read() error {
	err := p.object("the body", []string{"inputs", "properties", "propertiesWithHistory"}, func(name []byte) error {
		switch string(name) {
		case "idProperty":
			raw, err := p.text("idProperty")
			if err == nil {
				p.idProp = string(unquote(raw))
			}
			return err
		case "inputs":
			return p.array("inputs", func() error {
				err := p.object("an input", []string{"id"}, func(name []byte) error {
					if string(name) != "id" {
						return unknown(name)
					}
					raw, err := p.unique("id")
					if err == nil && raw == nil {
						err = errors.New("an id is empty")
					}
					p.values = append(p.values, raw)
					return err
				})
				if len(p.values) > maxInputs {
					return errTooMany
				}
				return err
			})
		case "properties":
			return p.names("properties", &p.wanted)
		case "propertiesWithHistory":
			var ignored [][]byte
			return p.names("propertiesWithHistory", &ignored)
		}
		return unknown(name)
	})
	if err != nil {
		return err
	}
	return p.end()
}

func (p *parser) names(what string, into *[][]byte) error {
	return p.array(what, func() error {
		raw, err := p.text("a property's name")
		if !slices.ContainsFunc(*into, func(other []byte) bool { return bytes.Equal(other, raw) }) {
			*into = append(*into, raw)
		}
		return err
	})
}

// end makes sure that nothing follows and that there are inputs.
func (p *parser) end() error {
	if rest := bytes.TrimLeft(p.body[p.in.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return errors.New("something follows the object, or it is not complete")
	}
	if len(p.inputs)+len(p.values) == 0 {
		return errors.New("inputs must not be empty")
	}
	return nil
}

// object reads an object. It calls field for each member, with the name unquoted, to read the value. The
// required members, at most eight, must be there.
func (p *parser) object(what string, required []string, field func(name []byte) error) error {
	if p.in.PeekKind() != '{' {
		return p.wrong(what, "an object")
	}
	if _, err := p.in.ReadToken(); err != nil {
		return err
	}
	var found uint8
	for p.in.PeekKind() != '}' {
		raw, err := p.raw()
		if err != nil {
			return err
		}
		p.member = raw
		name := unquote(raw)
		for i, want := range required {
			if want == string(name) {
				found |= 1 << i
			}
		}
		if err := field(name); err != nil {
			return err
		}
	}
	for i, want := range required {
		if found&(1<<i) == 0 {
			return fmt.Errorf("%s has no %s", what, want)
		}
	}
	_, err := p.in.ReadToken()
	return err
}

// array reads an array. It calls element for each of its values, to read it.
func (p *parser) array(what string, element func() error) error {
	if p.in.PeekKind() != '[' {
		return p.wrong(what, "an array")
	}
	if _, err := p.in.ReadToken(); err != nil {
		return err
	}
	for p.in.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := p.in.ReadToken()
	return err
}

// text reads a string and returns it as received, in quotes.
func (p *parser) text(what string) ([]byte, error) {
	if p.in.PeekKind() != '"' {
		return nil, p.wrong(what, "a string")
	}
	return p.raw()
}

// raw reads any value, a member's name included. The bytes stay valid as long as the body.
func (p *parser) raw() ([]byte, error) {
	v, err := p.in.ReadValue()
	if err != nil {
		return nil, err
	}
	end := p.in.InputOffset()
	return p.body[end-int64(len(v)) : end], nil
}

// wrong is the error of a value that is not of the kind that is wanted, or is no JSON at all.
func (p *parser) wrong(what, want string) error {
	if p.in.PeekKind() == 0 {
		if _, err := p.in.ReadToken(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is not %s (byte %d)", what, want, p.in.InputOffset())
}

func unknown(name []byte) error { return fmt.Errorf("unrecognized field %q", name) }

// unquote returns the text of a JSON string that is known to be valid. It points into raw if raw has no escapes.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, raw)
	return text
}

// tooLong: the value, in quotes, has more characters than a text may have.
func tooLong(raw []byte) bool {
	return len(raw) > maxValueChars+2 && utf8.RuneCount(unquote(raw)) > maxValueChars
}
