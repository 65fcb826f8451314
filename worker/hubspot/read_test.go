package hubspot

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crmintake/worker"
	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

func TestReadRequest(t *testing.T) {
	for want, c := range map[string]struct {
		idProperty         string
		values, properties []string
	}{
		`{"idProperty":"p\"q","inputs":[{"id":"a"},{"id":"b\n"}],"properties":["p\"q"],"propertiesWithHistory":[]}`: {`p"q`,
			[]string{"a", "b\n"}, nil},
		`{"idProperty":"p","inputs":[{"id":"a"}],"properties":["p","x","y"],"propertiesWithHistory":[]}`: {"p", []string{"a"},
			[]string{"x", "p", "y", "x"}},
		`{"inputs":[{"id":"7"}],"properties":[],"propertiesWithHistory":[]}`: {"", []string{"7"}, nil},
		`{"inputs":[{"id":"7"},{"id":"8"}],"properties":["x"],"propertiesWithHistory":[]}`: {"", []string{"7", "8"},
			[]string{"x"}},
	} {
		var path, body string
		cl := client(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			path, body = r.URL.Path, string(b)
		})
		cl.Read(t.Context(), "contacts", c.idProperty, c.values, c.properties)
		if path != "/crm/objects/2026-03/contacts/batch/read" || body != want {
			t.Errorf("%s %s, want %s", path, body, want)
		}
	}
}

