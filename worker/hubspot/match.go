package hubspot

import (
	"bytes"
	"slices"
	"strings"

	"crmintake/worker"
)

// matches is what a 2xx says of each input, while it is read.
type matches struct {
	claim   []int          // by input: the first result that names it, -1 for none
	doubt   []string       // by input: why the answer contradicts itself about it
	owner   []int          // by result: the input that it names, -1 for none
	byValue map[string]int // the inputs by the id property's value, -1 for several; made when a result needs it
	byID    map[string]int // the inputs by the record id that they got
	joined  []byte         // all record ids and urls: one string is cheaper than one for each
}

func (m *matches) assign(w *workspace, a *worker.Answer, inputs []worker.Input, idProperty string, keepResult bool) {
	m.reset(len(inputs))
	results, unmatched := w.doc.results, 0
	// The only answer to the only question needs no name.
	only := len(inputs) == 1 && len(results) == 1 && len(results[0].trace) == 0 &&
		len(w.doc.errors) == 0 && !w.doc.numErrors
	for i := range results {
		at := 0
		if !only {
			at = m.find(w, &results[i], inputs, idProperty)
		}
		m.owner = append(m.owner, at)
		if at < 0 {
			unmatched++
			continue
		}
		m.claimFor(at, i, results, &a.Outcomes[at])
	}
	var nameless []worker.APIError
	for i := range w.doc.errors {
		e := &w.doc.errors[i]
		e.charge(a.Outcomes, e.verdict())
		unmatched += e.unmatched
		if len(e.named) == 0 {
			nameless = append(nameless, e.outcomeError())
		}
		for _, at := range e.named {
			if m.claim[at] >= 0 {
				m.doubt[at] = "the answer has both a result and an error for this input"
			}
		}
	}
	// Clipped, because the inputs share it.
	m.conclude(results, a.Outcomes, slices.Clip(nameless), keepResult)
	text, words := summary(a, unmatched, nameless)
	a.Call.Detail, a.Call.LogDetail = oneLine(text+words), oneLine(text)
}

func (m *matches) reset(inputs int) {
	m.claim, m.doubt, m.owner = m.claim[:0], m.doubt[:0], m.owner[:0]
	for range inputs {
		m.claim, m.doubt = append(m.claim, -1), append(m.doubt, "")
	}
	clear(m.byValue)
	if m.byID == nil {
		m.byValue, m.byID = make(map[string]int), make(map[string]int, MaxInputs)
	}
	clear(m.byID)
}

// find is the input that a result names, -1 for none. A trace id that isn't ours names nobody, whatever else is there.
func (m *matches) find(w *workspace, r *result, inputs []worker.Input, idProperty string) int {
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
	if len(m.byValue) == 0 {
		for i := range inputs {
			if v := inputs[i].IDValue; v != "" {
				putOnce(m.byValue, v, i)
			}
		}
	}
	if at, ok := m.byValue[value]; ok {
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
func (m *matches) claimFor(at, i int, results []result, o *worker.Outcome) {
	r := &results[i]
	switch first := m.claim[at]; {
	case r.contradictory || !validID(string(r.id)):
		m.doubt[at] = "the answer's result for this input has no record id that can be trusted"
	case first >= 0 && !bytes.Equal(results[first].id, r.id):
		m.doubt[at] = "the answer has results with different record ids for this input"
	}
	if m.claim[at] < 0 {
		m.claim[at] = i
	} else if m.doubt[at] != "" {
		o.Errors = append(o.Errors, worker.APIError{Message: m.doubt[at], Raw: keep(r.raw)})
	}
}

// findShared doubts inputs that got the same record. A record can be one input's only, and it can't be told whose.
func (m *matches) findShared(results []result) {
	m.joined = m.joined[:0]
	for i := range results {
		m.joined = append(m.joined, results[i].id...)
	}
	ids := string(m.joined)
	m.joined = m.joined[:0]
	for i, at := range m.owner {
		id := ids[:len(results[i].id)]
		ids = ids[len(id):]
		if at < 0 || id == "" {
			continue
		}
		if other, taken := m.byID[id]; taken && other != at {
			const shared = "the answer gives this input's record id to several inputs"
			m.doubt[at], m.doubt[other] = shared, shared
		}
		m.byID[id] = at
	}
}

func (m *matches) conclude(results []result, outcomes []worker.Outcome, nameless []worker.APIError, keepResult bool) {
	m.findShared(results)
	for _, i := range m.claim {
		if i >= 0 {
			m.joined = append(append(m.joined, results[i].id...), results[i].url...)
		}
	}
	joined := string(m.joined)
	for at := range outcomes {
		o := &outcomes[at]
		i := m.claim[at]
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
		if doubt := m.doubt[at]; doubt != "" {
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
