package hubspot

import (
	"io"
	"net/http"
	"testing"
	"time"

	"crmintake/worker"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadRequest(t *testing.T) {
	var path, body string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, body = r.URL.Path, string(b)
	})
	c.Read(t.Context(), "contacts", `p"q`, []string{"a", "b\n"}, nil)
	const want = `{"idProperty":"p\"q","inputs":[{"id":"a"},{"id":"b\n"}],"properties":["p\"q"],"propertiesWithHistory":[]}`
	if path != "/crm/objects/2026-03/contacts/batch/read" || body != want {
		t.Errorf("%s %s", path, body)
	}
}

func TestReadAnswers(t *testing.T) {
	created := time.Date(2026, 2, 1, 1, 2, 3, 4e6, time.UTC)
	ann := `{"id":"1","properties":{"email":"ann@x"},"createdAt":"2026-02-01T01:02:03.004Z","url":"https://app/1"}`
	bob := `{"id":2,"properties":{"x":null,"email":"bob@x"},"createdAt":"yesterday"}`
	missing := `{"status":"error","category":"OBJECT_NOT_FOUND","message":"Could not get some objects","context":{"ids":["cy@x"]}}`
	both := map[string]worker.Found{"Ann@x": {RecordID: "1", URL: "https://app/1", CreatedAt: created}, "bob@x": {RecordID: "2"}}
	alone := map[string]worker.Found{"Ann@x": both["Ann@x"]}
	for _, c := range []struct {
		name   string
		status int
		body   string
		class  worker.Class
		found  map[string]worker.Found
	}{
		{"all, case changed", 200, complete(`"results":[` + bob + `,` + ann + `]`), worker.Answered, both},
		{"some missing, 207", 207, complete(`"numErrors":1,"results":[` + ann + `,` + bob + `],"errors":[` + missing + `]`), worker.Answered, both},
		{"none, 207", 207, complete(`"results":[],"errors":[` + missing + `]`), worker.Answered, map[string]worker.Found{}},
		{"none, 200", 200, complete(`"results":[]`), worker.Answered, map[string]worker.Found{}},
		{"one twice", 200, complete(`"results":[` + ann + `,` + ann + `,` + bob + `]`), worker.Answered, both},

		{"another error", 207, complete(`"results":[` + ann + `],"errors":[{"category":"INTERNAL_ERROR"}]`), worker.Ambiguous, alone},
		{"an error without a category", 207, complete(`"results":[` + ann + `],"errors":[` + missing + `,{}]`), worker.Ambiguous, alone},
		{"errors counted and not told", 207, complete(`"numErrors":2,"results":[` + ann + `]`), worker.Ambiguous, alone},
		{"two records of one value", 200, complete(`"results":[` + ann + `,{"id":"9","properties":{"email":"ANN@X"}}]`), worker.Ambiguous, nil},
		{"another value is normalised", 200, complete(`"results":[{"id":"9","properties":{"email":"0"}},` + ann + `]`), worker.Ambiguous, alone},
		{"a value nobody asked for", 200, complete(`"results":[{"id":"9","properties":{"email":"zoe@x"}}]`), worker.Ambiguous, nil},
		{"a result without the property", 200, complete(`"results":[{"id":"9","properties":{}}]`), worker.Ambiguous, nil},
		{"a result that is no object", 200, complete(`"results":[null]`), worker.Ambiguous, nil},
		{"a result without an id", 200, complete(`"results":[{"properties":{"email":"bob@x"}}]`), worker.Ambiguous, nil},
		{"two values it could be", 200, complete(`"results":[{"id":"9","properties":{"email":"DEE@x"}}]`), worker.Ambiguous, nil},
		{"PENDING", 200, `{"status":"PENDING","results":[]}`, worker.Ambiguous, nil},
		{"no status", 200, `{"results":[]}`, worker.Ambiguous, nil},
		{"no results", 200, complete(`"errors":[]`), worker.Ambiguous, nil},
		{"results null", 200, complete(`"results":null`), worker.Ambiguous, nil},
		{"an empty object", 200, `{}`, worker.Ambiguous, nil},
		{"cut", 200, `{"status":"COMPLETE","results":[`, worker.Ambiguous, nil},
		{"HTML", 200, html, worker.Ambiguous, nil},
		{"400", 400, `{"category":"VALIDATION_ERROR"}`, worker.Refused, nil},
		{"401", 401, ``, worker.PauseAccount, nil},
		{"404", 404, missing, worker.PauseObjectType, nil},
		{"429", 429, ``, worker.Throttled, nil},
		{"500", 500, complete(`"results":[` + ann + `]`), worker.Ambiguous, nil},
		{"503", 503, html, worker.Unavailable, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := client(t, fixed(c.status, nil, c.body)).Read(t.Context(), "contacts", idProperty, []string{"Ann@x", "bob@x", "cy@x", "Dee@x", "dEE@x"}, nil)
			if diff := cmp.Diff(c.found, a.Found, cmpopts.EquateEmpty()); diff != "" || a.Class != c.class {
				t.Errorf("class %v, want %v; found (-want +got)\n%s%+v", a.Class, c.class, diff, a.Call)
			}
		})
	}
}

func TestReadNotSent(t *testing.T) {
	c := client(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for _, values := range [][]string{nil, make([]string, MaxInputs+1), {"\xff"}} {
		if a := c.Read(t.Context(), "contacts", "p", values, nil); a.Class != worker.Refused || a.Call.Detail == "" {
			t.Errorf("%d values: class %v", len(values), a.Class)
		}
	}
}
