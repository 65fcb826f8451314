package hubspottest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

// heard is what a read told.
type heard struct {
	Status  int
	Found   []string // event ids, sorted
	Missing []string // by an error's context.ids, of the answer or of its error
}

func hear(t *testing.T, a answer) heard {
	t.Helper()
	h := heard{Status: a.status}
	for _, r := range a.Results {
		h.Found = append(h.Found, *r.Properties["event_id"])
	}
	slices.Sort(h.Found)
	contexts := []json.RawMessage{a.Context}
	for _, e := range a.Errors {
		if e.Category != "OBJECT_NOT_FOUND" {
			t.Errorf("answered %s", a.raw)
		}
		contexts = append(contexts, e.Context)
	}
	if a.status == 404 && a.Category != "OBJECT_NOT_FOUND" || a.status == 207 && a.NumErrors != 1 {
		t.Errorf("answered %s", a.raw)
	}
	for _, raw := range contexts {
		var c struct{ IDs []string }
		if raw != nil {
			if err := json.Unmarshal(raw, &c); err != nil {
				t.Error(err)
			}
		}
		h.Missing = append(h.Missing, c.IDs...)
	}
	slices.Sort(h.Missing)
	return h
}

// TestReadForms reads e0 to e3, which exist, and x0 and x1, which don't.
func TestReadForms(t *testing.T) {
	for name, c := range map[string]struct {
		fault hubspottest.Fault
		ask   string
		want  heard
	}{
		"plain, all":            {hubspottest.None, "e0 e1", heard{200, []string{"e0", "e1"}, nil}},
		"plain, some":           {hubspottest.None, "x1 e1 x0 e0", heard{207, []string{"e0", "e1"}, []string{"x0", "x1"}}},
		"plain, none":           {hubspottest.None, "x1 x0", heard{207, nil, []string{"x0", "x1"}}},
		"empty, all":            {hubspottest.ReadEmptyIfMissing, "e0 e1", heard{200, []string{"e0", "e1"}, nil}},
		"empty, some":           {hubspottest.ReadEmptyIfMissing, "e1 x1 x0 e0", heard{207, nil, []string{"x1"}}},
		"empty, none":           {hubspottest.ReadEmptyIfMissing, "x1 x0", heard{404, nil, []string{"x0", "x1"}}},
		"unnamed, all":          {hubspottest.Read404Unnamed, "e0 e1", heard{200, []string{"e0", "e1"}, nil}},
		"unnamed, some":         {hubspottest.Read404Unnamed, "e1 x1 x0 e0", heard{207, nil, []string{"x1"}}},
		"unnamed, none":         {hubspottest.Read404Unnamed, "x1 x0", heard{404, nil, nil}},
		"left out, all":         {hubspottest.ReadLeavesOut, "e0 e1", heard{200, []string{"e1"}, nil}},
		"left out, one missing": {hubspottest.ReadLeavesOut, "e1 x1 e0", heard{200, []string{"e0", "e1"}, nil}},
		"left out, two missing": {hubspottest.ReadLeavesOut, "e1 x1 x0 e0",
			heard{207, []string{"e0", "e1"}, []string{"x0"}}},
		"left out, the only one":  {hubspottest.ReadLeavesOut, "x0", heard{200, nil, nil}},
		"without a word, missing": {hubspottest.NoResults, "x0 e0", heard{200, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, hubspottest.Config{})
			post(t, s, "contacts/batch/create", batch(many(4)...))
			s.ScriptReads(c.fault)
			a := post(t, s, "contacts/batch/read", readBody("event_id", strings.Fields(c.ask)...))
			if diff := cmp.Diff(c.want, hear(t, a)); diff != "" {
				t.Errorf("-want +got:\n%s%s", diff, a.raw)
			}
			results := strings.Contains(string(a.raw), `"results":[`)
			if results != (a.status < 300 && c.fault != hubspottest.NoResults) {
				t.Errorf("answered %s", a.raw)
			}
		})
	}
}