// tells describes what a read told, in the order of the values: the record, "missing", or nothing.
func tells(a worker.ReadAnswer, values []string) string {
	var all []string
	for _, v := range values {
		word := "-"
		if f, ok := a.Found[v]; ok {
			word = f.RecordID
		}
		if a.Missing[v] {
			word = strings.TrimPrefix(word+"missing", "-")
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

func TestReadAnswers(t *testing.T) {
	values := []string{"Ann@x", "bob@x", "cy@x", "Dee@x", "dEE@x"}
	const (
		ann     = `{"id":"1","properties":{"email":"ann@x"}}`
		bob     = `{"id":2,"properties":{"x":null,"email":"bob@x"},"createdAt":"yesterday"}`
		missing = `{"status":"error","category":"OBJECT_NOT_FOUND","message":"Could not get some objects",` +
			`"context":{"ids":["cy@x"]}}`
		nothing = "- - - - -"
		others  = "- - missing - -"
	)
	all := `{"category":"OBJECT_NOT_FOUND","context":{"ids":["ann@X","bob@x","cy@x","Dee@x","dEE@x"]}}`
	for _, c := range []struct {
		name   string
		status int
		body   string
		class  worker.Class
		want   string
	}{
		{"some, case changed", 200, complete(`"results":[` + bob + `,` + ann + `]`), worker.Answered, "1 2 - - -"},
		{"some missing, 207", 207, complete(`"numErrors":1,"results":[` + ann + `,` + bob + `],"errors":[` + missing + `]`),
			worker.Answered, "1 2 missing - -"},
		{"one missing, 207 without results", 207, complete(`"results":[],"errors":[` + missing + `]`), worker.Answered,
			others},
		{"the same in a 200", 200, complete(`"results":[],"errors":[` + missing + `]`), worker.Answered, others},
		{"one string", 207, complete(`"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":"cy@x"}}]`), worker.Answered,
			others},
		{"in Java", 207, complete(`"errors":[{"category":"OBJECT_NOT_FOUND","context":"{ids=[cy@x, bob@x]}"}]`),
			worker.Answered, "- missing missing - -"},
		{"an error within", 207, complete(`"errors":[{"category":"OBJECT_NOT_FOUND",` +
			`"errors":[{"context":{"ids":["cy@x"]}}]}]`), worker.Answered, others},
		{"an error within, of another category", 207,
			complete(`"errors":[{"category":"OBJECT_NOT_FOUND","errors":[{"category":"VALIDATION_ERROR",` +
				`"context":{"ids":["cy@x"]}}]}]`),
			worker.Answered, nothing},
		{"case changed", 207, complete(`"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["CY@x","dee@x"]}}]`),
			worker.Answered, others},
		{"all missing, each named", 207, complete(`"results":[],"errors":[` + all + `]`), worker.Answered,
			"missing missing missing missing missing"},
		{"one twice", 200, complete(`"results":[` + ann + `,` + ann + `,` + bob + `]`), worker.Answered, "1 2 - - -"},

		// What proves nothing about what it leaves out.
		{"none, 200", 200, complete(`"results":[]`), worker.Answered, nothing},
		{"another error", 207, complete(`"results":[` + ann +
			`],"errors":[{"category":"INTERNAL_ERROR","context":{"ids":["cy@x"]}}]`), worker.Answered, "1 - - - -"},
		{"an error without a category", 207, complete(`"results":[` + ann + `],"errors":[` + missing +
			`,{"context":{"ids":["bob@x"]}}]`), worker.Answered, "1 - missing - -"},
		{"a category without ids", 207, complete(`"results":[],"errors":[{"category":"OBJECT_NOT_FOUND","message":"cy@x"}]`),
			worker.Answered, nothing},
		{"errors counted and not told", 207, complete(`"numErrors":2,"results":[` + ann + `]`), worker.Answered, "1 - - - -"},
		{"two records of one value", 200, complete(`"results":[` + ann + `,{"id":"9","properties":{"email":"ANN@X"}}]`),
			worker.Answered, nothing},
		{"two values of one record", 200, complete(`"results":[` + ann + `,{"id":"1","properties":{"email":"bob@x"}}]`),
			worker.Answered, nothing},
		{"found and missing", 207, complete(`"results":[` + ann + `,` + bob +
			`],"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["bob@x"]}}]`), worker.Answered, "1 - - - -"},
		{"two records, and missing", 207, complete(`"results":[` + ann +
			`,{"id":"9","properties":{"email":"ANN@X"}}],` +
			`"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["Ann@x"]}}]`),
			worker.Answered, nothing},
		{"another value is normalised", 200, complete(`"results":[{"id":"9","properties":{"email":"0"}},` + ann + `]`),
			worker.Answered, "1 - - - -"},
		{"a value nobody asked for", 200, complete(`"results":[{"id":"9","properties":{"email":"zoe@x"}}]`), worker.Answered,
			nothing},
		{"missing what nobody asked for", 207, complete(`"errors":[{"category":"OBJECT_NOT_FOUND",` +
			`"context":{"ids":["zoe@x"]}}]`), worker.Answered, nothing},
		{"a result without the property", 200, complete(`"results":[{"id":"9","properties":{}}]`), worker.Answered, nothing},
		{"a result that is no object", 200, complete(`"results":[null]`), worker.Answered, nothing},
		{"a result without an id", 200, complete(`"results":[{"properties":{"email":"bob@x"}}]`), worker.Answered, nothing},
		{"two values it could be", 200, complete(`"results":[{"id":"9","properties":{"email":"DEE@x"}}]`), worker.Answered,
			nothing},
		{"PENDING", 200, `{"status":"PENDING","results":[` + ann + `]}`, worker.Answered, "1 - - - -"},
		{"no status", 200, `{"results":[]}`, worker.Answered, nothing},
		{"no results", 200, complete(`"errors":[]`), worker.Answered, nothing},
		{"results null", 200, complete(`"results":null`), worker.Answered, nothing},
		{"an empty object", 200, `{}`, worker.Answered, nothing},

		{"404, all named at the top", 404, all, worker.Answered, "missing missing missing missing missing"},
		{"404, all named within", 404, `{"category":"OBJECT_NOT_FOUND","errors":[{"context":{"ids":["cy@x","bob@x"]}}]}`,
			worker.Answered, "- missing missing - -"},
		{"404, named in an error of its own", 404, `{"message":"x","errors":[` + missing + `]}`, worker.Answered, others},
		{"404, some named", 404, missing, worker.Answered, others},
		{"404 without a name", 404, `{"category":"OBJECT_NOT_FOUND","message":"no"}`, worker.Answered, nothing},
		{"404 in words", 404, `{"message":"Could not get some CONTACT objects, they may be deleted or not exist"}`,
			worker.Answered, nothing},
		{"404 of a wrong path", 404, `{"message":"Resource not found"}`, worker.PauseObjectType, nothing},
		{"404 of the object type", 404, `{"category":"OBJECT_NOT_FOUND","message":"Unable to infer object type from: x",` +
			`"context":{"ids":["cy@x"]}}`, worker.PauseObjectType, nothing},
		{"404 HTML", 404, html, worker.PauseObjectType, nothing},
		{"404 cut", 404, all[:len(all)-9], worker.Answered, nothing},
		{"400 of the object type", 400, `{"message":"Unable to infer object type from: x"}`, worker.PauseObjectType, nothing},

		{"cut", 200, `{"status":"COMPLETE","results":[`, worker.Ambiguous, nothing},
		{"HTML", 200, html, worker.Ambiguous, nothing},
		{"400", 400, `{"category":"VALIDATION_ERROR"}`, worker.Refused, nothing},
		{"400 that names what is missing", 400, missing, worker.Refused, nothing},
		{"401", 401, ``, worker.PauseAccount, nothing},
		{"429", 429, ``, worker.Throttled, nothing},
		{"500", 500, complete(`"results":[` + ann + `]`), worker.Ambiguous, nothing},
		{"503", 503, html, worker.Unavailable, nothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := client(t, fixed(c.status, nil, c.body)).Read(t.Context(), "contacts", idProperty, values, nil)
			if got := tells(a, values); got != c.want || a.Class != c.class ||
				len(a.Found)+len(a.Missing)+strings.Count(got, "-") != len(values) {
				t.Errorf("class %v, want %v; %s, want %s; %s", a.Class, c.class, got, c.want, a.Call.Detail)
			}
			open := fmt.Sprintf("%d that tells nothing of %d of 5 values", c.status, strings.Count(c.want, "-"))
			switch complete := !strings.Contains(c.want, "-"); {
			case c.class == worker.Answered && !complete &&
				(a.Call.LogDetail != open || !strings.HasPrefix(a.Call.Detail, open+": ") || string(a.Call.Raw) != c.body),
				c.class == worker.Answered && complete && (a.Call.Detail != "" || a.Call.Raw != nil):
				t.Errorf("gist %q, detail %q, raw %s", a.Call.LogDetail, a.Call.Detail, a.Call.Raw)
			}
		})
	}
}

// The only value that was asked for needs no echo.
func TestReadOne(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		body  string
		want  string
	}{
		"no echo":             {"007", `"results":[{"id":"9"}]`, "9"},
		"another echo":        {"007", `"results":[{"id":"9","archived":true,"properties":{"email":"7"}}]`, "9"},
		"another echo, twice": {"007", `"results":[{"id":"9","properties":{"email":"7"}},{"id":"9"}]`, "9"},
		"two records": {"007", `"results":[{"id":"9","properties":{"email":"7"}},{"id":"8","properties":{"email":"8"}}]`,
			"-"},
		"two, one of which it": {"007", `"results":[{"id":"9","properties":{"email":"7"}},{"id":"8",` +
			`"properties":{"email":"007"}}]`, "8"},
		"no record id":   {"007", `"results":[{"properties":{"email":"007"}}]`, "-"},
		"two record ids": {"007", `"results":[{"id":"9","id":"8"}]`, "-"},
		"missing, too": {"007", `"results":[{"id":"9"}],"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["007"]}}]`,
			"-"},
		"another missing":  {"007", `"results":[],"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["7"]}}]`, "-"},
		"missing, in Java": {"a, b", `"errors":[{"category":"OBJECT_NOT_FOUND","context":"{ids=[a, b]}"}]`, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			a := client(t, fixed(200, nil, complete(c.body))).Read(t.Context(), "contacts", idProperty, []string{c.value}, nil)
			if got := tells(a, []string{c.value}); got != c.want || a.Class != worker.Answered {
				t.Errorf("%s, want %s: %+v", got, c.want, a.Call)
			}
		})
	}
}

