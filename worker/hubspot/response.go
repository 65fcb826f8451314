package hubspot

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"crmintake/worker"
)

// maxRaw is how much is kept of an answer, or of one error in it.
const maxRaw = 64 << 10

// maxDetail is the longest Detail, in bytes.
const maxDetail = 400

// readResponse classifies an answer for the batch as a whole, and decodes its body into w.doc. The body is
// complete unless readErr says why not.
func (w *workspace) readResponse(
	status int, h http.Header, body []byte, readErr error, hide redactor, now time.Time,
) (worker.Class, worker.Call) {
	call := worker.Call{
		Status: status, Limits: parseLimits(h), CorrelationID: hide.text(h.Get("X-Hubspot-Correlation-Id")),
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		call.Date = date
	}
	call.Success = status >= 200 && status <= 299
	problem := w.doc.decode(body, w.traces.index)
	if readErr != nil {
		problem = readErr
	}
	if w.doc.correlation != "" {
		call.CorrelationID = w.doc.correlation
	}
	retryAfter, has := parseRetryAfter(h, now)
	switch {
	case !call.Success:
		class, wait := classify(status, w.doc.policy, retryAfter, has)
		unknown := w.doc.unknownType(class)
		call.Cause = causeOf(status, unknown, has, call.Limits)
		call.AboutAccount = unknown || aboutAccount[status]
		switch {
		case unknown:
			class = worker.PauseObjectType
		case status == http.StatusForbidden, status == http.StatusNotFound:
			call.PerhapsOneInput = w.doc.isJSON() // HTML and nothing come from a wrong address
		}
		call.Wait, call.Asked, call.Raw = wait, has, keep(body)
		text, words := w.describeRefusal(status, unknown, h, hide)
		call.Detail, call.LogDetail = hide.line(text+words), hide.line(text)
		return class, call
	case problem != nil:
		call.Detail = hide.line(fmt.Sprintf("%d that can't be read: %v", status, problem))
		return worker.Ambiguous, inconclusive(call, body)
	}
	return worker.Answered, call
}

// inconclusive completes the description of a 2xx that nothing can be concluded from.
func inconclusive(call worker.Call, body []byte) worker.Call {
	call.Wait, call.Raw = unwell, keep(body)
	return call
}

// describeRefusal describes an answer that is no 2xx, with the CRM's own words apart.
func (w *workspace) describeRefusal(status int, unknownType bool, h http.Header, hide redactor) (text, words string) {
	text = strconv.Itoa(status)
	top := &w.doc.top
	if top.category != "" {
		text += " " + top.category
	} else if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	if hint := w.doc.hint(status, unknownType); hint != "" {
		text += " (" + hint + ")"
	}
	if w.doc.policy != "" {
		text += " " + w.doc.policy
	}
	switch location := hide.text(h.Get("Location")); {
	case top.message != "":
		words = ": " + top.message
	case status >= 300 && status < 400 && location != "":
		text += ": redirects are not followed"
		if u, err := url.Parse(location); err == nil && u.Host != "" {
			text += " (to " + u.Host + ")" // the rest may hold anything
		}
	case top.category == "" && h.Get("Content-Type") != "":
		text += ": a body of type " + h.Get("Content-Type")
	}
	return text, words
}

// hints are what a person can do to end a pause, by status.
var hints = map[int]string{
	http.StatusUnauthorized:     "provide a valid access token",
	http.StatusForbidden:        "grant the credential the scopes of the object type",
	http.StatusNotFound:         "check the object type, the version and the address",
	http.StatusMethodNotAllowed: "this account can't create the object type",
}

// hint is what a person can do about a refusal, "" if nothing is known to help.
func (d *document) hint(status int, unknownType bool) string {
	if unknownType {
		return "the account does not know the object type"
	}
	scopes := slices.Clone(d.top.scopes)
	for i := range d.errors {
		scopes = append(scopes, d.errors[i].scopes...)
	}
	slices.Sort(scopes)
	if scopes = slices.Compact(scopes); len(scopes) > 0 && status == http.StatusForbidden {
		return "grant the credential the scopes " + strings.Join(scopes, ", ")
	}
	return hints[status]
}

func keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b[:min(len(b), maxRaw)])
}

// oneLine makes s fit for a log line: printable, and not too long.
func oneLine(s string) string {
	const enough = 4 * maxDetail // an error can be as long as an answer
	cut := len(s) > enough
	if cut {
		s = s[:enough]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if !cut && len(s) <= maxDetail {
		return s
	}
	end := min(len(s), maxDetail)
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
