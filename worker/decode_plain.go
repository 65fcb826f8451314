package worker

import (
	"bytes"
	"unicode/utf8"

	"crmintake/worker/plainjson"
)

// plain is a short cut for the usual event, of a few dozen properties without odd escapes, past jsontext: half the cost. It knows no
// faults: what is not plain, or not right, it declines, and d.event reads all of it. What it takes d.event would take, and it
// leaves d the same.
func (d *decoder) plain(payload []byte) bool {
	s := plainjson.Scanner{Text: payload}
	if !utf8.Valid(payload) || !s.Next('{') {
		return false
	}
	var properties, associations, trace bool
	for {
		name, ok := s.Name()
		switch {
		case !ok:
		case string(name) == `"properties"` && !properties:
			properties, ok = true, d.plainProperties(&s)
		case string(name) == `"associations"` && !associations:
			associations, ok = true, d.plainAssociations(&s)
		case string(name) == `"objectWriteTraceId"` && !trace:
			trace, ok = true, d.plainTrace(&s)
		default:
			ok = false
		}
		if !ok {
			return false
		}
		if !s.Next(',') {
			break
		}
	}
	if !s.Next('}') || !s.End() || !properties {
		return false
	}
	return d.idProperty == "" || d.idSet || d.putEventID() == nil
}

// maxPlainNames bounds the properties of a plain event, for each name is compared with all before it.
const maxPlainNames = 64

func (d *decoder) plainProperties(s *plainjson.Scanner) bool {
	if !s.Next('{') {
		return false
	}
	if s.Next('}') {
		return true
	}
	for {
		s.Peek()
		from := s.At
		name, ok := s.Name()
		if !ok || len(name) == len(`""`) || len(d.names) == maxPlainNames {
			return false
		}
		for _, other := range d.names {
			if string(other) == string(name) {
				return false
			}
		}
		d.names = append(d.names, name)
		if !d.plainProperty(s, from, name) {
			return false
		}
		if !s.Next(',') {
			return s.Next('}')
		}
	}
}

// plainProperty reads the value of the property that begins with its name, at from.
func (d *decoder) plainProperty(s *plainjson.Scanner, from int, name []byte) bool {
	value, ok := s.Scalar()
	if !ok || len(value) > MaxPropertyChars {
		return false
	}
	isString := value[0] == '"'
	if value[0] != 'n' && d.idProperty != "" && string(unquoted(name)) == d.idProperty {
		text := value
		if isString {
			text = unquoted(value)
		}
		if bytes.IndexByte(text, '\\') >= 0 {
			return false
		}
		if len(text) == 0 {
			return true
		}
		d.idSet, d.idValue = true, string(text)
	}
	switch {
	case value[0] == 'n':
	case !isString:
		d.beginProperty(name)
		d.properties = append(d.properties, '"')
		d.properties = append(d.properties, value...)
		d.properties = append(d.properties, '"')
	case s.At-from == len(name)+len(":")+len(value): // without white space it goes out as it is
		if len(d.properties) > 0 {
			d.properties = append(d.properties, ',')
		}
		d.properties = append(d.properties, s.Text[from:s.At]...)
	default:
		d.beginProperty(name)
		d.properties = append(d.properties, value...)
	}
	return true
}

func unquoted(raw []byte) []byte { return raw[1 : len(raw)-1] }

func (d *decoder) plainTrace(s *plainjson.Scanner) bool {
	raw, ok := s.Scalar()
	if !ok || raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return false
	}
	d.traceID = string(unquoted(raw))
	return true
}

// plainAssociations leaves to jsontext what is not an empty array.
func (d *decoder) plainAssociations(s *plainjson.Scanner) bool {
	start := s.At
	if s.Next('[') && s.Next(']') {
		return true
	}
	d.read(s.Text[start:])
	if d.readAssociations() != nil {
		return false
	}
	s.At = start + int(d.in.InputOffset())
	return true
}