// Java's words prove nothing about values that they could be taken apart into in several ways.
func TestReadAmbiguousJava(t *testing.T) {
	for _, values := range [][]string{{"a, b", "a", "b"}, {"a], b", "a"}} {
		body := complete(`"errors":[{"category":"OBJECT_NOT_FOUND","context":"{ids=[` + values[0] + `]}"}]`)
		a := client(t, fixed(207, nil, body)).Read(t.Context(), "contacts", idProperty, values, nil)
		if len(a.Missing) > 0 {
			t.Errorf("%q: missing %v", values, a.Missing)
		}
	}
}

func TestReadByRecordID(t *testing.T) {
	body := complete(`"results":[{"id":"8","properties":{"a":"x","n":null,"e":""}},{"id":"10",` +
		`"properties":{"hs_object_id":"9"}}],` +
		`"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["7"]}}]`)
	a := client(t, fixed(207, nil, body)).Read(t.Context(), "contacts", "", []string{"7", "8", "9"},
		[]string{"a", "n", "e", "z"})
	want := map[string]worker.Found{"8": {RecordID: "8", Properties: map[string]string{"a": "x", "e": ""}}}
	if diff := cmp.Diff(want, a.Found); diff != "" || tells(a, []string{"7", "8", "9"}) != "missing 8 -" {
		t.Errorf("%s %v", diff, a.Missing)
	}
	// merged into another
	one := client(t, fixed(200, nil, complete(`"results":[{"id":"10"}]`))).Read(t.Context(), "contacts", "", []string{"9"},
		nil)
	if one.Found["9"].RecordID != "10" {
		t.Errorf("%+v", one)
	}
}

