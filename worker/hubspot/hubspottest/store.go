package hubspottest

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// table holds the records of one object type: 16 bytes for each, what its unique and counted properties need, the
// associations of those that have any, and the submitted properties if they are kept.
type table struct {
	name     string
	spec     ObjectType
	declared map[string]*property
	required []string        // each once
	open     bool            // any property exists
	targets  map[string]bool // that associations can name
	lastID   *atomic.Int64   // of all tables: ids are unique in the account

	mu   sync.Mutex // guards rows, and what properties hold
	rows rows
}

// property is what an object type declares of one property. The table guards its maps.
type property struct {
	name      string
	required  bool
	sensitive bool
	fold      Fold           // nil if values are kept as they are
	unique    map[string]int // the record, as an index, that has the value; nil if the property is not unique
	counts    map[string]int // nil if the property is not counted; unique ones need no counting
}

func newTable(name string, spec ObjectType, keep bool, lastID *atomic.Int64) *table {
	t := &table{
		name: name, spec: spec, declared: make(map[string]*property), open: spec.Properties == nil,
		targets: make(map[string]bool), lastID: lastID,
		rows: rows{
			objectType: name, keep: keep,
			links: make(map[int][]Association), merged: make(map[int]int), archived: make(map[int]bool),
		},
	}
	declare := func(name string) *property {
		if t.declared[name] == nil {
			t.declared[name] = &property{name: name}
		}
		return t.declared[name]
	}
	for _, name := range spec.Properties {
		declare(name)
	}
	for name := range spec.Types {
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
	for _, name := range spec.Sensitive {
		declare(name).sensitive = true
	}
	for name, fold := range spec.Kept {
		declare(name).fold = fold
	}
	for _, id := range spec.Targets {
		t.targets[id] = true
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

// failing is the problem of an input that fails the whole batch.
type failing int

const (
	nothing failing = iota
	anyConflict
	anyProblem
)

// create makes a record of each input that has no problem yet and is not skipped, and tells in outs. The first problem
// that fails the batch keeps all from being made, and is returned; else the time of their making is, in milliseconds
// since 1970.
func (t *table) create(p *parser, outs []outcome, by failing, now time.Time) (*problem, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	base := len(t.rows.ids)
	named := base // where a conflict fails the batch, the batch's own records will not exist, and are not named
	if by == nothing {
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
				t.rows.ids = append(t.rows.ids, o.id)
				continue
			}
		}
		if by == anyProblem || by == anyConflict && o.problem.property != "" {
			t.undo(p, outs[:i], base)
			return o.problem, 0
		}
	}
	at := now.UnixMilli()
	for i, in := range p.inputs {
		if outs[i].id != 0 {
			t.keepRecord(p.of(in), in.links, at)
		}
	}
	return nil, at
}

// claim takes the input's unique values for the next record, all or none. A conflict names a record below the index
// named.
func (t *table) claim(props []prop, named int) *problem {
	if len(t.spec.Unique) == 0 {
		return nil
	}
	for _, p := range props {
		if p.declared == nil || p.declared.unique == nil {
			continue
		}
		value := unquote(p.value)
		if other, taken := p.declared.unique[string(value)]; taken {
			var id int64
			if other < named {
				id = t.rows.ids[t.rows.survivor(other)]
			}
			return t.conflict(p.declared.name, string(value), id)
		}
	}
	for _, p := range props {
		if p.declared != nil && p.declared.unique != nil && len(p.value) > len(`""`) {
			p.declared.unique[string(unquote(p.value))] = len(t.rows.ids)
		}
	}
	return nil
}

// undo takes back what a batch that fails as a whole has claimed.
func (t *table) undo(p *parser, outs []outcome, base int) {
	t.rows.ids = t.rows.ids[:base]
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
func (t *table) keepRecord(props []prop, links []Association, at int64) {
	if links != nil {
		t.rows.links[len(t.rows.created)] = links
	}
	t.rows.created = append(t.rows.created, at)
	for _, p := range props {
		if p.declared != nil && p.declared.counts != nil {
			p.declared.counts[string(unquote(p.value))]++
		}
	}
	if t.rows.keep {
		object := append([]byte(nil), '{')
		for i, p := range props {
			if i > 0 {
				object = append(object, ',')
			}
			object = append(append(append(object, p.name...), ':'), p.value...)
		}
		t.rows.kept = append(t.rows.kept, slices.Clip(append(object, '}')))
	}
}

// count is how many records have each value of a property.
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
	if !t.rows.keep {
		panic("hubspottest: property " + strconv.Quote(name) + " of " + strconv.Quote(t.name) +
			" is neither unique nor counted")
	}
	counts := make(map[string]int)
	for r := range t.all() {
		if value, ok := r.Properties[name]; ok {
			counts[value]++
		}
	}
	return counts
}
