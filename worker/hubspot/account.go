package hubspot

import (
	"bytes"
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
// A Conflict is an error whose codes or words say that a unique value is taken (conflict.go), any 409 of a lone input, and
// each error of a 409 in which none says so. A 400 that says that the account does not know the object type (classify.go)
// is not Refused but PauseObjectType. Call.PerhapsOneInput is set with a 403 or 404 that has a JSON body and does not say so.
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
	w.account(&a, inputs, c.cfg.IDProperty[objectType], c.cfg.KeepResult)
	return a
}

func allOf(outcomes []worker.Outcome, v worker.Verdict) {
	for i := range outcomes {
		outcomes[i].Verdict = v
	}
}

// account gives each input its outcome by Create's table.
func (w *workspace) account(a *worker.Answer, inputs []worker.Input, idProperty string, keepResult bool) {
	switch a.Class {
	case worker.Ambiguous:
		// Unknown is the zero value.
	case worker.Answered:
		if len(w.doc.results) == 0 && len(w.doc.errors) == 0 {
			a.Class, a.Call = worker.Ambiguous, saysNothing(a.Call, w.doc.body)
			a.Call.Detail = strconv.Itoa(a.Call.Status) + " with neither results nor errors"
			return
		}
		w.accounts.settle(w, a, inputs, idProperty, keepResult)
	default:
		allOf(a.Outcomes, worker.NotApplied)
		w.blame(a)
	}
}

// blame finds the inputs that a batch was refused for.
func (w *workspace) blame(a *worker.Answer) {
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
		e := top.apiError()
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
	if d.top.conflict || slices.ContainsFunc(d.errors, func(f fault) bool { return f.conflict }) {
		return
	}
	d.top.conflict = true
	for i := range d.errors {
		d.errors[i].conflict = true
	}
}

// charge adds the error to the inputs that it names. Of several verdicts on one input the worst for us holds: Unknown,
// then Rejected, then NotApplied; a first one holds anyhow.
func (f *fault) charge(outcomes []worker.Outcome, v worker.Verdict) {
	if len(f.named) == 0 {
		return
	}
	e := f.apiError()
	for _, at := range f.named {
		o := &outcomes[at]
		if len(o.Errors) == 0 || v == worker.Unknown || v == worker.Rejected && o.Verdict != worker.Unknown {
			o.Verdict = v
		}
		o.Errors = append(o.Errors, e)
		o.Conflict = o.Conflict || f.conflict
		if o.Existing == "" {
			o.Existing = f.existingID(len(f.named))
		}
	}
}

func (f *fault) apiError() worker.APIError {
	told := f.apart()
	return worker.APIError{Category: f.category, Message: f.message, Property: told.property, Rule: told.rule, Raw: keep(f.raw)}
}

// accounts are what a 2xx says of each input, while it is read.
type accounts struct {
	claim  []int          // by input: the first result that names it, -1 for none
	doubt  []string       // by input: why the answer contradicts itself about it
	owner  []int          // by result: the input that it names, -1 for none
	value  map[string]int // the inputs by the id property's value, -1 for several; made when a result needs it
	byID   map[string]int // the inputs by the record id that they got
	joined []byte         // all record ids and urls: one string is cheaper than one for each
}

func (s *accounts) settle(w *workspace, a *worker.Answer, inputs []worker.Input, idProperty string, keepResult bool) {
	s.reset(len(inputs))
	results, strangers := w.doc.results, 0
	// The only answer to the only question needs no name.
	only := len(inputs) == 1 && len(results) == 1 && len(results[0].trace) == 0 &&
		len(w.doc.errors) == 0 && !w.doc.numErrors
	for i := range results {
		at := 0
		if !only {
			at = s.find(w, &results[i], inputs, idProperty)
		}
		s.owner = append(s.owner, at)
		if at < 0 {
			strangers++
			continue
		}
		s.claimFor(at, i, results, &a.Outcomes[at])
	}
	var nameless []worker.APIError
	for i := range w.doc.errors {
		f := &w.doc.errors[i]
		f.charge(a.Outcomes, f.verdict())
		strangers += f.strangers
		if len(f.named) == 0 {
			nameless = append(nameless, f.apiError())
		}
		for _, at := range f.named {
			if s.claim[at] >= 0 {
				s.doubt[at] = "the answer has both a result and an error for this input"
			}
		}
	}
	// Clipped, because the inputs share it.
	s.conclude(results, a.Outcomes, slices.Clip(nameless), keepResult)
	text, words := tally(a, strangers, nameless)
	a.Call.Detail, a.Call.Gist = oneLine(text+words), oneLine(text)
}

func (s *accounts) reset(inputs int) {
	s.claim, s.doubt, s.owner = s.claim[:0], s.doubt[:0], s.owner[:0]
	for range inputs {
		s.claim, s.doubt = append(s.claim, -1), append(s.doubt, "")
	}
	clear(s.value)
	if s.byID == nil {
		s.value, s.byID = make(map[string]int), make(map[string]int, MaxInputs)
	}
	clear(s.byID)
}