// What surrounds a record that was found.
func TestReadDetails(t *testing.T) {
	body := complete(`"results":[{"id":"1","properties":{"n":7,"deep":{"x":1},"email":"ann@x","e":"\u00e9","e":"f"},` +
		`"createdAt":"2026-02-01T01:02:03.004Z","url":"https://app/1"}]`)
	cl := client(t, fixed(200, http.Header{"Date": {"Sun, 01 Feb 2026 00:00:10 GMT"}}, body))
	want := worker.Found{RecordID: "1", URL: "https://app/1", CreatedAt: time.Date(2026, 2, 1, 1, 2, 3, 4e6, time.UTC)}
	a := cl.Read(t.Context(), "contacts", idProperty, []string{"Ann@x"}, nil)
	if diff := cmp.Diff(want, a.Found["Ann@x"]); diff != "" ||
		!a.Call.Date.Equal(time.Date(2026, 2, 1, 0, 0, 10, 0, time.UTC)) {
		t.Error(diff, a.Call)
	}
	want.Properties = map[string]string{"email": "ann@x", "n": "7", "e": "é"}
	a = cl.Read(t.Context(), "contacts", idProperty, []string{"Ann@x"}, []string{"n", "deep", "e", "none"})
	if diff := cmp.Diff(want, a.Found["Ann@x"]); diff != "" {
		t.Error(diff)
	}
}

// The simulated CRM, which takes nothing that is not in order, takes these requests.
func TestReadSimulated(t *testing.T) {
	crm, err := hubspottest.Start(hubspottest.Config{Token: "pat-test", KeepProperties: true,
		ObjectTypes: map[string]hubspottest.ObjectType{
			"contacts": {Unique: []string{"event_id"}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer crm.Close()
	id, err := crm.Add("contacts", map[string]string{"event_id": "e1", "name": "ann"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{BaseURL: crm.URL, Token: StaticToken("pat-test")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for idProperty, values := range map[string][]string{"event_id": {"e1", "e2"}, "": {id, "1"}} {
		a := c.Read(t.Context(), "contacts", idProperty, values, []string{"name", "event_id"})
		want := map[string]string{"name": "ann", "event_id": "e1"}
		if got := tells(a, values); got != id+" missing" || cmp.Diff(want, a.Found[values[0]].Properties) != "" {
			t.Errorf("by %q: %s %+v", idProperty, got, a)
		}
	}
	if n := crm.Stats().Malformed; n != 0 {
		t.Errorf("%d malformed requests", n)
	}
}

func TestReadNotSent(t *testing.T) {
	c := client(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for _, values := range [][]string{nil, make([]string, MaxInputs+1), {"\xff"}, {"properties"}} {
		var properties []string
		if len(values) == 1 {
			properties = []string{"\xff"}
		}
		if a := c.Read(t.Context(), "contacts", "p", values, properties); a.Class != worker.Refused || a.Call.Detail == "" {
			t.Errorf("%d values: class %v", len(values), a.Class)
		}
	}
}
