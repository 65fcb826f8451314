package hubspot

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"crmintake/worker"

	"pgregory.net/rapid"
)

// answered is Create without the wire.
func answered(inputs []worker.Input, status int, header http.Header, body []byte, readErr error) worker.Answer {
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.traces.assign(inputs)
	a := worker.Answer{Outcomes: make([]worker.Outcome, len(inputs))}
	a.Class, a.Call = w.readResponse(status, header, body, readErr, newRedactor("pat-test"), time.Unix(0, 0))
	w.assignOutcomes(&a, inputs, idProperty, true)
	return a
}

func FuzzAnswer(f *testing.F) {
	ok := complete(`"results":[{"id":"1","objectWriteTraceId":"ta"},{"id":"2","properties":{"email":"BOB@x"}}]`)
	for _, body := range []string{ok, ok[:len(ok)-9], html, "", "null", "[]", "{}", conflict, invalid, "\x1f\x8b\x08",
		complete(`"results":[],"errors":[` + conflict + `,` + invalid + `]`),
		complete(`"results":[{"id":1,"id":2,"objectWriteTraceId":"ta"},{"id":"1","objectWriteTraceId":"tb"}]`),
		`{"errors":[{"category":"CONFLICT","context":"{objectWriteTraceId=[ta, i2], existingId=[5]}",` +
			`"errors":[{"errors":[7]}]}]}`,
		`{"category":"VALIDATION_ERROR","message":"` + coordinatesMessage("hs_sku", "x", "12") + `"}`,
		`{"category":"VALIDATION_ERROR","message":"Property values were not valid: [{\"error\":\"CONTACT_EXISTS\",` +
			`\"message\":\"Existing ID: 7\"}]"}`,
		complete(`"results":[{"id":"1","properties":{"email":"Ann@x","n":null}}],"errors":[{"category":"OBJECT_NOT_FOUND",` +
			`"context":{"ids":["bob@x"]}}]`),
		`{"category":"OBJECT_NOT_FOUND","errors":[{"context":"{ids=[Ann@x, bob@x]}"}]}`,
		`{"status":"error","message":"Unable to infer object type from: leases"}`,
		`{"category":"MISSING_SCOPES","errors":[{"context":{"requiredGranularScopes":["crm.objects.deals.write"]}}]}`,
		`{"category":"RATE_LIMIT","policyName":"DAILY","correlationId":7}`,
		strings.Repeat(`{"errors":[`, 20000),
	} {
		for _, status := range []int{200, 207, 400, 403, 404, 409, 413, 429, 500} {
			f.Add(status, []byte(body), "3", 3)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter string, n int) {
		inputs := three()[:1+max(n, -n, 0)%3]
		a := answered(inputs, status, http.Header{"Retry-After": {retryAfter}}, body, nil)
		checkLaws(t, a, len(inputs))
		if a.Call.Wait < 0 || a.Call.Wait > maxRetryAfter {
			t.Errorf("wait %v", a.Call.Wait)
		}
		if cut := answered(inputs, status, nil, body, errors.New("cut")); cut.Class == worker.Answered {
			t.Error("a broken answer counts")
		}
		w := new(workspace)
		if w.doc.decode(body, nil) == nil {
			for _, values := range [][]string{{"Ann@x", "bob@x"}, {"Ann@x"}} {
				checkLookup(t, lookup{doc: &w.doc, idProperty: idProperty, values: values, properties: []string{"n"}}, body)
			}
		}
	})
}

