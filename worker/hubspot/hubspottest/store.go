package hubspottest

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Record is one record that exists.
type Record struct {
	ID        string
	CreatedAt time.Time
	// Properties are those submitted, nil without Config.KeepProperties.
	Properties map[string]string
}

// table holds the records of one object type: 16 bytes for each, what its unique and counted properties need, and the
// submitted properties if they are kept.
type table struct {
	name     string
	spec     ObjectType
	declared map[string]*property
	required []string // each once
	open     bool     // any property exists
	keep     bool
	lastID   *atomic.Int64 // of all tables: ids are unique in the account

	mu      sync.Mutex
	ids     []int64 // increasing, as records are only appended
	created []int64 // milliseconds since 1970
	kept    [][]byte
}

// property is what an object type declares of one property. The table's mutex guards its maps.
type property struct {
	name     string
	required bool
	unique   map[string]int // the record, as an index, that has the value; nil if the property is not unique
	counts   map[string]int // nil if the property is not counted; unique ones need no counting
}

func newTable(name string, spec ObjectType, keep bool, lastID *atomic.Int64) *table {
	t := &table{name: name, spec: spec, declared: make(map[string]*property), open: spec.Properties == nil, keep: keep, lastID: lastID}
	declare := func(name string) *property {
		if t.declared[name] == nil {
			t.declared[name] = &property{name: name}
		}
		return t.declared[name]
	}
	for _, name := range spec.Properties {
		declare(name)
	}
	for _, name := range spec.Unique {
		declare(name).unique = make(map[string]int)
	}
	for _, name := range spec.Required {
		if p := declare(name); !p.required {
			p.required = true
			t.required = append(t.required, name)
		}
	}
	for _, name := range spec.Counted {
		if p := declare(name); p.unique == nil {
			p.counts = make(map[string]int)
		}
	}
	return t
}

// outcome is what becomes of one input.
type outcome struct {
	id      int64
	problem *problem
	skip    bool // is not worked on
	silent  bool // the answer does not tell
}

// create makes a record of each input that has no problem yet and is not skipped, and tells in outs. If the batch is
// not multi, the first problem keeps all from being made, and is returned; else the time of their making is, in
// milliseconds since 1970.
func (t *table) create(p *parser, outs []outcome, multi bool, now time.Time) (*problem, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	base := len(t.ids)
	named := base // without multi, the batch's own records will not exist after a conflict, and are not named
	if multi {
		named = math.MaxInt
	}
	for i, in := range p.inputs {
		o := &outs[i]
		if o.skip {
			continue
		}
		if o.problem == nil {
			if o.problem = t.claim(p.of(in), named); o.problem == nil {
				o.id = t.lastID.Add(1)
				t.ids = append(t.ids, o.id)
				continue
			}
		}
		if !multi {
			t.undo(p, outs[:i], base)
			return o.problem, 0
		}
	}
	at := now.UnixMilli()
	for i, in := range p.inputs {
		if outs[i].id != 0 {
			t.keepRecord(p.of(in), at)
		}
	}
	return nil, at
}

// claim takes the input's unique values for the next record, all or none. A conflict names a record below the index named.
func (t *table) claim(props []prop, named int) *problem {
	if len(t.spec.Unique) == 0 {
		return nil
	}
	for _, p := range props {
		if p.declared == nil || p.declared.unique == nil {
			continue
		}
		if other, taken := p.declared.unique[string(unquote(p.value))]; taken {
			var id int64
			if other < named {
				id = t.ids[other]
			}
			return conflict(t.name, p.declared.name, id)
		}
	}
	for _, p := range props {
		if p.declared != nil && p.declared.unique != nil && len(p.value) > len(`""`) {
			p.declared.unique[string(unquote(p.value))] = len(t.ids)
		}
	}
	return nil
}

// undo takes back what a batch that fails as a whole has claimed.
func (t *table) undo(p *parser, outs []outcome, base int) {
	t.ids = t.ids[:base]
	for i, o := range outs {
		if o.id == 0 {
			continue
		}
		outs[i].id = 0
		for _, p := range p.of(p.inputs[i]) {
			if p.declared != nil && p.declared.unique != nil {
				delete(p.declared.unique, string(unquote(p.value)))
			}
		}
	}
}

// keepRecord keeps what is kept of a record besides its id.
func (t *table) keepRecord(props []prop, at int64) {
	t.created = append(t.created, at)
	for _, p := range props {
		if p.declared != nil && p.declared.counts != nil {
			p.declared.counts[string(unquote(p.value))]++
		}
	}
	if t.keep {
		object := append([]byte(nil), '{')
		for i, p := range props {
			if i > 0 {
				object = append(object, ',')
			}
			object = append(append(append(object, p.name...), ':'), p.value...)
		}
		t.kept = append(t.kept, slices.Clip(append(object, '}')))
	}
}

// found is a record that a read finds.
type found struct {
	id, created int64
	kept        []byte
}

// find looks a record up by its id, or by a unique property.
func (t *table) find(by *property, value []byte) (found, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var index int
	var ok bool
	if by == nil {
		id, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return found{}, false
		}
		index, ok = slices.BinarySearch(t.ids, id)
	} else {
		index, ok = by.unique[string(value)]
	}
	if !ok {
		return found{}, false
	}
	f := found{id: t.ids[index], created: t.created[index]}
	if t.keep {
		f.kept = t.kept[index]
	}
	return f, true
}

// all iterates over the records that exist now; those made meanwhile are left out. It holds no lock while it yields.
func (t *table) all() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		t.mu.Lock()
		ids, created, kept := t.ids, t.created, t.kept // append-only: what they show now never changes
		t.mu.Unlock()
		for i, id := range ids {
			r := Record{ID: strconv.FormatInt(id, 10), CreatedAt: time.UnixMilli(created[i]).UTC()}
			if t.keep {
				r.Properties = properties(kept[i])
			}
			if !yield(r) {
				return
			}
		}
	}
}

// count tells how many records have each value of a property.
func (t *table) count(name string) map[string]int {
	t.mu.Lock()
	p := t.declared[name]
	switch {
	case p != nil && p.counts != nil:
		defer t.mu.Unlock()
		return maps.Clone(p.counts)
	case p != nil && p.unique != nil:
		defer t.mu.Unlock()
		counts := make(map[string]int, len(p.unique))
		for value := range p.unique {
			counts[value] = 1
		}
		return counts
	}
	t.mu.Unlock()
	if !t.keep {
		panic("hubspottest: property " + strconv.Quote(name) + " of " + strconv.Quote(t.name) + " is neither unique nor counted")
	}
	counts := make(map[string]int)
	for r := range t.all() {
		if value, ok := r.Properties[name]; ok {
			counts[value]++
		}
	}
	return counts
}

// properties reads an object of strings that is known to be valid.
func properties(object []byte) map[string]string {
	m := make(map[string]string)
	var p parser
	p.reset(object)
	_ = p.object("", nil, func(name []byte) error {
		value, err := p.raw()
		m[string(name)] = string(unquote(value))
		return err
	})
	return m
}

// quote makes a JSON string of any text; invalid UTF-8 is replaced.
func quote(text string) []byte {
	raw, _ := jsontext.AppendQuote(nil, text)
	return raw
}
