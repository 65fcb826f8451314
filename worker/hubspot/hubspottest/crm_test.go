package hubspottest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func TestCreate(t *testing.T) {
	s := start(t, hubspottest.Config{Now: at(now), KeepProperties: true, KeepCalls: 3})
	a := post(t, s, "contacts/batch/create", batch(many(100)...))
	if a.status != 201 || a.Status != "COMPLETE" || a.StartedAt == "" || a.CompletedAt == "" || len(a.Results) != 100 {
		t.Fatalf("answered %d %s", a.status, a.raw)
	}
	inOrder := true
	seen := make(map[string]bool)
	records := make(map[string]hubspottest.Record)
	for r := range s.Records("contacts") {
		records[r.ID] = r
	}
	for i, r := range a.Results {
		trace := *r.ObjectWriteTraceID
		inOrder = inOrder && trace == fmt.Sprintf("t%d", i)
		seen[trace] = true
		n := strings.TrimPrefix(trace, "t")
		if *r.Properties["event_id"] != "e"+n || *r.Properties["origin"] != "o"+n {
			t.Errorf("%s is answered with %v", trace, r.Properties)
		}
		if null, ok := r.Properties["hs_merged_object_ids"]; !ok || null != nil {
			t.Error("no property is null")
		}
		if r.CreatedAt != "2026-03-01T12:00:00.123Z" || *r.Properties["hs_object_id"] != r.ID ||
			*r.Properties["createdate"] != r.CreatedAt {
			t.Errorf("result %+v", r)
		}
		want := hubspottest.Record{ID: r.ID, CreatedAt: now,
			Properties: map[string]string{"event_id": "e" + n, "origin": "o" + n}}
		if diff := cmp.Diff(want, records[r.ID]); diff != "" {
			t.Errorf("record -want +got:\n%s", diff)
		}
	}
	if inOrder || len(seen) != 100 {
		t.Errorf("%d results, in order: %v", len(seen), inOrder)
	}
	last := int64(0)
	for r := range s.Records("contacts") {
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if err != nil || id <= last {
			t.Fatalf("id %s after %d", r.ID, last)
		}
		last = id
	}
	want := []hubspottest.Call{{
		At: now, Method: http.MethodPost, Path: "/crm/objects/2026-03/contacts/batch/create",
		Status: 201, Inputs: 100, Created: 100, Fault: hubspottest.None,
	}}
	if diff := cmp.Diff(want, s.Calls()); diff != "" {
		t.Errorf("calls -want +got:\n%s", diff)
	}
}

