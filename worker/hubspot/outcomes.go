package hubspot

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"crmintake/worker"
)

// Create implements worker.CRM. What it makes of an answer:
//
//	the answer                                             | class     | an input is
//	2xx, no JSON object, cut short, or over the limit      | Ambiguous | Unknown
//	2xx with neither a result nor an error                 | Ambiguous | Unknown
//	2xx, one record id for it (perhaps repeated), no error | Answered  | Created
//	2xx, a result and an error for it                      | Answered  | Unknown
//	2xx, two record ids for it; one id for two inputs      | Answered  | Unknown
//	2xx, a result without a valid record id                | Answered  | Unknown
//	2xx, an error that leaves it in doubt (INTERNAL_ERROR) | Answered  | Unknown
//	2xx, else an error that is its fault                   | Answered  | Rejected, perhaps a Conflict
//	2xx, else an error that is not (RATE_LIMIT)            | Answered  | NotApplied
//	2xx, it is the only one, a nameless result is all      | Answered  | Created
//	2xx, not named at all                                  | Answered  | Unknown
//	400, 409, 422: it is the only input                    | Refused   | Rejected, perhaps a Conflict
//	400, 409, 422: an error names it                       | Refused   | Rejected, perhaps a Conflict
//	400, 409, 422: otherwise                               | Refused   | NotApplied
//	413: it is the only input                              | TooLarge  | Rejected
//	413: otherwise                                         | TooLarge  | NotApplied
//	403, 404 with a JSON body: it is the only input        | classify  | NotApplied, with the error
//	any other                                              | classify  | Unknown if Ambiguous, else NotApplied
//
// A name is the trace id that was sent; in a result without one, the value of the id property, if one input has it. The
// status word (COMPLETE, PENDING…) changes none of this. Errors that name nobody go to the Unknown inputs.
//
// A Conflict is an error whose codes or words say that a unique value is taken (conflict.go), any 409 of a lone input,
// and each error of a 409 in which none says so. A 400 that says that the account does not know the object type
// (classify.go) is not Refused but PauseObjectType. Call.PerhapsOneInput is set with a 403 or 404 that has a JSON body
// and does not say so.
//
// Call.Detail counts what became of a batch that was not created whole. More than MaxInputs inputs, or none, are not
// sent.
func (c *Client) Create(ctx context.Context, objectType string, inputs []worker.Input) worker.Answer {
	a := worker.Answer{Outcomes: make([]worker.Outcome, len(inputs))}
	if n := len(inputs); n == 0 || n > MaxInputs {
		a.Class, a.Call = worker.Refused, unsent(fmt.Sprintf("%d inputs, want 1 to %d; nothing was sent", n, MaxInputs))
		allOf(a.Outcomes, worker.NotApplied)
		return a
	}
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.traces.assign(inputs)
	var err error
	if w.request, err = encodeCreate(w.request[:0], inputs, w.traces.sent); err != nil {
		a.Class, a.Call = worker.Refused, unsent(err.Error()+"; nothing was sent")
		allOf(a.Outcomes, worker.NotApplied)
		if bad, ok := err.(badInput); ok {
			a.Outcomes[bad] = worker.Outcome{Verdict: worker.Rejected, Errors: []worker.APIError{{Message: err.Error()}}}
		}
		return a
	}
	a.Class, a.Call = c.exchange(ctx, w, objectType, "create")
	w.assignOutcomes(&a, inputs, c.cfg.IDProperty[objectType], c.cfg.KeepResult)
	return a
}

func allOf(outcomes []worker.Outcome, v worker.Verdict) {
	for i := range outcomes {
		outcomes[i].Verdict = v
	}
}

// assignOutcomes gives each input its outcome by Create's table.
func (w *workspace) assignOutcomes(a *worker.Answer, inputs []worker.Input, idProperty string, keepResult bool) {
	switch a.Class {
	case worker.Ambiguous:
		// Unknown is the zero value.
	case worker.Answered:
		if len(w.doc.results) == 0 && len(w.doc.errors) == 0 {
			a.Class, a.Call = worker.Ambiguous, inconclusive(a.Call, w.doc.body)
			a.Call.Detail = strconv.Itoa(a.Call.Status) + " with neither results nor errors"
			return
		}
		w.matches.assign(w, a, inputs, idProperty, keepResult)
	default:
		allOf(a.Outcomes, worker.NotApplied)
		w.assignRefusal(a)
	}
}