// checkLookup are the promises that hold for any answer to a read.
func checkLookup(t *testing.T, l lookup, body []byte) {
	t.Helper()
	l.run()
	owner := map[string]string{}
	for value, f := range l.found {
		if !slices.Contains(l.values, value) || !validID(f.RecordID) || owner[f.RecordID] != "" || l.missing[value] {
			t.Errorf("%q: record %q of %q; found %v, missing %v", value, f.RecordID, owner[f.RecordID], l.found, l.missing)
		}
		owner[f.RecordID] = value
	}
	for value := range l.missing {
		if !slices.Contains(l.values, value) {
			t.Errorf("missing %q, which nobody asked for", value)
		}
	}
	if len(l.missing) > 0 && !bytes.Contains(body, []byte("_")) && !bytes.Contains(body, []byte(`\`)) {
		t.Errorf("missing %v, and no code says so", l.missing)
	}
	if l.why() == "" {
		t.Error("no reason")
	}
}

// Whatever an answer holds, each input is what the entries that name it say, and those that name others don't matter.
func TestAnswerLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "inputs")
		inputs := make([]worker.Input, n)
		for i := range inputs {
			inputs[i].TraceID = fmt.Sprintf("t%d", i)
			inputs[i].IDValue = fmt.Sprintf("v%d", i)
		}
		type said struct {
			ids    map[string]bool
			errors int
			doubt  bool
			fault  bool
		}
		facts := make([]said, n)
		owners := map[string]map[int]bool{} // of record ids
		var results, errs []string
		for range rapid.IntRange(0, 15).Draw(t, "results") {
			at := rapid.IntRange(0, n+1).Draw(t, "at") // n and n+1 are unmatched
			id := fmt.Sprint(rapid.IntRange(1, 12).Draw(t, "id"))
			if rapid.Bool().Draw(t, "by trace") {
				results = append(results, fmt.Sprintf(`{"id":%q,"objectWriteTraceId":"t%d"}`, id, at))
			} else {
				results = append(results, fmt.Sprintf(`{"properties":{"email":"V%d"},"id":%s}`, at, id))
			}
			if at < n {
				if facts[at].ids == nil {
					facts[at].ids = map[string]bool{}
				}
				facts[at].ids[id] = true
			}
		}
		for range rapid.IntRange(0, 6).Draw(t, "errors") {
			category := rapid.SampledFrom([]string{"VALIDATION_ERROR", "RATE_LIMIT", "INTERNAL_ERROR"}).Draw(t, "category")
			named := rapid.SliceOfN(rapid.IntRange(0, n), 0, 3).Draw(t, "named")
			var words []string
			seen := map[int]bool{}
			for _, at := range named {
				words = append(words, fmt.Sprintf("%q", fmt.Sprintf("t%d", at)))
				if at < n && !seen[at] {
					seen[at] = true
					facts[at].errors++
					facts[at].doubt = facts[at].doubt || category == "INTERNAL_ERROR"
					facts[at].fault = facts[at].fault || category == "VALIDATION_ERROR"
				}
			}
			errs = append(errs, fmt.Sprintf(`{"category":%q,"context":{"objectWriteTraceId":[%s]}}`, category,
				strings.Join(words, ",")))
		}
		for at := range facts {
			for id := range facts[at].ids {
				if owners[id] == nil {
					owners[id] = map[int]bool{}
				}
				owners[id][at] = true
			}
		}
		if n == 1 && len(results) == 1 && len(errs) == 0 && !strings.Contains(results[0], "objectWriteTraceId") {
			facts[0].ids = map[string]bool{} // a lone input's only result needs no name
			for id := range 13 {
				if strings.Contains(results[0], fmt.Sprintf(`"id":%d}`, id)) {
					facts[0].ids[fmt.Sprint(id)] = true
				}
			}
		}
		a := answered(inputs, 207, nil, []byte(complete(`"errors":[`+strings.Join(errs, ",")+`],"results":[`+
			strings.Join(results, ",")+`]`)), nil)
		checkLaws(t, a, n)
		for at, f := range facts {
			want := worker.Unknown
			switch {
			case len(f.ids) == 1 && f.errors == 0:
				want = worker.Created
				for id := range f.ids {
					if len(owners[id]) > 1 {
						want = worker.Unknown
					}
				}
			case len(f.ids) > 0 || f.doubt:
			case f.fault:
				want = worker.Rejected
			case f.errors > 0:
				want = worker.NotApplied
			}
			if got := a.Outcomes[at]; got.Verdict != want {
				t.Fatalf("input %d: %+v, want verdict %v", at, got, want)
			}
		}
	})
}
