package hubspottest

import (
	"regexp"
	"strings"
)

// Fold puts a value into the form in which an account keeps it. Several in one are a function of one's own.
type Fold func(value string) string

var number = regexp.MustCompile(`^([+-]?)0*(\d+)(\.\d*)?$`)

// FoldNumber leaves out the zeros that a number does not need: 0007 is kept as 7, and 1.50 as 1.5. What is no number
// stays as it is.
func FoldNumber(value string) string {
	m := number.FindStringSubmatch(value)
	if m == nil {
		return value
	}
	return strings.TrimPrefix(m[1], "+") + m[2] + strings.TrimSuffix(strings.TrimRight(m[3], "0"), ".")
}

// FoldTrim leaves out white space around a value.
func FoldTrim(value string) string { return strings.TrimSpace(value) }

// FoldLower puts a value in lower case.
func FoldLower(value string) string { return strings.ToLower(value) }

// FoldSecondary takes an address for a secondary one of the contact whose primary address has nothing between plus
// sign and @, and keeps that: ann+work@x.y is Ann's, who is ann@x.y.
func FoldSecondary(value string) string {
	name, host, ok := strings.Cut(value, "@")
	if !ok {
		return value
	}
	name, _, _ = strings.Cut(name, "+")
	return name + "@" + host
}

const emailProperty = "email" // its values are kept in lower case

// kept returns a value, in quotes, as the account keeps it. The property is nil if the object type does not declare it.
func kept(p *property, name, value []byte) []byte {
	email := string(name) == emailProperty
	if !email && (p == nil || p.fold == nil) {
		return value
	}
	text := string(unquote(value))
	if email {
		text = strings.ToLower(text)
	}
	if p != nil && p.fold != nil {
		text = p.fold(text)
	}
	return quote(text)
}
