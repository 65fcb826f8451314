package hubspot

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"crmintake/worker"
)

// Read implements worker.CRM. What it makes of an answer:
//
//	the answer                                                  | class           | a value is
//	2xx, no JSON object, cut short, or over the limit           | Ambiguous       | in neither map
//	2xx, a result that echoes it, with a valid record id        | Answered        | found
//	2xx, it is the only value, and one record the only result   | Answered        | found, whatever the echo
//	2xx or 404, an OBJECT_NOT_FOUND names it in context.ids     | Answered        | missing
//	two records for it; its record is another's; found, missing | Answered        | in neither map
//	2xx, not named at all                                       | Answered        | in neither map
//	404 that speaks of records, and does not name it            | Answered        | in neither map
//	404 that speaks of the path or the object type              | PauseObjectType | in neither map
//	any other                                                   | classify        | in neither map
//
// An echo is the id property's value in a result, or the result's id where values are record ids. A value is named, by
// an echo or in ids, if it is the same, or but for case the only one of its kind. The status word (COMPLETE, PENDING…),
// a count of errors and other errors change none of this: about what it leaves out an answer says nothing. Call.Detail
// then says why, and Call.Raw has the answer.
//
// More than MaxInputs values, or none, are not sent.
func (c *Client) Read(
	ctx context.Context, objectType, idProperty string, values, properties []string,
) worker.ReadAnswer {
	if n := len(values); n == 0 || n > MaxInputs {
		return worker.ReadAnswer{Class: worker.Refused,
			Call: unsent(fmt.Sprintf("%d values, want 1 to %d; nothing was sent", n, MaxInputs))}
	}
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.traces.assign(nil)
	var err error
	if w.request, err = encodeRead(w.request[:0], idProperty, values, properties); err != nil {
		return worker.ReadAnswer{Class: worker.Refused, Call: unsent(oneLine(err.Error()) + "; nothing was sent")}
	}
	var a worker.ReadAnswer
	a.Class, a.Call = c.exchange(ctx, w, objectType, "read")
	w.found(&a, lookup{doc: &w.doc, idProperty: idProperty, values: values, properties: properties})
	return a
}

// found fills in what an answer tells of the values, and says in words what it leaves open.
func (w *workspace) found(a *worker.ReadAnswer, l lookup) {
	call := &a.Call
	ofRecords := a.Class == worker.PauseObjectType && call.Status == http.StatusNotFound &&
		call.PerhapsOneInput && w.doc.ofRecords()
	call.PerhapsOneInput = false // a read has no inputs
	if ofRecords {
		a.Class, call.Cause, call.Success = worker.Answered, worker.NoCause, true
		call.Detail, call.LogDetail, call.Raw, call.AboutAccount = "", "", nil, false
	}
	if a.Class != worker.Answered {
		return
	}
	l.run()
	a.Found, a.Missing = l.found, l.missing
	if open := len(l.values) - len(l.found) - len(l.missing); open > 0 {
		a.Call = inconclusive(a.Call, w.doc.body)
		call.LogDetail = fmt.Sprintf("%d that tells nothing of %d of %d values", call.Status, open, len(l.values))
		call.Detail = oneLine(call.LogDetail + ": " + l.why())
	}
}

// notFound is the category of an error that names what was not found. Nothing else proves that.
const notFound = "OBJECT_NOT_FOUND"

// lookup is what a read asked for, and what its answer tells of that.
type lookup struct {
	doc        *document
	idProperty string
	values     []string
	properties []string

	found   map[string]worker.Found
	missing map[string]bool
	odd     []string // why something in the answer counts for nobody
}