// TestReadByID: records by their ids, with other properties; what does not exist is named.
func TestReadByID(t *testing.T) {
	for _, kept := range []bool{true, false} {
		s := start(t, hubspottest.Config{KeepProperties: kept})
		first, err := s.Add("contacts", map[string]string{"event_id": "e0", "name": "Ann"}, now)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Add("contacts", map[string]string{"event_id": "e1"}, now)
		if err != nil {
			t.Fatal(err)
		}
		a := post(t, s, "contacts/batch/read", `{"inputs":[{"id":"4711"},{"id":"`+second+`"},{"id":"`+first+`"}],`+
			`"properties":["event_id","name"],"propertiesWithHistory":[]}`)
		if a.status != 207 || len(a.Results) != 2 || len(a.Errors) != 1 || string(a.Errors[0].Context) != `{"ids":["4711"]}` {
			t.Fatalf("answered %d %s", a.status, a.raw)
		}
		for _, r := range a.Results {
			var name, event *string
			if kept && r.ID == first {
				name = new("Ann")
			}
			if kept {
				event = new(map[string]string{first: "e0", second: "e1"}[r.ID])
			}
			if !cmp.Equal(r.Properties["name"], name) || !cmp.Equal(r.Properties["event_id"], event) {
				t.Errorf("kept %v: properties %v of %s", kept, r.Properties, r.ID)
			}
		}
	}
}

// TestKept: values are unique by what is kept, found by all that is kept so, and told so.
func TestKept(t *testing.T) {
	for name, c := range map[string]struct {
		property   string
		fold       hubspottest.Fold
		sent, kept string
		others     []string // that are kept so
		not        string   // that is kept otherwise
	}{
		"leading zeros":         {"event_id", hubspottest.FoldNumber, "0007", "7", []string{"7", "07", "7.0", "+7"}, "70"},
		"zeros after the point": {"event_id", hubspottest.FoldNumber, "1.50", "1.5", []string{"1.5", "01.500"}, "1.05"},
		"nought":                {"event_id", hubspottest.FoldNumber, "000", "0", []string{"0", "0.0"}, "00x"},
		"no number":             {"event_id", hubspottest.FoldNumber, "007b", "007b", nil, "7b"},
		"white space":           {"event_id", hubspottest.FoldTrim, " a b\t", "a b", []string{"a b", "a b "}, "ab"},
		"case":                  {"event_id", hubspottest.FoldLower, "Abc", "abc", []string{"ABC"}, "ab"},
		"a secondary address": {"email", hubspottest.FoldSecondary, "Ann+work@X.y", "ann@x.y",
			[]string{"ann@x.y", "ann+home@x.y"}, "bob@x.y"},
		"an address as by today": {"email", nil, "Ann@X.y", "ann@x.y", []string{"ANN@x.y"}, "ann+@x.y"},
	} {
		t.Run(name, func(t *testing.T) {
			// Properties are not kept: what is told of a unique one is told all the same.
			s := start(t, hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{
				"contacts": {Unique: []string{"email", "event_id"}, Kept: map[string]hubspottest.Fold{c.property: c.fold}},
			}})
			member := func(value string) string { return string(mustJSON(t, c.property)) + ":" + string(mustJSON(t, value)) }
			a := post(t, s, "contacts/batch/create", batch(member(c.sent)))
			if a.status != 201 || *a.Results[0].Properties[c.property] != c.kept {
				t.Fatalf("answered %d %s, want %q", a.status, a.raw, c.kept)
			}
			id := a.Results[0].ID
			for _, value := range append(c.others, c.sent) {
				a := post(t, s, "contacts/batch/read", readBody(c.property, value))
				if a.status != 200 || a.Results[0].ID != id || *a.Results[0].Properties[c.property] != c.kept {
					t.Errorf("%q is read as %d %s", value, a.status, a.raw)
				}
				a = post(t, s, "contacts/batch/create", batch(member(value)))
				if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, id) {
					t.Errorf("%q was free: %s", value, a.raw)
				}
				if r, ok := s.Find("contacts", c.property, value); !ok || r.ID != id {
					t.Errorf("%q is held by %+v, %v", value, r, ok)
				}
			}
			a = post(t, s, "contacts/batch/read", readBody(c.property, c.not))
			if a.status != 207 || string(a.Errors[0].Context) != `{"ids":[`+string(mustJSON(t, c.not))+`]}` {
				t.Errorf("%q is read as %d %s", c.not, a.status, a.raw)
			}
			if _, ok := s.Find("contacts", c.property, c.not); ok {
				t.Errorf("%q is held", c.not)
			}
			if diff := cmp.Diff(map[string]int{c.kept: 1}, s.Count("contacts", c.property)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func mustJSON(t *testing.T, value string) []byte {
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
