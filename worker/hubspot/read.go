package hubspot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"crmintake/worker"
)

// Read implements worker.CRM. A 2xx is Answered, and a value that it doesn't find has no record, only if all of this
// holds; else it is Ambiguous:
//
//   - its status is COMPLETE, and it has results, were it none;
//   - each result has a valid record id, and its property has a value that was asked for: the same, or but for case
//     the only one of its kind; no value has two records;
//   - each error is an OBJECT_NOT_FOUND, and errors that are counted are there.
//
// What it found, it found, either way.
//
// More than MaxInputs values, or none, are not sent.
func (c *Client) Read(ctx context.Context, objectType, idProperty string, values, properties []string) worker.ReadAnswer {
	if n := len(values); n == 0 || n > MaxInputs {
		return worker.ReadAnswer{Class: worker.Refused,
			Call: unsent(fmt.Sprintf("%d values, want 1 to %d; nothing was sent", n, MaxInputs))}
	}
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.traces.assign(nil)
	var err error
	if w.request, err = encodeRead(w.request[:0], idProperty, values); err != nil {
		return worker.ReadAnswer{Class: worker.Refused, Call: unsent(oneLine(err.Error()) + "; nothing was sent")}
	}
	var a worker.ReadAnswer
	a.Class, a.Call = c.exchange(ctx, w, objectType, "read")
	w.found(&a, idProperty, values)
	return a
}

// found fills in what an answer found, and makes it Ambiguous if it is no proof of what it did not find.
func (w *workspace) found(a *worker.ReadAnswer, idProperty string, values []string) {
	if a.Class != worker.Answered {
		return
	}
	var why string
	if a.Found, why = w.doc.lookUp(idProperty, values); why != "" {
		a.Class, a.Call = worker.Ambiguous, saysNothing(a.Call, w.doc.body)
		a.Call.Gist = fmt.Sprintf("%d that proves nothing about what it did not find", a.Call.Status)
		a.Call.Detail = oneLine(a.Call.Gist + ": " + why)
	}
}

// lookUp returns what was found, and why nothing may be concluded about the rest, if so.
func (d *document) lookUp(idProperty string, values []string) (found map[string]worker.Found, why string) {
	switch {
	case !isCode(d.status, "COMPLETE"):
		why = fmt.Sprintf("its status is %q", d.status)
	case !d.hasResults:
		why = "it has no results"
	case d.numErrors && len(d.errors) == 0:
		why = "it counts errors and has none"
	}
	for i := range d.errors {
		if f := &d.errors[i]; !isCode(f.category, "OBJECT_NOT_FOUND") {
			why = "an error: " + f.category + " " + f.message
		}
	}
	found = make(map[string]worker.Found, len(d.results))
	var twice []string
	for i := range d.results {
		r := &d.results[i]
		value, ok := match(d.property(r, idProperty), values)
		id := string(r.id)
		switch {
		case !ok:
			why = "a result can't be matched to a value"
			continue
		case r.contradictory || !validID(id):
			why = "a result has no record id that can be trusted"
			continue
		}
		if other, ok := found[value]; ok && other.RecordID != id {
			why = "two records have one value"
			twice = append(twice, value)
		}
		f := worker.Found{RecordID: id}
		if url := string(r.url); validText(url) {
			f.URL = url
		}
		if at, err := time.Parse(time.RFC3339, string(r.createdAt)); err == nil {
			f.CreatedAt = at
		}
		found[value] = f
	}
	for _, value := range twice {
		delete(found, value)
	}
	return found, why
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