// find is the input that a result names, -1 for none. A trace id that isn't ours names nobody, whatever else is there.
func (s *accounts) find(w *workspace, r *result, inputs []worker.Input, idProperty string) int {
	if len(r.trace) > 0 {
		if at, ok := w.traces.index[string(r.trace)]; ok {
			return at
		}
		return -1
	}
	value := ""
	if idProperty != "" {
		value = w.doc.property(r, idProperty)
	}
	if value == "" {
		return -1
	}
	if len(s.value) == 0 {
		for i := range inputs {
			if v := inputs[i].IDValue; v != "" {
				putOnce(s.value, v, i)
			}
		}
	}
	if at, ok := s.value[value]; ok {
		return at
	}
	at := -1
	for i := range inputs {
		if inputs[i].IDValue != "" && strings.EqualFold(inputs[i].IDValue, value) {
			if at >= 0 {
				return -1
			}
			at = i
		}
	}
	return at
}

// putOnce keeps i as the one at key, or -1 when there is more than one.
func putOnce(m map[string]int, key string, i int) {
	if _, taken := m[key]; taken {
		i = -1
	}
	m[key] = i
}

// claimFor notes that results[i] names an input.
func (s *accounts) claimFor(at, i int, results []result, o *worker.Outcome) {
	r := &results[i]
	switch first := s.claim[at]; {
	case r.contradictory || !validID(string(r.id)):
		s.doubt[at] = "the answer's result for this input has no record id that can be trusted"
	case first >= 0 && !bytes.Equal(results[first].id, r.id):
		s.doubt[at] = "the answer has results with different record ids for this input"
	}
	if s.claim[at] < 0 {
		s.claim[at] = i
	} else if s.doubt[at] != "" {
		o.Errors = append(o.Errors, worker.APIError{Message: s.doubt[at], Raw: keep(r.raw)})
	}
}

// findShared doubts inputs that got the same record. A record can be one input's only, and it can't be told whose.
func (s *accounts) findShared(results []result) {
	s.joined = s.joined[:0]
	for i := range results {
		s.joined = append(s.joined, results[i].id...)
	}
	ids := string(s.joined)
	s.joined = s.joined[:0]
	for i, at := range s.owner {
		id := ids[:len(results[i].id)]
		ids = ids[len(id):]
		if at < 0 || id == "" {
			continue
		}
		if other, taken := s.byID[id]; taken && other != at {
			const shared = "the answer gives this input's record id to several inputs"
			s.doubt[at], s.doubt[other] = shared, shared
		}
		s.byID[id] = at
	}
}

func (s *accounts) conclude(results []result, outcomes []worker.Outcome, nameless []worker.APIError, keepResult bool) {
	s.findShared(results)
	for _, i := range s.claim {
		if i >= 0 {
			s.joined = append(append(s.joined, results[i].id...), results[i].url...)
		}
	}
	joined := string(s.joined)
	for at := range outcomes {
		o := &outcomes[at]
		i := s.claim[at]
		if i < 0 {
			if len(o.Errors) == 0 {
				o.Errors = nameless
			}
			if o.Verdict != worker.Rejected {
				o.Conflict, o.Existing = false, ""
			}
			continue
		}
		r := &results[i]
		id, url := joined[:len(r.id)], joined[len(r.id):len(r.id)+len(r.url)]
		joined = joined[len(r.id)+len(r.url):]
		if doubt := s.doubt[at]; doubt != "" {
			o.Verdict, o.Conflict, o.Existing = worker.Unknown, false, ""
			o.Errors = append(o.Errors, worker.APIError{Message: doubt, Raw: keep(r.raw)})
			continue
		}
		*o = worker.Outcome{Verdict: worker.Created, RecordID: id}
		if validText(url) {
			o.URL = url
		}
		if len(r.warnings) > 0 && r.warnings[0] == '[' && !bytes.Equal(r.warnings, []byte("[]")) {
			o.Warnings = bytes.Clone(r.warnings)
		}
		if keepResult {
			o.Result = bytes.Clone(r.raw)
		}
	}
}

// tally describes an answer in numbers, unless there is nothing but created records to tell of.
func tally(a *worker.Answer, strangers int, nameless []worker.APIError) (text, words string) {
	var n [worker.NotApplied + 1]int
	for i := range a.Outcomes {
		n[a.Outcomes[i].Verdict]++
	}
	if n[worker.Created] == len(a.Outcomes) && strangers == 0 && len(nameless) == 0 {
		return "", ""
	}
	text = fmt.Sprintf("%d: %d created, %d rejected, %d not applied, %d unknown", a.Call.Status,
		n[worker.Created], n[worker.Rejected], n[worker.NotApplied], n[worker.Unknown])
	if strangers > 0 {
		text += fmt.Sprintf("; %d times something was named that is no input", strangers)
	}
	if len(nameless) > 0 {
		text += fmt.Sprintf("; %d errors name no input, the first: %s", len(nameless), nameless[0].Category)
		words = " " + nameless[0].Message
	}
	return text, words
}

// maxIDBytes is far above any record id.
const maxIDBytes = 64

// validID says whether s can be a record's id, which stands in addresses and in the database.
func validID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxIDBytes
}

// validText says whether s can be kept in a text column.
func validText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0xFFFD })
}
