package operator

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestChange(t *testing.T) {
	t.Parallel()
	change := Change{Rename: map[string]string{"amuont": "amount"}, Unset: []string{"x"},
		Set: map[string]string{"b": "<ü>", "a": "1"}}
	for name, c := range map[string]struct{ before, after, err string }{
		"all of it": {`{"properties":{"amuont": 1.10,"x":null,"a":"0","o":"\u00e9"},"associations":[{"x":{}}]}`,
			`{"properties":{"amount":1.10,"a":"1","o":"\u00e9","b":"<ü>"},"associations":[{"x":{}}]}`, ""},
		"what looks like it before it": {`{"objectWriteTraceId":"{}" , "properties" : {} }`,
			`{"objectWriteTraceId":"{}" , "properties" : {"a":"1","b":"<ü>"} }`, ""},
		"nothing left to do": {`{"properties":{"b":"<ü>", "a":"1"}}`, `{"properties":{"b":"<ü>", "a":"1"}}`, ""},
		"in the way": {`{"properties":{"amuont":1,"amount":2}}`, "",
			`it has the properties "amuont" and "amount", so the one can't be renamed to the other`},
		"no object":                {`[]`, "", "it is no JSON object"},
		"no properties":            {`{"a":1}`, "", "the event has no properties"},
		"properties are no object": {`{"properties":7}`, "", "properties: it is no JSON object"},
		"more than an object":      {`{"properties":{}}{}`, "", "something follows its object"},
	} {
		t.Run(name, func(t *testing.T) {
			after, err := change.Apply([]byte(c.before))
			text := ""
			if err != nil {
				text = err.Error()
			}
			if string(after) != c.after || text != c.err {
				t.Fatalf("%s, %v", after, err)
			}
			if err != nil {
				return
			}
			again, err := change.Apply(after)
			if err != nil || string(again) != c.after || !json.Valid(again) {
				t.Errorf("again: %s, %v", again, err)
			}
		})
	}
	if _, err := change.Apply([]byte(`{"properties":{"a`)); err == nil {
		t.Error("what is cut short was changed")
	}
}

func TestChangeValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []Change{{}, {Unset: []string{""}}, {Unset: []string{"a"}, Set: map[string]string{"a": ""}},
		{Rename: map[string]string{"a": "a"}},
		{Rename: map[string]string{"a": "b", "c": "b"}}} {
		var fault *ChangeError
		if err := c.Validate(); !errors.As(err, &fault) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestValueOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ payload, property, want string }{
		{`{"properties":{"a":"é","n":1.10,"t":true}}`, "a", "é"}, {`{"properties":{"n":1.10}}`, "n", "1.10"},
		{`{"properties":{"t":true}}`, "t", "true"},
		{`{"properties":{}}`, "a", ""}, {`no`, "a", ""}, {`{"properties":{"":"x"}}`, "", ""},
	} {
		if got := valueOf([]byte(c.payload), c.property); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.property, c.payload, got, c.want)
		}
	}
}
