package hubspottest

import (
	"iter"
	"net/http"
	"slices"
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

// all iterates over the records that exist now; those made meanwhile are left out. It holds no lock while it yields.
func (t *table) all() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		t.mu.Lock()
		now := t.rows.snapshot()
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
