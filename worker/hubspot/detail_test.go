package hubspot

import (
	"encoding/json"
	"testing"
)

// Which property an error is about, and which rule was broken, in all the places where that has been seen.
func TestDetail(t *testing.T) {
	message := func(s string) string {
		b, _ := json.Marshal(s)
		return `{"category":"VALIDATION_ERROR","message":` + string(b) + `}`
	}
	const hidden = `Property values were not valid: [{"isValid":false,` +
		`"message":"red was not one of the allowed options","error":"INVALID_OPTION","name":"stage"}`
	for name, c := range map[string]struct {
		body string
		want detail
	}{
		"JSON in the message": {message(hidden + `]`), detail{"stage", "INVALID_OPTION"}},
		"cut short":           {message(hidden + `,{"isVal`), detail{"stage", "INVALID_OPTION"}},
		"the first by name": {message(hidden + `,{"error":"X","name":"amount"},{"error":"Y","name":"zone"}]`),
			detail{"amount", "X"}},
		"what is valid is no one": {message(`[{"isValid":true,"error":"X","name":"a"},{"isValid":false,"error":"Y",` +
			`"name":"b"}]`), detail{"b", "Y"}},
		"JSON of another kind": {message(`no good: [{"error":7,"name":["x"]}]`), detail{}},
		"no JSON":              {message(`no good: [{oops`), detail{}},
		"words":                {message(`Property "amuont" does not exist`), detail{"amuont", ""}},
		"code and context": {`{"code":"PROPERTY_DOESNT_EXIST","context":{"propertyName":["amuont"]}}`,
			detail{"amuont", "PROPERTY_DOESNT_EXIST"}},
		"context of one string":   {`{"context":{"propertyName":"email"}}`, detail{"email", ""}},
		"sub-category":            {`{"subCategory":"CONFLICTING_UNIQUE_VALUE"}`, detail{"", "CONFLICTING_UNIQUE_VALUE"}},
		"sub-category, an object": {`{"subCategory":{"x":"y"}}`, detail{}},
		"an error within": {`{"message":"no good","errors":[{"code":"REQUIRED_FIELD","context":{"propertyName":["name"]}}]}`,
			detail{"name", "REQUIRED_FIELD"}},
		"the exact one wins": {`{"subCategory":"a","code":"b","message":"[{\"error\":\"c\",\"name\":\"p\"}]",` +
			`"context":{"propertyName":["q"]},` +
			`"errors":[{"code":"d","context":{"propertyName":["r"]}}]}`, detail{"p", "c"}},
		"nothing": {`{"message":null,"code":[],"context":{"propertyName":{}}}`, detail{}},
	} {
		t.Run(name, func(t *testing.T) {
			var d document
			if err := d.decode([]byte(`{"errors":[`+c.body+`]}`), nil); err != nil {
				t.Fatal(err)
			}
			if got := d.errors[0].apart(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			// A whole body that is such an error tells the same, with the errors within read apart.
			if err := d.decode([]byte(c.body), nil); err != nil {
				t.Fatal(err)
			}
			got := d.top.apart()
			for i := range d.errors {
				got = got.or(d.errors[i].apart())
			}
			if got != c.want {
				t.Errorf("alone: %+v, want %+v", got, c.want)
			}
		})
	}
}
