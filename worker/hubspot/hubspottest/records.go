package hubspottest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// records are all that the account holds, by object type. The tables are made once; each has a lock of its own.
type records struct {
	tables map[string]*table
	lastID atomic.Int64
}

// firstID is the id of the first record: ids have as many digits as real ones.
const firstID = 100_000_000_001

func (r *records) begin(cfg Config) {
	r.tables = make(map[string]*table, len(cfg.ObjectTypes))
	r.lastID.Store(firstID - 1)
	for name, spec := range cfg.ObjectTypes {
		r.tables[name] = newTable(name, spec, cfg.KeepProperties, &r.lastID)
	}
}

// Add makes a record as if another program had made it at a certain time, and returns its id. It fails where the API
// would refuse the properties. It is no call: neither quota nor Stats know of it.
func (r *records) Add(objectType string, properties map[string]string, createdAt time.Time) (id string, err error) {
	var p parser
	body := []byte(`{"inputs":[{"associations":[],"properties":{`)
	for i, name := range slices.Sorted(maps.Keys(properties)) {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(append(body, quote(name)...), ':'), quote(properties[name])...)
	}
	p.reset(append(body, `}}]}`...))
	if err := p.create(); err != nil {
		return "", fmt.Errorf("hubspottest: %w", err)
	}
	t := r.table(objectType)
	outs := []outcome{{problem: t.check(p.props)}}
	if wrong, _ := t.create(&p, outs, anyProblem, createdAt); wrong != nil {
		return "", errors.New("hubspottest: " + wrong.text())
	}
	return strconv.FormatInt(outs[0].id, 10), nil
}

// Count is how many records there are for each value of a property: 1 for each is neither loss nor duplicate. The
// property must be unique or counted, or all properties kept; else Count panics. The map is the caller's.
func (r *records) Count(objectType, property string) map[string]int {
	return r.table(objectType).count(property)
}

// Len is how many records of an object type there are.
func (r *records) Len(objectType string) int {
	t := r.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows.ids)
}

func (r *records) table(objectType string) *table {
	t := r.tables[objectType]
	if t == nil {
		panic("hubspottest: no object type " + strconv.Quote(objectType))
	}
	return t
}

// Records iterates over the records of an object type in the order of their making. Those made while it runs are left
// out. Like all that asks for an object type, it panics if Config does not list it: a count of nothing would look like
// a proof.
func (r *records) Records(objectType string) iter.Seq[Record] { return r.table(objectType).all() }

// Find returns the record that holds a value of a unique property, in the form in which the account keeps it. It
// panics if the property is not unique.
func (r *records) Find(objectType, property, value string) (Record, bool) {
	t := r.table(objectType)
	by := t.declared[property]
	if by == nil || by.unique == nil {
		panic("hubspottest: property " + strconv.Quote(property) + " of " + strconv.Quote(objectType) + " is not unique")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := by.unique[string(unquote(kept(by, []byte(property), quote(value))))]
	if !ok {
		return Record{}, false
	}
	return t.rows.record(i), true
}

// Archive archives a record, as a person does who deletes it: a read finds it with ?archived=true only. Its unique
// values stay taken.
func (r *records) Archive(objectType, id string) error {
	t := r.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.rows.index(id)
	if err == nil {
		t.rows.archived[i] = true
	}
	return err
}

// Merge merges a record into another one of its object type, as a person does. A read of it, by a unique value or by
// its id, says nothing of it. Its unique values stay taken, and conflicts name the other record.
func (r *records) Merge(objectType, from, into string) error {
	t := r.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.rows.index(from)
	other, otherErr := t.rows.index(into)
	if err := errors.Join(err, otherErr); err != nil {
		return err
	}
	if t.rows.survivor(other) == i {
		return fmt.Errorf("hubspottest: record %s can't be merged into itself", from)
	}
	t.rows.merged[i] = other
	return nil
}
