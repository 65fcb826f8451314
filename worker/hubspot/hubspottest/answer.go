package hubspottest

import (
	"cmp"
	"math/rand/v2"
	"strconv"
)

const timeLayout = "2006-01-02T15:04:05.000Z"

// results builds the results and errors of one answer to a create.
type results struct {
	p      *parser
	outs   []outcome
	fault  Fault
	at     string // when the records were made, as the API writes it
	extra  int64  // a record id that nobody has
	out    []byte
	errors int
}

// append adds the whole body. Results stand in the given order, whatever the inputs' was.
func (r *results) append(order []int, word, started string) {
	r.open(started)
	r.out = append(r.out, `"results":[`...)
	told, first := 0, true
	for _, i := range order {
		o := r.outs[i]
		if o.id == 0 || o.silent {
			continue
		}
		times := 1
		if r.fault == DoubledResults {
			times = 2
		}
		for range times {
			r.result(r.p.inputs[i], o.id, first)
			told++
		}
		if r.fault == ContradictoryResults && first {
			r.result(r.p.inputs[i], r.extra, false)
			told++
		}
		first = false
	}
	if r.fault == MoreResults {
		r.result(input{trace: []byte(`"nobody-sent-this"`)}, r.extra, false)
		told++
	}
	if told > 0 {
		r.out = r.out[:len(r.out)-1] // the last comma
	}
	r.out = append(r.out, `],`...)
	r.problems()
	r.close(word)
}

func (r *results) open(started string) {
	r.out = append(append(append(r.out, `{"startedAt":"`...), started...), `",`...)
}

func (r *results) close(word string) {
	r.out = append(append(append(r.out, `"completedAt":"`...), r.at...), `","status":"`...)
	r.out = append(append(r.out, word...), `"}`...)
}

// result adds one result and a comma.
func (r *results) result(in input, id int64, first bool) {
	b := append(r.out, `{"id":"`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, `","properties":{`...)
	for _, p := range r.p.of(in) {
		if !bySystem(p.name) {
			b = append(append(append(append(b, p.name...), ':'), p.value...), ',')
		}
	}
	b = r.system(b, id, r.at)
	b = append(b, `},"createdAt":"`...)
	b = append(b, r.at...)
	b = append(b, `","updatedAt":"`...)
	b = append(b, r.at...)
	b = append(b, `","archived":false`...)
	switch {
	case r.fault == NoTraceIDs || in.trace == nil:
	case r.fault == UnknownTraceID && first:
		b = append(b, `,"objectWriteTraceId":"nobody-sent-this"`...)
	default:
		b = append(append(b, `,"objectWriteTraceId":`...), in.trace...)
	}
	r.out = append(b, `},`...)
}

// system adds the properties that the CRM itself sets, one of them without a value.
func (*results) system(b []byte, id int64, at string) []byte {
	b = append(append(append(b, `"createdate":"`...), at...), `",`...)
	b = append(append(append(b, `"hs_lastmodifieddate":"`...), at...), `",`...)
	b = strconv.AppendInt(append(b, `"hs_object_id":"`...), id, 10)
	return append(b, `","hs_merged_object_ids":null`...)
}

func bySystem(name []byte) bool {
	switch string(name) {
	case `"createdate"`, `"hs_lastmodifieddate"`, `"hs_object_id"`, `"hs_merged_object_ids"`:
		return true
	}
	return false
}

// problems adds errors and numErrors, if there are any errors, and a comma.
func (r *results) problems() {
	start := len(r.out)
	r.out = append(r.out, `"errors":[`...)
	var together []int // inputs that one error names
	for i := range r.outs {
		switch o := &r.outs[i]; {
		case o.problem == nil || o.silent:
		case r.fault == OneErrorNamesSeveral && o.problem == rejected:
			together = append(together, i)
		default:
			r.problem(o.problem, i)
			if r.fault == SeveralErrorsNameOne && o.problem == rejected {
				r.problem(o.problem, i)
			}
		}
	}
	if together != nil {
		r.problem(rejected, together...)
	}
	if r.errors == 0 {
		r.out = r.out[:start]
		return
	}
	r.out = append(r.out[:len(r.out)-1], `],"numErrors":`...)
	r.out = append(strconv.AppendInt(r.out, int64(r.errors), 10), ',')
}

// rejected is the problem of inputs that a fault rejects.
var rejected = invalid("The input was rejected")

// problem adds one error, which names the inputs, and a comma.
func (r *results) problem(p *problem, inputs ...int) {
	r.errors++
	shape := r.fault
	if p != rejected { // what is really wrong is told plainly
		shape = None
	}
	b := append(r.out, `{"status":"error","category":"`...)
	b = append(append(b, cmp.Or(p.category, "VALIDATION_ERROR")...), `","message":`...)
	b = p.types(append(b, quote(p.text())...))
	switch shape {
	case SubCategoryObject:
		b = append(b, `,"subCategory":{"name":"crm.REJECTED"}`...)
	case SubCategoryString:
		b = append(b, `,"subCategory":"crm.REJECTED"`...)
	}
	switch shape {
	case ContextAbsent:
	case ErrorNamesNobody:
		b = append(b, `,"context":{"objectType":["any"]}`...)
	case ContextString:
		names := []byte("{objectWriteTraceId=[")
		for _, i := range inputs {
			names = append(names, unquote(r.p.inputs[i].trace)...)
		}
		b = append(append(b, `,"context":`...), quote(string(append(names, "]}"...)))...)
	default:
		b = append(b, `,"context":{"objectWriteTraceId":[`...)
		for k, i := range inputs {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, r.p.inputs[i].trace...)
		}
		b = append(b, ']')
		if p.existing != 0 {
			b = append(strconv.AppendInt(append(b, `,"existingId":["`...), p.existing, 10), `"]`...)
		}
		b = append(b, '}')
	}
	r.out = append(b, `},`...)
}

// shuffle fills order with 0 to n-1 in random order.
func shuffle(order []int, n int, rng *rand.Rand) []int {
	order = order[:0]
	for i := range n {
		order = append(order, i)
	}
	rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}
