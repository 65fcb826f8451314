package hubspottest_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"
)

func TestProperty(t *testing.T) {
	s := start(t, hubspottest.Config{Limit: hubspottest.Limit{Calls: 100, Window: 1e10},
		ObjectTypes: map[string]hubspottest.ObjectType{
			"contacts": {
				Properties: []string{"name"}, Unique: []string{"event_id"},
				Types: map[string]hubspottest.PropertyType{"phone": {Type: "string", FieldType: "phonenumber"}},
			},
			"deals": {},
		}})
	get := func(path string, spoil func(*http.Request)) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/crm/properties/2026-03/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if spoil != nil {
			spoil(r)
		}
		a, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for name, want := range map[string]struct {
		unique, readOnly bool
		fieldType        string
	}{
		"contacts/event_id": {unique: true}, "contacts/name": {}, "contacts/hs_object_id": {readOnly: true},
		"deals/anything": {},
		"contacts/phone": {fieldType: "phonenumber"},
	} {
		a := get(name, nil)
		var p struct {
			Name, Type, FieldType string
			HasUniqueValue        bool
			ModificationMetadata  struct{ ReadOnlyValue bool }
		}
		if err := json.Unmarshal(a.raw, &p); err != nil || a.status != 200 || p.HasUniqueValue != want.unique ||
			p.ModificationMetadata.ReadOnlyValue != want.readOnly || !strings.HasSuffix(name, "/"+p.Name) ||
			p.Type != "string" || p.FieldType != cmp.Or(want.fieldType, "text") {
			t.Errorf("%s: %d %s, %v", name, a.status, a.raw, err)
		}
		if a.header.Get("X-HubSpot-RateLimit-Max") != "100" {
			t.Errorf("%s: no quota in %v", name, a.header)
		}
	}
	before := s.Stats().Malformed
	for name, c := range map[string]struct {
		path  string
		spoil func(*http.Request)
		want  int
		bad   bool // in form
	}{
		"no such property": {path: "contacts/nobody", want: 404},
		"no such type":     {path: "tickets/name", want: 404},
		"no credential": {path: "contacts/name", spoil: func(r *http.Request) { r.Header.Del("Authorization") },
			want: 401},
		"POST": {path: "contacts/name", spoil: func(r *http.Request) { r.Method = "POST" }, want: 405,
			bad: true},
		"a query": {path: "contacts/name", spoil: func(r *http.Request) { r.URL.RawQuery = "a=b" }, want: 400,
			bad: true},
		"a property of two":  {path: "contacts/a/b", want: 404, bad: true},
		"no property at all": {path: "contacts", want: 404, bad: true},
		"another version": {path: "contacts/name", spoil: func(r *http.Request) {
			r.URL.Path = "/crm/v3/properties/contacts/" +
				"name"
		}, want: 404, bad: true},
	} {
		a := get(c.path, c.spoil)
		malformed := s.Stats().Malformed
		if a.status != c.want || (malformed > before) != c.bad {
			t.Errorf("%s: %d %s, malformed %v", name, a.status, a.raw, malformed > before)
		}
		before = malformed
	}
}