func TestCallsAreBounded(t *testing.T) {
	s := start(t, hubspottest.Config{KeepCalls: 3})
	for i := range 5 {
		post(t, s, "contacts/batch/create", batch(many(i+1)...))
	}
	var inputs []int
	for _, c := range s.Calls() {
		inputs = append(inputs, c.Inputs)
	}
	if diff := cmp.Diff([]int{3, 4, 5}, inputs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPartialFailure: with trace ids, each bad input has its error, and the good ones are created.
func TestPartialFailure(t *testing.T) {
	s := start(t, hubspottest.Config{})
	a := post(t, s, "contacts/batch/create", batch(
		`"name":"good"`,
		`"colour":"red","shape":"\"round\""`,
		`"name":"`+strings.Repeat("é", 65537)+`"`,
	))
	if a.status != 207 || a.Status != "COMPLETE" || a.NumErrors != 2 || len(a.Results) != 1 ||
		*a.Results[0].ObjectWriteTraceID != "t0" {
		t.Fatalf("answered %d %.2000s", a.status, a.raw)
	}
	names("t1", "t2")(t, a)
	type fault struct {
		IsValid        bool
		Message, Error string
		Name           string
	}
	var got []fault
	for _, e := range a.Errors {
		hidden, ok := strings.CutPrefix(e.Message, "Property values were not valid: ")
		var faults []fault
		if err := json.Unmarshal([]byte(hidden), &faults); err != nil || !ok || e.Category != "VALIDATION_ERROR" ||
			e.Status != "error" {
			t.Errorf("error %+v: %v", e, err)
		}
		for _, f := range faults {
			f.Message = ""
			got = append(got, f)
		}
	}
	want := []fault{
		{Error: "PROPERTY_DOESNT_EXIST", Name: "colour"}, {Error: "PROPERTY_DOESNT_EXIST", Name: "shape"},
		{Error: "INVALID_LENGTH", Name: "name"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	a = post(t, s, "deals/batch/create", batch(`"name":""`, `"any":"x"`, `"name":"x"`))
	names("t0", "t1")(t, a)
	if !strings.Contains(a.Errors[0].Message, `"error":"REQUIRED_FIELD","name":"name"`) {
		t.Errorf("message %s", a.Errors[0].Message)
	}
}

// TestWithoutTraceIDs: the first bad input fails the whole batch; nothing is written, nothing is claimed.
func TestWithoutTraceIDs(t *testing.T) {
	s := start(t, hubspottest.Config{})
	if a := post(t, s, "contacts/batch/create", untraced(`"email":"old@x.y"`)); a.status != 201 ||
		a.Results[0].ObjectWriteTraceID != nil {
		t.Fatalf("answered %d %s", a.status, a.raw)
	}
	id := a0(t, s)
	for name, c := range map[string]struct {
		body    string
		status  int
		message string
	}{
		"an unknown property": {untraced(`"email":"a@x.y"`, `"colour":"x"`, `"shape":"y"`), 400, "colour"},
		"a conflict": {untraced(`"email":"a@x.y"`, `"email":"old@x.y"`), 409,
			"Contact already exists. Existing ID: " + id},
		"a conflict within": {untraced(`"email":"a@x.y"`, `"email":"a@x.y"`), 409, "Contact already exists."},
		"one trace id is missing": {strings.Replace(batch(`"email":"a@x.y"`, `"colour":"x"`), `"t1"`, `""`, 1), 400,
			"colour"},
		"the first of both counts":   {untraced(`"email":"old@x.y"`, `"colour":"x"`), 409, "already exists"},
		"an address in upper case":   {untraced(`"email":"OLD@X.Y"`), 409, "already exists"},
		"and a scripted rejection":   {untraced(`"email":"a@x.y"`), 400, "rejected"},
		"a whole batch by its fault": {batch(`"email":"a@x.y"`, `"colour":"x"`), 400, "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "and a scripted rejection":
				s.Script(hubspottest.ContextAbsent)
			case "a whole batch by its fault":
				s.Script(hubspottest.WholeBatch)
			}
			a := post(t, s, "contacts/batch/create", c.body)
			if a.status != c.status || !strings.Contains(a.Message, c.message) || strings.Contains(a.Message, "shape") ||
				len(a.Results) > 0 {
				t.Errorf("answered %d %s, want %d %s", a.status, a.raw, c.status, c.message)
			}
			if name == "a conflict within" && strings.Contains(a.Message, "ID") {
				t.Errorf("names a record that does not exist: %s", a.Message)
			}
			if n := s.Len("contacts"); n != 1 {
				t.Errorf("%d records, want 1", n)
			}
		})
	}
	if a := post(t, s, "contacts/batch/create", untraced(`"email":"a@x.y"`)); a.status != 201 {
		t.Errorf("a failed batch has kept its unique value: %d %s", a.status, a.raw)
	}
}

// a0 is the id of the first contact.
func a0(t *testing.T, s *hubspottest.Server) string {
	for r := range s.Records("contacts") {
		return r.ID
	}
	t.Fatal("no contacts")
	return ""
}

// TestCount: duplicates show where the property is counted and not unique, and where all is kept.
func TestCount(t *testing.T) {
	for _, kept := range []bool{false, true} {
		s := start(t, hubspottest.Config{KeepProperties: kept})
		for _, b := range []string{batch(`"origin":"a","name":"x"`, `"origin":"b","name":"x"`), batch(`"origin":"a"`),
			untraced(`"origin":"\u0061"`)} {
			post(t, s, "contacts/batch/create", b)
		}
		if diff := cmp.Diff(map[string]int{"a": 3, "b": 1}, s.Count("contacts", "origin")); diff != "" {
			t.Errorf("kept %v: -want +got:\n%s", kept, diff)
		}
		if n := s.Len("contacts"); n != 4 {
			t.Errorf("%d records, want 4", n)
		}
		func() {
			defer func() {
				if got := recover() == nil; got != kept {
					t.Errorf("kept %v: counted a property that nothing is known of: %v", kept, got)
				}
			}()
			if diff := cmp.Diff(map[string]int{"x": 2}, s.Count("contacts", "name")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}()
	}
}

func TestRead(t *testing.T) {
	s := start(t, hubspottest.Config{KeepProperties: true})
	old := now.Add(-time.Hour)
	id, err := s.Add("contacts", map[string]string{"event_id": "e7", "email": "A@x.y", "name": "Ann"}, old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add("contacts", map[string]string{"event_id": "e7"}, now); err == nil {
		t.Error("Add made a duplicate")
	}
	for name, c := range map[string]struct {
		body    string
		status  int
		missing string // of an error's context
		want    map[string]*string
	}{
		"by its id property": {readBody("event_id", "e7"), 200, "", map[string]*string{"event_id": new("e7")}},
		"by its address":     {readBody("email", "a@X.Y"), 200, "", map[string]*string{"email": new("a@x.y")}},
		"by its id": {`{"inputs":[{"id":"` + id + `"}],"properties":["name","city","name"],"propertiesWithHistory":[]}`, 200,
			"",
			map[string]*string{"name": new("Ann"), "city": nil}},
		"and not others": {readBody("event_id", "e8", "e7"), 207, `{"ids":["e8"]}`,
			map[string]*string{"event_id": new("e7")}},
		"only others": {readBody("event_id", "e8"), 207, `{"ids":["e8"]}`, nil},
		"by no id": {`{"inputs":[{"id":"x"}],"properties":[],"propertiesWithHistory":["name"]}`, 207, `{"ids":["x"]}`,
			nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := post(t, s, "contacts/batch/read", c.body)
			if a.status != c.status || a.Status != "COMPLETE" || !strings.Contains(string(a.raw), `"results":[`) {
				t.Fatalf("answered %d %s", a.status, a.raw)
			}
			if missing := len(a.Errors) == 1 && a.Errors[0].Category == "OBJECT_NOT_FOUND" &&
				string(a.Errors[0].Context) == c.missing; missing != (c.missing != "") {
				t.Errorf("errors %+v, want %s missing", a.Errors, c.missing)
			}
			if c.want == nil {
				if len(a.Results) > 0 {
					t.Errorf("results %+v", a.Results)
				}
				return
			}
			r := a.Results[0]
			for _, own := range []string{"createdate", "hs_lastmodifieddate", "hs_object_id", "hs_merged_object_ids"} {
				delete(r.Properties, own)
			}
			if diff := cmp.Diff(c.want, r.Properties); diff != "" || r.ID != id || r.CreatedAt != "2026-03-01T11:00:00.123Z" {
				t.Errorf("record %s of %s, properties -want +got:\n%s", r.ID, r.CreatedAt, diff)
			}
		})
	}
}

// TestConcurrentCreates: with many callers each unique value is made once, and nothing is miscounted.
func TestConcurrentCreates(t *testing.T) {
	s := start(t, hubspottest.Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if _, err := do(request(t, s, "contacts/batch/create", batch(many(100)...))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	if s.Len("contacts") != 100 || len(s.Count("contacts", "event_id")) != 100 || st.Created != 100 || st.Creates != 32 ||
		st.Inputs != 3200 {
		t.Errorf("%d records; stats %+v", s.Len("contacts"), st)
	}
	for origin, n := range s.Count("contacts", "origin") {
		if n != 1 {
			t.Errorf("%d records of %s", n, origin)
		}
	}
}

// TestOwnProperties: what the CRM itself sets stands once in a result, whatever was submitted.
func TestOwnProperties(t *testing.T) {
	s := start(t, hubspottest.Config{Now: at(now)})
	a := post(t, s, "deals/batch/create", batch(`"name":"x","createdate":"2001-01-01"`))
	if n := strings.Count(string(a.raw), `"createdate"`); n != 1 ||
		*a.Results[0].Properties["createdate"] != "2026-03-01T12:00:00.123Z" {
		t.Errorf("%d times createdate: %s", n, a.raw)
	}
	read := fmt.Sprintf(`{"inputs":[{"id":%q}],"properties":["createdate"],"propertiesWithHistory":[]}`, a.Results[0].ID)
	if a := post(t, s, "deals/batch/read", read); strings.Count(string(a.raw), `"createdate"`) != 1 {
		t.Errorf("read %s", a.raw)
	}
}

// TestDate: each answer has the time of the clock that dates the records, also those of the edge before the API.
func TestDate(t *testing.T) {
	s := start(t, hubspottest.Config{Now: at(now), LargeAnswer: 1 << 10})
	dated := func(name string, a answer) {
		t.Helper()
		if got := a.header.Get("Date"); got != "Sun, 01 Mar 2026 12:00:00 GMT" {
			t.Errorf("%s: answered %d, dated %q", name, a.status, got)
		}
	}
	for n, fault := range []hubspottest.Fault{hubspottest.None, hubspottest.Answer502, hubspottest.TruncatedBody,
		hubspottest.LargeBody} {
		s.Script(fault)
		dated(string(fault), post(t, s, "deals/batch/create", batch(fmt.Sprintf(`"name":"x%d"`, n))))
	}
	dated("read", post(t, s, "deals/batch/read", `{"inputs":[{"id":"1"}],"properties":[],"propertiesWithHistory":[]}`))
	dated("not a path", post(t, s, "deals/batch/upsert", batch(`"name":"y"`)))
}

func TestUnknownObjectTypePanics(t *testing.T) {
	s := start(t, hubspottest.Config{})
	defer func() {
		if recover() == nil {
			t.Error("counts records of a type that is not there")
		}
	}()
	s.Len("contact")
}
