package hubspot

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// redactor takes secrets out of what an answer says, in case that they are echoed there. The zero value hides nothing.
type redactor struct{ forms []string } // each way in which a secret may be written

// minSecret: a shorter token is no secret, and taking it out could break an answer.
const minSecret = 6

// How encoders write a token in a JSON string that escape what HTML minds, slashes, or both.
var (
	htmlSafe = strings.NewReplacer("=", `\u003d`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`,
		`"`, `\"`, `\`, `\\`)
	slashed = strings.NewReplacer("/", `\/`, `"`, `\"`, `\`, `\\`)
	both    = strings.NewReplacer("/", `\/`, "=", `\u003d`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`,
		`"`, `\"`, `\`, `\\`)
)

func newRedactor(token string) (r redactor) {
	if len(token) < minSecret {
		return r
	}
	r.forms = []string{token}
	if strings.ContainsAny(token, `=&<>'"/\`) {
		r.forms = append(r.forms, htmlSafe.Replace(token), slashed.Replace(token), both.Replace(token),
			url.QueryEscape(token))
	}
	r.forms = slices.Compact(r.forms)
	return r
}

// bytes returns b itself when there is nothing to hide.
func (r redactor) bytes(b []byte) []byte {
	for _, form := range r.forms {
		if bytes.Contains(b, []byte(form)) {
			b = bytes.ReplaceAll(b, []byte(form), []byte(redacted))
		}
	}
	return b
}

func (r redactor) text(s string) string {
	for _, form := range r.forms {
		s = strings.ReplaceAll(s, form, redacted)
	}
	return s
}

func (r redactor) line(s string) string { return oneLine(r.text(s)) }
