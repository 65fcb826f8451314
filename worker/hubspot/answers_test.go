package hubspot

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"crmintake/worker"

	"github.com/google/go-cmp/cmp"
)

func TestCreateAnswers(t *testing.T) {
	const (
		created = "created=1 created=2 created=3"
		unknown = "unknown unknown unknown"
		none    = "not-applied not-applied not-applied"
	)
	ok1, ok2, ok3 := `{"id":"1","objectWriteTraceId":"ta"}`, `{"id":"2","objectWriteTraceId":"tb"}`,
		`{"id":"3","objectWriteTraceId":"i2"}`
	results := func(r ...string) string { return `"results":[` + strings.Join(r, ",") + `]` }
	both := func(errors string, r ...string) string {
		return complete(`"numErrors":1,` + results(r...) + `,"errors":[` + errors + `]`)
	}
	retryAfter := func(s ...string) http.Header { return http.Header{"Retry-After": s} }
	quota := func(policy string) string {
		return `{"status":"error","message":"You have reached your limit.","errorType":"RATE_LIMIT","policyName":"` + policy +
			`"}`
	}
	for _, c := range []struct {
		name   string
		status int
		header http.Header
		body   string
		class  worker.Class
		want   string
		wait   time.Duration
	}{
		// Results by name.
		{"201 shuffled trace ids", 201, nil, complete(results(ok3, ok1, ok2)), worker.Answered, created, 0},
		{"200", 200, nil, complete(results(ok1, ok2, ok3)), worker.Answered, created, 0},
		{"207 without errors", 207, nil, complete(results(ok1, ok2, ok3)), worker.Answered, created, 0},
		{"errors null", 201, nil, complete(results(ok1, ok2, ok3) + `,"errors":null`), worker.Answered, created, 0},
		{"status in small letters, ids as numbers", 201, nil,
			`{"status":"complete","results":[{"id":1,"objectWriteTraceId":"ta"},{"id":2,"objectWriteTraceId":"tb"},{"id":3,` +
				`"objectWriteTraceId":"i2"}]}`,
			worker.Answered, created, 0},
		{"no status", 201, nil, `{"results":[` + ok1 + `]}`, worker.Answered, "created=1 unknown unknown", 0},
		{"escaped member names and a byte-order mark", 201, nil,
			"\xef\xbb\xbf" + `{"\u0072esults":[{"i\u0064":"1","objectWriteTraceId":"t\u0061"}]}`,
			worker.Answered, "created=1 unknown unknown", 0},
		{"no trace ids, id property, case changed", 201, nil,
			complete(results(`{"id":"2","properties":{"x":{"a":[1]},"email":"bob@x"}}`,
				`{"id":"1","properties":{"email":"ann@x"},"objectWriteTraceId":null}`)),
			worker.Answered, "created=1 created=2 unknown", 0},
		{"no trace ids, no id property", 201, nil, complete(results(`{"id":"1","properties":{"email":null}}`, `{"id":"2"}`,
			`{"id":"3","properties":null}`)),
			worker.Answered, unknown, 0},
		{"an unknown trace id", 201, nil, complete(results(`{"id":"1","objectWriteTraceId":"zz",`+
			`"properties":{"email":"bob@x"}}`, ok2)),
			worker.Answered, "unknown created=2 unknown", 0},
		{"a result twice", 201, nil, complete(results(ok1, ok1, ok2, ok3)), worker.Answered, created, 0},
		{"two records for one input", 201, nil, complete(results(ok1, `{"id":"9","objectWriteTraceId":"ta"}`, ok2, ok3)),
			worker.Answered, "unknown created=2 created=3", 0},
		{"one record for two inputs", 201, nil, complete(results(ok1, `{"id":"1","objectWriteTraceId":"tb"}`, ok3)),
			worker.Answered, "unknown unknown created=3", 0},
		{"one result by trace id, one by property", 201, nil,
			complete(results(ok2, `{"id":"7","properties":{"email":"bob@x"}}`)),
			worker.Answered, unknown, 0},
		{"more results than inputs", 201, nil, complete(results(ok1, ok2, ok3, `{"id":"4","objectWriteTraceId":"i3"}`)),
			worker.Answered, created, 0},
		{"results without a record id", 201, nil, complete(results(`{"objectWriteTraceId":"ta"}`,
			`{"id":"","objectWriteTraceId":"tb"}`, `{"id":{"v":3},"objectWriteTraceId":"i2"}`)),
			worker.Answered, unknown, 0},
		{"a record id that can't be one", 201, nil, complete(results(`{"id":"1\u0000","objectWriteTraceId":"ta"}`,
			`{"id":"2","id":"5","objectWriteTraceId":"tb"}`, ok3)),
			worker.Answered, "unknown unknown created=3", 0},
		{"results that are no objects", 201, nil, complete(results(`null`, `7`, `["a"]`, ok3)), worker.Answered,
			"unknown unknown created=3", 0},

		// Errors by name.
		{"207 one error", 207, nil, both(invalid, ok1, ok3), worker.Answered, "created=1 rejected created=3", 0},
		{"201 one error", 201, nil, both(invalid, ok3, ok1), worker.Answered, "created=1 rejected created=3", 0},
		{"207 only errors", 207, nil, both(invalid), worker.Answered, "unknown rejected unknown", 0},
		{"one error names several", 207, nil, both(`{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["ta",`+
			`"i2"]}}`, ok2),
			worker.Answered, "rejected created=2 rejected", 0},
		{"several errors name one", 207, nil, both(invalid+","+invalid, ok1, ok3), worker.Answered,
			"created=1 rejected created=3", 0},
		{"context is a map of strings", 207, nil, both(`{"category":"VALIDATION_ERROR",`+
			`"context":{"objectWriteTraceId":"tb"}}`, ok1, ok3),
			worker.Answered, "created=1 rejected created=3", 0},
		{"context is one string", 207, nil, both(`{"category":"VALIDATION_ERROR","context":"{missingScopes=[a], `+
			`objectWriteTraceId=[tb, i2]}"}`, ok1),
			worker.Answered, "created=1 rejected rejected", 0},
		{"context is an unclosed string", 207, nil, both(`{"category":"VALIDATION_ERROR","context":"{objectWriteTraceId=tb"}`,
			ok1),
			worker.Answered, "created=1 rejected unknown", 0},
		{"an error within names it", 207, nil, both(`{"category":"VALIDATION_ERROR",`+
			`"errors":[{"context":{"objectWriteTraceId":["tb"]}}]}`, ok1, ok3),
			worker.Answered, "created=1 rejected created=3", 0},
		{"category null and absent", 207, nil, both(`{"category":null,"message":null,`+
			`"context":{"objectWriteTraceId":["ta"]}},{"context":{"objectWriteTraceId":["tb"]}}`, ok3),
			worker.Answered, "rejected rejected created=3", 0},
		{"an error names nobody", 207, nil, both(`{"category":"VALIDATION_ERROR","message":"bad","context":null}`, ok1),
			worker.Answered, "created=1 unknown unknown", 0},
		{"errors that are no objects", 207, nil, both(`"bad",null,7,[]`, ok1), worker.Answered, "created=1 unknown unknown",
			0},
		{"a result and an error", 207, nil, both(invalid, ok1, ok2, ok3), worker.Answered, "created=1 unknown created=3", 0},
		{"rate limit", 207, nil, both(`{"category":"RATE_LIMITS","context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 not-applied created=3", 0},
		{"internal error", 207, nil, both(`{"category":"INTERNAL_ERROR","context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 unknown created=3", 0},
		{"internal error before and after a validation error", 207, nil,
			both(`{"category":"INTERNAL_ERROR","context":{"objectWriteTraceId":["ta"]}},`+
				`{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["ta","tb"]}},`+
				`{"category":"INTERNAL_ERROR","context":{"objectWriteTraceId":["tb"]}}`, ok3), worker.Answered,
			"unknown unknown created=3", 0},
		{"rate limit before and after a validation error", 207, nil,
			both(`{"category":"RATE_LIMIT","context":{"objectWriteTraceId":["ta"]}},`+
				`{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["ta","tb"]}},`+
				`{"category":"RATE_LIMIT","context":{"objectWriteTraceId":["tb"]}}`, ok3), worker.Answered,
			"rejected rejected created=3", 0},

		// Conflicts.
		{"conflict, id in the message", 207, nil, both(conflict, ok1, ok3), worker.Answered,
			"created=1 rejected!171591000198 created=3", 0},
		{"conflict, id in the context", 207, nil, both(`{"category":"CONFLICT","message":"Existing ID: 6",`+
			`"context":{"existingId":["5"],"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected!5 created=3", 0},
		{"conflict, id in a context of one string", 207, nil,
			both(`{"category":"CONFLICT","context":"{existingId=[5], objectWriteTraceId=[tb]}"}`, ok1, ok3),
			worker.Answered, "created=1 rejected!5 created=3", 0},
		{"conflict without an id", 207, nil, both(`{"category":"CONFLICT","message":"Existing ID: none",`+
			`"context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"conflict of two inputs: whose id is it?", 207, nil,
			both(`{"category":"CONFLICT","message":"Existing ID: 5","context":{"objectWriteTraceId":["tb","i2"]}}`, ok1),
			worker.Answered, "created=1 rejected! rejected!", 0},
		{"conflict with two records", 207, nil, both(`{"category":"CONFLICT","context":{"existingId":["5","6"],`+
			`"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"unique value in the message's JSON", 207, nil,
			both(`{"category":"VALIDATION_ERROR","message":"Property values were not valid: [{\"isValid\":false,`+
				`\"error\":\"CONFLICTING_UNIQUE_VALUE\",\"name\":\"p\"}]","context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"unique value in the sub-category, an object", 207, nil,
			both(`{"category":"VALIDATION_ERROR","subCategory":{"code":"CONFLICTING_UNIQUE_VALUE"},`+
				`"context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"unique value in the sub-category, a string", 207, nil,
			both(`{"category":"VALIDATION_ERROR","subCategory":"CONFLICTING_UNIQUE_VALUE",`+
				`"context":{"objectWriteTraceId":["tb"]}}`, ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"unique value in the context", 207, nil,
			both(`{"category":"VALIDATION_ERROR","context":{"error":["CONFLICTING_UNIQUE_VALUE"],"objectWriteTraceId":["tb"]}}`,
				ok1, ok3),
			worker.Answered, "created=1 rejected! created=3", 0},
		{"unique value in an error that leaves all open", 207, nil,
			both(`{"category":"INTERNAL_ERROR","message":"CONFLICTING_UNIQUE_VALUE","context":{"objectWriteTraceId":["tb"]}}`,
				ok1, ok3),
			worker.Answered, "created=1 unknown created=3", 0},
		{"conflict and a result: no conflict, unknown", 207, nil, both(conflict, ok1, ok2, ok3), worker.Answered,
			"created=1 unknown created=3", 0},

		// 2xx that leave all or much open.
		{"PENDING", 200, nil, `{"status":"PENDING","results":[` + ok1 + `]}`, worker.Answered, "created=1 unknown unknown",
			0},
		{"PROCESSING", 200, nil, `{"status":"PROCESSING","results":[]}`, worker.Ambiguous, unknown, unwell},
		{"CANCELED", 200, nil, `{"status":"CANCELED","results":[],"errors":[` + invalid + `]}`, worker.Answered,
			"unknown rejected unknown", 0},
		{"CANCELLED", 200, nil, `{"status":"CANCELLED"}`, worker.Ambiguous, unknown, unwell},
		{"neither results nor errors", 201, nil, complete(`"requestedAt":null`), worker.Ambiguous, unknown, unwell},
		{"empty results", 201, nil, complete(`"results":[],"errors":[]`), worker.Ambiguous, unknown, unwell},
		{"an empty object", 201, nil, `{}`, worker.Ambiguous, unknown, unwell},
		{"an empty body", 201, nil, ``, worker.Ambiguous, unknown, unwell},
		{"204", 204, nil, ``, worker.Ambiguous, unknown, unwell},
		{"HTML", 200, nil, html, worker.Ambiguous, unknown, unwell},
		{"an array", 200, nil, `[` + ok1 + `]`, worker.Ambiguous, unknown, unwell},
		{"truncated JSON", 201, nil, complete(results(ok1, ok2, ok3))[:200], worker.Ambiguous, unknown, unwell},
		{"something after the object", 201, nil, complete(results(ok1, ok2, ok3)) + `{}`, worker.Ambiguous, unknown, unwell},
		{"results are no array", 201, nil, complete(`"results":{"a":1}`), worker.Ambiguous, unknown, unwell},
		{"too many results", 201, nil, complete(results(strings.Split(strings.Repeat(ok1+"|", maxResults)+ok1, "|")...)),
			worker.Ambiguous, unknown, unwell},
		{"over-large", 201, nil, complete(results(ok1, ok2, ok3) + `,"x":"` + strings.Repeat("x", 1<<20) + `"`),
			worker.Ambiguous, unknown, unwell},
		{"compressed, unasked", 200, http.Header{"Content-Encoding": {"gzip"}}, "\x1f\x8b\x08junk", worker.Ambiguous, unknown,
			unwell},

		// Refused as a whole.
		{"400 nobody named", 400, nil, `{"status":"error","category":"VALIDATION_ERROR","message":"bad"}`, worker.Refused,
			none, 0},
		{"400 named", 400, nil, invalid, worker.Refused, "not-applied rejected not-applied", 0},
		{"400 named by an error within", 400, nil, `{"status":"error","category":"VALIDATION_ERROR","message":"bad",` +
			`"errors":[` + invalid + `]}`, worker.Refused, "not-applied rejected not-applied", 0},
		{"400 a stranger named", 400, nil, `{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["zz"]}}`,
			worker.Refused, none, 0},
		{"400 HTML", 400, nil, html, worker.Refused, none, 0},
		{"400 over-large", 400, nil, `{"x":"` + strings.Repeat("x", 1<<20) + `",` + invalid[1:], worker.Refused, none, 0},
		{"409 nobody named", 409, nil, `{"category":"CONFLICT","message":"Contact already exists. Existing ID: 5"}`,
			worker.Refused, none, 0},
		{"409 named, without a word of a conflict", 409, nil,
			`{"category":"X","message":"Existing ID: 5","context":{"objectWriteTraceId":["tb"]}}`,
			worker.Refused, "not-applied rejected!5 not-applied", 0},
		{"409 with several errors", 409, nil, `{"category":"MIXED","errors":[` + conflict +
			`,{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["ta"]}}]}`,
			worker.Refused, "rejected rejected!171591000198 not-applied", 0},
		{"409 named", 409, nil, conflict, worker.Refused, "not-applied rejected!171591000198 not-applied", 0},
		{"422", 422, nil, `{"errors":"bad"}`, worker.Refused, none, 0},
		{"413", 413, nil, invalid, worker.TooLarge, none, 0},

		// The account, the object type, the quota.
		{"401", 401, nil, `{"category":"INVALID_AUTHENTICATION"}`, worker.PauseAccount, none, 0},
		{"403", 403, nil, `{"category":"MISSING_SCOPES","errors":[{"context":{"requiredGranularScopes":["x"]}}]}`,
			worker.PauseObjectType, none, 0},
		{"404", 404, nil, html, worker.PauseObjectType, none, 0},
		{"405", 405, nil, ``, worker.PauseObjectType, none, 0},
		{"301", 301, http.Header{"Location": {"https://elsewhere.example/"}}, ``, worker.PauseObjectType, none, 0},
		{"307", 307, http.Header{"Location": {"/"}}, ``, worker.PauseObjectType, none, 0},
		{"418", 418, nil, ``, worker.PauseObjectType, none, 0},
		{"423", 423, nil, ``, worker.Throttled, none, 2 * time.Second},
		{"423 Retry-After less than a lock lasts", 423, retryAfter("1"), ``, worker.Throttled, none, 2 * time.Second},
		{"477", 477, nil, ``, worker.PauseAccount, none, 5 * time.Minute},
		{"477 Retry-After", 477, retryAfter("3600"), ``, worker.PauseAccount, none, time.Hour},
		{"477 Retry-After beyond a day", 477, retryAfter("1e99"), ``, worker.PauseAccount, none, 24 * time.Hour},
		{"429 SECONDLY", 429, nil, quota("SECONDLY"), worker.Throttled, none, time.Second},
		{"429 TEN_SECONDLY_ROLLING", 429, nil, quota("TEN_SECONDLY_ROLLING"), worker.Throttled, none, 10 * time.Second},
		{"429 DAILY", 429, nil, quota("DAILY"), worker.PauseAccount, none, 15 * time.Minute},
		{"429 unknown policy", 429, nil, quota("HOURLY"), worker.Throttled, none, 10 * time.Second},
		{"429 without a body", 429, nil, ``, worker.Throttled, none, 10 * time.Second},
		{"429 Retry-After", 429, retryAfter("7"), quota("TEN_SECONDLY_ROLLING"), worker.Throttled, none, 7 * time.Second},
		{"429 Retry-After a fraction", 429, retryAfter("2.5"), quota("SECONDLY"), worker.Throttled, none,
			2500 * time.Millisecond},
		{"429 Retry-After nonsense", 429, retryAfter("soon"), quota("SECONDLY"), worker.Throttled, none, time.Second},
		{"429 Retry-After negative", 429, retryAfter("-5"), quota("SECONDLY"), worker.Throttled, none, time.Second},
		{"429 Retry-After a date", 429, http.Header{"Retry-After": {"Sun, 01 Feb 2026 00:00:30 GMT"},
			"Date": {"Sun, 01 Feb 2026 00:00:00 GMT"}},
			quota("SECONDLY"), worker.Throttled, none, 30 * time.Second},
		{"429 Retry-After a date that has passed", 429,
			http.Header{"Retry-After": {"Sun, 01 Feb 2026 00:00:00 GMT"}, "Date": {"Sun, 01 Feb 2026 00:00:10 GMT"}},
			quota("SECONDLY"), worker.Throttled, none, time.Second},

		// The CRM is not well.
		{"408", 408, nil, ``, worker.Ambiguous, unknown, unwell},
		{"499", 499, nil, ``, worker.Ambiguous, unknown, unwell},
		{"500", 500, nil, `{"category":"INTERNAL_ERROR"}`, worker.Ambiguous, unknown, unwell},
		{"500 with what looks like results", 500, nil, complete(results(ok1)), worker.Ambiguous, unknown, unwell},
		{"502", 502, nil, html, worker.Ambiguous, unknown, unwell},
		{"503", 503, nil, html, worker.Unavailable, none, unwell},
		{"503 Retry-After", 503, retryAfter("20"), html, worker.Unavailable, none, 20 * time.Second},
		{"504", 504, nil, ``, worker.Ambiguous, unknown, unwell},
		{"520", 520, nil, ``, worker.Ambiguous, unknown, unwell},
		{"521", 521, nil, ``, worker.Unavailable, none, unwell},
		{"522", 522, nil, ``, worker.Unavailable, none, unwell},
		{"523", 523, nil, ``, worker.Unavailable, none, unwell},
		{"524", 524, nil, ``, worker.Ambiguous, unknown, unwell},
		{"525", 525, nil, ``, worker.Unavailable, none, unwell},
		{"526", 526, nil, ``, worker.Unavailable, none, unwell},
		{"999", 999, nil, ``, worker.Ambiguous, unknown, unwell},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := client(t, fixed(c.status, c.header, c.body), func(cfg *Config) { cfg.MaxAnswerBytes = 1 << 19 }).
				Create(t.Context(), "contacts", three())
			type answer struct {
				Class  worker.Class
				Status int
				Want   string
				Wait   time.Duration
			}
			got := answer{a.Class, a.Call.Status, words(a.Outcomes), a.Call.Wait}
			if diff := cmp.Diff(answer{c.class, c.status, c.want, c.wait}, got); diff != "" {
				t.Errorf("(-want +got)\n%s%s", diff, a.Call.Detail)
			}
			checkLaws(t, a, len(three()))
		})
	}
}

func TestCreateLoneInput(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		class  worker.Class
		want   string
	}{
		{"400", 400, `{"category":"VALIDATION_ERROR","message":"bad"}`, worker.Refused, "rejected"},
		{"400 HTML", 400, html, worker.Refused, "rejected"},
		{"400 unique value", 400, `{"category":"VALIDATION_ERROR","message":"[{\"error\":\"CONFLICTING_UNIQUE_VALUE\"}]"}`,
			worker.Refused, "rejected!"},
		{"400 unique value in an error within", 400,
			`{"category":"VALIDATION_ERROR","errors":[{"subCategory":"CONFLICTING_UNIQUE_VALUE","message":"Existing ID: 5"}]}`,
			worker.Refused, "rejected!5"},
		{"409", 409, `{"category":"CONFLICT","message":"Contact already exists. Existing ID: 5"}`, worker.Refused,
			"rejected!5"},
		{"409 HTML", 409, html, worker.Refused, "rejected!"},
		{"409 of another kind", 409, `{"category":"OBJECT_LOCKED","message":"Existing ID: 5"}`, worker.Refused, "rejected!5"},
		{"422", 422, ``, worker.Refused, "rejected"},
		{"413", 413, ``, worker.TooLarge, "rejected"},
		{"429", 429, ``, worker.Throttled, "not-applied"},
		{"an error without a name", 207, complete(`"results":[],"errors":[{"category":"VALIDATION_ERROR"}]`), worker.Answered,
			"unknown"},
		{"a result without a name", 201, complete(`"results":[{"id":"1"}]`), worker.Answered, "created=1"},
		{"a result whose value differs", 201, complete(`"results":[{"id":"1","properties":{"email":"other@x"}}]`),
			worker.Answered, "created=1"},
		{"a result without a name and a record id", 201, complete(`"results":[{"properties":{"email":"Ann@x"}}]`),
			worker.Answered, "unknown"},
		{"another's result", 201, complete(`"results":[{"id":"1","objectWriteTraceId":"tb"}]`), worker.Answered, "unknown"},
		{"two results without a name", 201, complete(`"results":[{"id":"1"},{"id":"2"}]`), worker.Answered, "unknown"},
		{"a result and an error without a name", 207, complete(`"results":[{"id":"1"}],"errors":[{"category":"OTHER"}]`),
			worker.Answered, "unknown"},
		{"a result and a count of errors", 207, complete(`"numErrors":1,"results":[{"id":"1"}]`), worker.Answered, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := client(t, fixed(c.status, nil, c.body)).Create(t.Context(), "contacts", three()[:1])
			if got := words(a.Outcomes); got != c.want || a.Class != c.class {
				t.Errorf("class %v %q, want %v %q", a.Class, got, c.class, c.want)
			}
			checkLaws(t, a, 1)
		})
	}
}
