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
		cause      worker.Cause
		want       string
	}{
		"text": {"deals", hubspot.Property{Name: "p", Type: "string", HasUniqueValue: true}, worker.Answered,
			worker.NoCause, "ok: there and unique"},
		"email": {"contacts", hubspot.Property{Name: "email", Type: "string"}, worker.Answered, worker.NoCause,
			"ok: unique by itself; warning: single-line text"},
		"phone number": {"deals", hubspot.Property{Name: "p", FieldType: "phonenumber", HasUniqueValue: true},
			worker.Answered, worker.NoCause, "ok: there and unique; warning: single-line text"},
		"not unique": {"deals", hubspot.Property{Name: "p", Type: "number"}, worker.Answered, worker.NoCause,
			"failure: one value in several records"},
		"no type": {"leases", hubspot.Property{Name: "p"}, worker.PauseObjectType, worker.NotFound,
			"failure: there is no such object type"},
		"another 400": {"leases", hubspot.Property{Name: "p"}, worker.Refused, worker.NoCause,
			"warning: can't be looked at now"},
	} {
		t.Run(name, func(t *testing.T) {
			var f findings
			f.property(c.objectType, c.property.Name, c.property, c.class, worker.Call{Cause: c.cause})
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
