package hubspot

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// redactor takes a token out of what an answer says, in case that it is echoed there.
type redactor struct{ forms []*form }

// minSecret: a shorter token is no secret, and taking it out could break an answer.
const minSecret = 6

// How encoders write a token in a JSON string that escape what HTML minds, slashes, or both.
var (
	htmlSafe = strings.NewReplacer("=", `\u003d`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`, `"`, `\"`, `\`, `\\`)
	slashed  = strings.NewReplacer("/", `\/`, `"`, `\"`, `\`, `\\`)
	both     = strings.NewReplacer("/", `\/`, "=", `\u003d`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`, `"`, `\"`, `\`, `\\`)
)

func newRedactor(token string) (r redactor) {
	if len(token) < minSecret {
		return r
	}
	forms := []string{token}
	if strings.ContainsAny(token, `=&<>'"/\`) {
		forms = append(forms, htmlSafe.Replace(token), slashed.Replace(token), both.Replace(token), url.QueryEscape(token))
	}
	for _, text := range slices.Compact(forms) {
		r.forms = append(r.forms, newForm(text))
	}
	return r
}

// bytes returns b itself when there is nothing to hide.
func (r redactor) bytes(b []byte) []byte {
	for _, f := range r.forms {
		if f.in(b) {
			b = bytes.ReplaceAll(b, []byte(f.text), []byte(redacted))
		}
	}
	return b
}

func (r redactor) text(s string) string {
	for _, f := range r.forms {
		s = strings.ReplaceAll(s, f.text, redacted)
	}
	return s
}

func (r redactor) line(s string) string { return oneLine(r.text(s)) }

// form is one way to write a token. Every answer is searched for it, nearly always in vain, and a token is long: Horspool's search
// looks at few bytes of the answer, where bytes.Contains stops at each that the token begins with.
type form struct {
	text string
	step [256]int // by the last byte of a place where the token is not: how far the next place is where it can be
}

func newForm(text string) *form {
	f := &form{text: text}
	last := len(text) - 1
	for c := range f.step {
		f.step[c] = len(text)
	}
	for i := range last {
		f.step[text[i]] = last - i
	}
	return f
}

// in tells whether b has the form.
func (f *form) in(b []byte) bool {
	n := len(f.text)
	for end := n; end <= len(b); end += f.step[b[end-1]] {
		if b[end-1] == f.text[n-1] && string(b[end-n:end]) == f.text {
			return true
		}
	}
	return false
}
