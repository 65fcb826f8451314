package hubspottest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// rows are the records of one object type, each with its index. They are not safe for concurrent use: table guards
// them.
type rows struct {
	objectType string
	ids        []int64 // increasing, as records are only appended
	created    []int64 // milliseconds since 1970
	keep       bool
	kept       [][]byte              // the submitted properties, if keep
	links      map[int][]Association // by the record's index, like the next two
	merged     map[int]int           // into which record
	archived   map[int]bool
}

// index finds a record by its id.
func (r *rows) index(id string) (int, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	i, ok := slices.BinarySearch(r.ids, n)
	if err != nil || !ok {
		return 0, fmt.Errorf("hubspottest: no record %s of %s", id, r.objectType)
	}
	return i, nil
}

// survivor is the record that has a record's unique values: itself, or the one it was merged into.
func (r *rows) survivor(i int) int {
	for {
		into, ok := r.merged[i]
		if !ok {
			return i
		}
		i = into
	}
}

// record describes a record.
func (r *rows) record(i int) Record {
	one := Record{
		ID: strconv.FormatInt(r.ids[i], 10), CreatedAt: time.UnixMilli(r.created[i]).UTC(),
		Associations: r.links[i], Archived: r.archived[i],
	}
	if r.keep {
		one.Properties = properties(r.kept[i])
	}
	if into, ok := r.merged[i]; ok {
		one.MergedInto = strconv.FormatInt(r.ids[into], 10)
	}
	return one
}

// snapshot shows what there is now. It may be read while records are added: what the slices show never changes.
func (r *rows) snapshot() *rows {
	now := *r
	now.links, now.merged, now.archived = maps.Clone(r.links), maps.Clone(r.merged), maps.Clone(r.archived)
	return &now
}
