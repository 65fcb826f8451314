package hubspottest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Record is one record that was made. One that was archived or merged is told of still.
type Record struct {
	ID        string
	CreatedAt time.Time
	// Properties are those submitted, as they are kept; nil without Config.KeepProperties.
	Properties map[string]string
	// Associations are those that the record was given, whatever the answer said; nil if there are none.
	Associations []Association
	Archived     bool
	// MergedInto is the id of the record that it was merged into, "" if it was not.
	MergedInto string
}

// Association is an association of a record.
type Association struct {
	To    string // the target's id
	Types []AssociationType
}

// AssociationType is a type of an association.
type AssociationType struct {
	Category string
	TypeID   int
}

// Records iterates over the records of an object type in the order of their making. Those made while it runs are left
// out. Like all that asks for an object type, it panics if Config does not list it: a count of nothing would look like
// a proof.
func (c *CRM) Records(objectType string) iter.Seq[Record] { return c.table(objectType).all() }

// Find returns the record that holds a value of a unique property, in the form in which the account keeps it. It
// panics if the property is not unique.
func (c *CRM) Find(objectType, property, value string) (Record, bool) {
	t := c.table(objectType)
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
	return t.record(i), true
}

// Archive archives a record, as a person does who deletes it: a read finds it with ?archived=true only. Its unique
// values stay taken.
func (c *CRM) Archive(objectType, id string) error {
	t := c.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.index(id)
	if err == nil {
		t.archived[i] = true
	}
	return err
}

// Merge merges a record into another one of its object type, as a person does. A read of it, by a unique value or by
// its id, says nothing of it. Its unique values stay taken, and conflicts name the other record.
func (c *CRM) Merge(objectType, from, into string) error {
	t := c.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.index(from)
	other, otherErr := t.index(into)
	if err := errors.Join(err, otherErr); err != nil {
		return err
	}
	if t.survivor(other) == i {
		return fmt.Errorf("hubspottest: record %s can't be merged into itself", from)
	}
	t.merged[i] = other
	return nil
}

// index finds a record by its id. The caller holds mu.
func (t *table) index(id string) (int, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	i, ok := slices.BinarySearch(t.ids, n)
	if err != nil || !ok {
		return 0, fmt.Errorf("hubspottest: no record %s of %s", id, t.name)
	}
	return i, nil
}

// survivor is the record that has a record's unique values: itself, or the one it was merged into. The caller holds mu.
func (t *table) survivor(i int) int {
	for {
		into, ok := t.merged[i]
		if !ok {
			return i
		}
		i = into
	}
}

// record describes a record. The caller holds mu.
func (t *table) record(i int) Record {
	r := Record{
		ID: strconv.FormatInt(t.ids[i], 10), CreatedAt: time.UnixMilli(t.created[i]).UTC(),
		Associations: t.links[i], Archived: t.archived[i],
	}
	if t.keep {
		r.Properties = properties(t.kept[i])
	}
	if into, ok := t.merged[i]; ok {
		r.MergedInto = strconv.FormatInt(t.ids[into], 10)
	}
	return r
}

// all iterates over the records that exist now; those made meanwhile are left out. It holds no lock while it yields.
func (t *table) all() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		t.mu.Lock()
		now := &table{ // append-only: what the slices show now never changes
			keep: t.keep, ids: t.ids, created: t.created, kept: t.kept,
			links: maps.Clone(t.links), merged: maps.Clone(t.merged), archived: maps.Clone(t.archived),
		}
		t.mu.Unlock()
		for i := range now.ids {
			if !yield(now.record(i)) {
				return
			}
		}
	}
}

// aim looks at where an input's associations go. It drops those that are dropped in silence.
func (t *table) aim(in *input) *problem {
	astray := func(a Association) bool { return !t.targets[a.To] }
	if t.spec.Targets == nil || !slices.ContainsFunc(in.links, astray) {
		return nil
	}
	switch t.spec.MissingTarget {
	case TargetDropped:
		if in.links = slices.DeleteFunc(in.links, astray); len(in.links) == 0 {
			in.links = nil
		}
		return nil
	case TargetRefused:
		return &problem{status: http.StatusNotFound, category: "OBJECT_NOT_FOUND", message: "Object not found.", whole: true}
	}
	return invalid("One or more associations are not valid")
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
