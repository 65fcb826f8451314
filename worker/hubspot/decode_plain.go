package hubspot

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"crmintake/worker/plainjson"
)

// plain is a short cut for the usual answer, which has results and no errors, past jsontext: six tenths of the cost.
// What is not plain it declines, and readTop reads all of it. What it takes readTop would take, and it leaves d the
// same.
func (d *document) plain(body []byte) bool {
	s := plainjson.Scanner{Text: body}
	if !utf8.Valid(body) || !s.Next('{') {
		return false
	}
	for {
		name, ok := s.Name()
		switch {
		case !ok:
		case string(name) == `"results"` && !d.hasResults:
			ok = d.plainResults(&s)
		case string(name) == `"status"`:
			var word []byte
			word, ok = plainScalar(&s)
			d.status = string(word)
		case string(name) == `"startedAt"`, string(name) == `"completedAt"`, string(name) == `"requestedAt"`:
			ok = s.Skip()
		default:
			ok = false
		}
		if !ok {
			return false
		}
		if !s.Next(',') {
			return s.Next('}') && s.End()
		}
	}
}

func (d *document) plainResults(s *plainjson.Scanner) bool {
	if !s.Next('[') {
		return false
	}
	d.hasResults = true
	if s.Next(']') {
		return true
	}
	d.results = slices.Grow(d.results, MaxInputs)
	for len(d.results) < maxResults {
		d.results = append(d.results, result{})
		if !plainResult(s, &d.results[len(d.results)-1]) {
			return false
		}
		if !s.Next(',') {
			return s.Next(']')
		}
	}
	return false
}

func plainResult(s *plainjson.Scanner, r *result) bool {
	if !s.Next('{') {
		return false
	}
	start := s.At - 1
	for {
		name, ok := s.Name()
		if !ok {
			return false
		}
		switch string(name) {
		case `"id"`:
			ok = plainOnce(s, &r.id)
		case `"objectWriteTraceId"`:
			ok = plainOnce(s, &r.trace)
		case `"url"`:
			r.url, ok = plainScalar(s)
		case `"createdAt"`:
			r.createdAt, ok = plainScalar(s)
		case `"properties"`:
			r.properties, ok = plainValue(s)
		case `"warnings"`:
			r.warnings, ok = plainValue(s)
		default:
			ok = s.Skip()
		}
		if !ok {
			return false
		}
		if !s.Next(',') {
			ok = s.Next('}')
			r.raw = s.Text[start:s.At]
			return ok
		}
	}
}

// plainOnce reads a member that says who somebody is. One that is there twice is for readOnce.
func plainOnce(s *plainjson.Scanner, dst *[]byte) (ok bool) {
	if *dst != nil {
		return false
	}
	*dst, ok = plainScalar(s)
	return ok
}

// plainScalar returns what a string without escapes says, or a number's digits or a boolean's letters.
func plainScalar(s *plainjson.Scanner) (text []byte, ok bool) {
	raw, ok := s.Scalar()
	if !ok || raw[0] == 'n' || bytes.IndexByte(raw, '\\') >= 0 {
		return nil, false
	}
	if raw[0] == '"' {
		return raw[1 : len(raw)-1], true
	}
	return raw, true
}

// plainValue returns a value as it is written.
func plainValue(s *plainjson.Scanner) (raw []byte, ok bool) {
	s.Peek()
	start := s.At
	ok = s.Skip()
	return s.Text[start:s.At], ok
}
