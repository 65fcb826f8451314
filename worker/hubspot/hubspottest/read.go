package hubspottest

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// found is what a read knows of one value.
type found struct {
	state
	id, created int64
	properties  map[string]string // nil if they are not kept
	archived    bool
}

// state is how an answer mentions a value.
type state int

const (
	missing state = iota // as one that has no record
	told                 // with its record
	unspoken
)

// find looks a record up by its id, or by a unique property: one that is archived, or one that is not.
func (t *table) find(by *property, value []byte, archived bool) found {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i int
	if by == nil {
		var err error
		if i, err = t.rows.index(string(unquote(value))); err != nil {
			return found{}
		}
	} else {
		var ok bool
		if i, ok = by.unique[string(unquote(kept(by, []byte(by.name), value)))]; !ok {
			return found{}
		}
	}
	if _, merged := t.rows.merged[i]; merged {
		return found{state: unspoken}
	}
	if t.rows.archived[i] != archived {
		return found{}
	}
	f := found{state: told, id: t.rows.ids[i], created: t.rows.created[i], archived: archived}
	if t.rows.keep {
		f.properties = properties(t.rows.kept[i])
	}
	return f
}

// find looks records up and answers.
func (x *exchange) find(t *table, by *property, rng *rand.Rand) {
	p, fault := &x.parser, x.effect.fault
	now := x.crm.cfg.Now().UTC().Format(timeLayout)
	n, word := len(p.values), "COMPLETE"
	if x.effect.word != "" { // of the others nothing is said
		n, word = (n+1)/2, x.effect.word
	}
	archived := x.r.URL.Query().Get("archived") == "true"
	finds := make([]found, n)
	for i := range finds {
		finds[i] = t.find(by, p.values[i], archived)
	}
	absent := func() (ids [][]byte) {
		for i, f := range finds {
			if f.state == missing {
				ids = append(ids, p.values[i])
			}
		}
		return ids
	}
	ids := absent()
	switch fault {
	case ReadLeavesOut:
		first := slices.IndexFunc(finds, func(f found) bool { return f.state == missing })
		finds[max(first, 0)].state = unspoken
		ids = absent()
	case ReadEmptyIfMissing, Read404Unnamed:
		if len(ids) == 0 {
			break
		}
		if len(ids) == n {
			all := &problem{category: "OBJECT_NOT_FOUND", message: notFound(t)}
			if fault == ReadEmptyIfMissing {
				all.ids = ids
			}
			x.fail(http.StatusNotFound, all)
			return
		}
		finds, ids = nil, ids[:1]
	}
	r := results{p: p, fault: fault, at: now, out: x.out}
	r.open(now)
	if fault != NoResults {
		x.order = shuffle(x.order, len(finds), rng)
		r.finds(finds, by, x.order)
		r.absent(t, ids)
	}
	r.close(word)
	x.out = r.out
	switch fault {
	case BreakAfter:
		x.reset()
		return
	case SlowAnswer:
		x.wait(x.crm.cfg.Delay, x.r.Context().Done())
	}
	if len(ids) > 0 && fault != NoResults {
		x.send(http.StatusMultiStatus)
	} else {
		x.send(http.StatusOK)
	}
}

// finds adds the records that a read has found, in the given order.
func (r *results) finds(finds []found, by *property, order []int) {
	r.out = append(r.out, `"results":[`...)
	before := len(r.out)
	for _, i := range order {
		if finds[i].state != told {
			continue
		}
		times := 1
		if r.fault == DoubledResults {
			times = 2
		}
		for range times {
			r.record(finds[i], by, r.p.values[i])
		}
	}
	if len(r.out) > before {
		r.out = r.out[:len(r.out)-1] // the last comma
	}
	r.out = append(r.out, `],`...)
}

// absent adds the error that names the values without a record, in quotes, if there are any.
func (r *results) absent(t *table, ids [][]byte) {
	if len(ids) == 0 {
		return
	}
	r.out = append(r.out, `"errors":[{"status":"error","category":"OBJECT_NOT_FOUND","message":`...)
	r.out = append(append(r.out, quote(notFound(t))...), `,"context":{"ids":[`...)
	for i, id := range ids {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, id...)
	}
	r.out = append(r.out, `]}}],"numErrors":1,`...)
}

func notFound(t *table) string {
	return "Could not get some " + noun(t.name) + " objects, they may be deleted or not exist. Check that ids are valid."
}

// record adds one record that a read has found, and a comma: the properties that were asked for, null where the record
// has none or it was not kept.
func (r *results) record(f found, by *property, value []byte) {
	at := time.UnixMilli(f.created).UTC().Format(timeLayout)
	b := strconv.AppendInt(append(r.out, `{"id":"`...), f.id, 10)
	b = append(b, `","properties":{`...)
	for _, name := range r.p.wanted {
		if bySystem(name) {
			continue
		}
		b = append(append(b, name...), ':')
		text := string(unquote(name))
		if v, ok := f.properties[text]; ok {
			b = append(b, quote(v)...)
		} else if by != nil && by.name == text {
			b = append(b, kept(by, []byte(text), value)...)
		} else {
			b = append(b, `null`...)
		}
		b = append(b, ',')
	}
	b = r.system(b, f.id, at)
	b = append(append(append(b, `},"createdAt":"`...), at...), `","updatedAt":"`...)
	b = append(append(b, at...), `","archived":`...)
	r.out = append(strconv.AppendBool(b, f.archived), `},`...)
}
