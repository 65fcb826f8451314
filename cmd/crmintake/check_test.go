package main

import (
	"strings"
	"testing"

	"crmintake/worker"
	"crmintake/worker/hubspot"
)

// What check says of an id property whose values may come back in another form, and of an object type that there isn't.
func TestCheckProperty(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objectType string
		property   hubspot.Property
		class      worker.Class
		status     int
		want       string
	}{
		"text":         {"deals", hubspot.Property{Name: "p", Type: "string", HasUniqueValue: true}, worker.Answered, 200, "ok: there and unique"},
		"email":        {"contacts", hubspot.Property{Name: "email", Type: "string"}, worker.Answered, 200, "ok: unique by itself; warning: single-line text"},
		"phone number": {"deals", hubspot.Property{Name: "p", FieldType: "phonenumber", HasUniqueValue: true}, worker.Answered, 200, "ok: there and unique; warning: single-line text"},
		"not unique":   {"deals", hubspot.Property{Name: "p", Type: "number"}, worker.Answered, 200, "failure: one value in several records"},
		"no type, 404": {"leases", hubspot.Property{Name: "p"}, worker.PauseObjectType, 404, "failure: there is no such object type"},
		"no type, 400": {"leases", hubspot.Property{Name: "p"}, worker.PauseObjectType, 400, "failure: there is no such object type"},
		"another 400":  {"leases", hubspot.Property{Name: "p"}, worker.Refused, 400, "warning: can't be looked at now"},
	} {
		t.Run(name, func(t *testing.T) {
			var f findings
			f.property(c.objectType, c.property.Name, c.property, c.class, worker.Call{Status: c.status})
			wants := strings.Split(c.want, "; ")
			if len(f) != len(wants) {
				t.Fatalf("%+v, want %s", f, c.want)
			}
			for i, want := range wants {
				level, text, _ := strings.Cut(want, ": ")
				if string(f[i].Level) != level || !strings.Contains(f[i].Text, text) {
					t.Errorf("%+v, want %s", f[i], want)
				}
			}
		})
	}
}