// blame finds the inputs that a batch was refused for.
func (w *workspace) assignRefusal(a *worker.Answer) {
	refused := a.Class == worker.Refused || a.Class == worker.TooLarge
	if a.Call.Status == http.StatusConflict {
		w.doc.findConflict()
	}
	top := w.doc.top
	switch {
	case len(a.Outcomes) == 1 && (refused || a.Call.PerhapsOneInput): // the body is one error, and nobody else's
		for i := range w.doc.errors {
			top.absorb(&w.doc.errors[i])
		}
		e := top.outcomeError()
		e.Raw = a.Call.Raw
		a.Outcomes[0].Errors = []worker.APIError{e}
		if refused {
			o := &a.Outcomes[0]
			o.Verdict, o.Conflict, o.Existing = worker.Rejected, top.conflict, top.existingID(1)
		}
	case a.Class == worker.Refused:
		for i := range w.doc.errors {
			if e := &w.doc.errors[i]; len(e.named) == 0 && len(top.named) > 0 {
				top.absorb(e)
			}
		}
		top.charge(a.Outcomes, worker.Rejected)
		for i := range w.doc.errors {
			w.doc.errors[i].charge(a.Outcomes, worker.Rejected)
		}
	}
}

// findConflict makes a 409 one. A proxy or another version may answer it without the API's words.
func (d *document) findConflict() {
	if d.top.conflict || slices.ContainsFunc(d.errors, func(e apiError) bool { return e.conflict }) {
		return
	}
	d.top.conflict = true
	for i := range d.errors {
		d.errors[i].conflict = true
	}
}

// charge adds the error to the inputs that it names. Of several verdicts on one input the worst for us holds: Unknown,
// then Rejected, then NotApplied; a first one holds anyhow.
func (e *apiError) charge(outcomes []worker.Outcome, v worker.Verdict) {
	if len(e.named) == 0 {
		return
	}
	told := e.outcomeError()
	for _, at := range e.named {
		o := &outcomes[at]
		if len(o.Errors) == 0 || v == worker.Unknown || v == worker.Rejected && o.Verdict != worker.Unknown {
			o.Verdict = v
		}
		o.Errors = append(o.Errors, told)
		o.Conflict = o.Conflict || e.conflict
		if o.Existing == "" {
			o.Existing = e.existingID(len(e.named))
		}
	}
}

func (e *apiError) outcomeError() worker.APIError {
	told := e.apart()
	return worker.APIError{
		Category: e.category, Message: e.message, Property: told.property, Rule: told.rule, Raw: keep(e.raw),
	}
}

// summary describes an answer in numbers, unless there is nothing but created records to tell of.
func summary(a *worker.Answer, unmatched int, nameless []worker.APIError) (text, words string) {
	var n [worker.NotApplied + 1]int
	for i := range a.Outcomes {
		n[a.Outcomes[i].Verdict]++
	}
	if n[worker.Created] == len(a.Outcomes) && unmatched == 0 && len(nameless) == 0 {
		return "", ""
	}
	text = fmt.Sprintf("%d: %d created, %d rejected, %d not applied, %d unknown", a.Call.Status,
		n[worker.Created], n[worker.Rejected], n[worker.NotApplied], n[worker.Unknown])
	if unmatched > 0 {
		text += fmt.Sprintf("; %d times something was named that is no input", unmatched)
	}
	if len(nameless) > 0 {
		text += fmt.Sprintf("; %d errors name no input, the first: %s", len(nameless), nameless[0].Category)
		words = " " + nameless[0].Message
	}
	return text, words
}

// maxIDBytes is far above any record id.
const maxIDBytes = 64

// validID: s can be a record's id, which stands in addresses and in the database.
func validID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxIDBytes
}

// validText: s can be kept in a text column.
func validText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0xFFFD })
}