func (l *lookup) run() {
	l.found, l.missing = make(map[string]worker.Found, len(l.doc.results)), make(map[string]bool)
	spoilt := make(map[string]bool) // values that the answer contradicts itself about
	owner := make(map[string]string, len(l.doc.results))
	for i := range l.doc.results {
		r := &l.doc.results[i]
		id := string(r.id)
		if r.contradictory || !validID(id) {
			l.odd = append(l.odd, "a result has no record id that can be trusted")
			continue
		}
		value, ok := l.valueOf(r)
		if !ok {
			l.odd = append(l.odd, "a result can't be matched to a value")
			continue
		}
		if other, ok := l.found[value]; ok && other.RecordID != id {
			l.odd, spoilt[value] = append(l.odd, "two records have one value"), true
		}
		if other, ok := owner[id]; ok && other != value {
			l.odd, spoilt[value], spoilt[other] = append(l.odd, "one record has two values"), true, true
		}
		owner[id] = value
		l.found[value] = l.record(r)
	}
	for _, e := range l.errors() {
		l.absent(e)
	}
	for value := range l.missing {
		if _, ok := l.found[value]; ok {
			l.odd, spoilt[value] = append(l.odd, "a value has a result, and is named as missing"), true
		}
	}
	for value := range spoilt {
		delete(l.found, value)
		delete(l.missing, value)
	}
}

// errors are the answer's errors, the body itself among them if it is one.
func (l *lookup) errors() []apiError { return append([]apiError{l.doc.top}, l.doc.errors...) }

// valueOf is the value that a result is the answer to.
func (l *lookup) valueOf(r *result) (string, bool) {
	echo := string(r.id)
	if l.idProperty != "" {
		echo = l.doc.property(r, l.idProperty)
	}
	if value, ok := match(echo, l.values); ok {
		return value, true
	}
	// The CRM may keep another value than it was given: a number without leading zeros, a contact's first email for
	// its second.
	return l.values[0], len(l.values) == 1 && !slices.ContainsFunc(l.doc.results, func(other result) bool {
		return other.contradictory || string(other.id) != string(r.id)
	})
}

func (l *lookup) record(r *result) worker.Found {
	f := worker.Found{RecordID: string(r.id)}
	if url := string(r.url); validText(url) {
		f.URL = url
	}
	if at, err := time.Parse(time.RFC3339, string(r.createdAt)); err == nil {
		f.CreatedAt = at
	}
	if len(l.properties) > 0 {
		names := l.properties
		if l.idProperty != "" {
			names = append([]string{l.idProperty}, names...)
		}
		f.Properties = l.doc.propertiesOf(r, names)
	}
	return f
}

// absent takes the values that an error names as not found.
func (l *lookup) absent(e apiError) {
	for _, a := range e.absent {
		if !isCode(cmp.Or(a.category, e.category, l.doc.top.category), notFound) {
			continue
		}
		ids := a.ids
		if a.java != "" {
			ids = l.javaIDs(a.java)
		}
		for _, id := range ids {
			if value, ok := match(id, l.values); ok {
				l.missing[value] = true
			}
		}
	}
}

// javaIDs takes "a, b" apart, unless it can be done in several ways.
func (l *lookup) javaIDs(text string) []string {
	if len(l.values) == 1 {
		return append(strings.Split(text, ", "), text)
	}
	if slices.ContainsFunc(l.values, func(v string) bool { return strings.ContainsAny(v, ",]}") }) {
		return nil
	}
	return strings.Split(text, ", ")
}

// why the answer leaves something open, in the CRM's words if there are any.
func (l *lookup) why() string {
	d := l.doc
	for _, e := range l.errors() {
		if e.category+e.message != "" && (!isCode(e.category, notFound) || len(e.absent) == 0) {
			return "an error: " + strings.TrimSpace(e.category+" "+e.message)
		}
	}
	switch {
	case len(l.odd) > 0:
		return l.odd[0]
	case d.numErrors && len(d.errors) == 0:
		return "it counts errors and has none"
	case !d.hasResults && len(d.errors) == 0:
		return "it has neither results nor errors"
	case d.status != "" && !isCode(d.status, "COMPLETE"):
		return fmt.Sprintf("its status is %q", d.status)
	}
	return "neither a result nor an error names them"
}

// match finds the value that an echo stands for. The CRM may have changed its case; then there must be only one that
// it can be.
func match(echo string, values []string) (string, bool) {
	if echo == "" {
		return "", false
	}
	folded, n := "", 0
	for _, v := range values {
		if v == echo {
			return v, true
		}
		if strings.EqualFold(v, echo) {
			folded = v
			n++
		}
	}
	return folded, n == 1
}
