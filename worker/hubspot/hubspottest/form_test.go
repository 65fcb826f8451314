package hubspottest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"
)

// TestForm spoils one thing of a good request a row.
func TestForm(t *testing.T) {
	const association = `{"inputs":[{"properties":{},"associations":[%s]}]}`
	const kind = `{"to":{"id":"1"},"types":[%s]}`
	const unknownTickets = "Unable to infer object type from: tickets"
	good := batch(`"name":"a"`)
	input := func(s string) string { return `{"inputs":[` + s + `]}` }
	for name, c := range map[string]struct {
		path     string // contacts/batch/create by default
		body     string // good by default
		spoil    func(*http.Request)
		status   int
		category string
		message  string // a part of it
	}{
		"good":                         {status: 201},
		"good with a charset":          {spoil: header("Content-Type", "application/json; charset=UTF-8"), status: 201},
		"good with white space around": {body: " " + good + "\r\n\t ", status: 201},
		"good with association": {body: fmt.Sprintf(association,
			fmt.Sprintf(kind, `{"associationCategory":"WORK","associationTypeId":1}`)), status: 201},
		"good with 100 inputs":      {body: batch(many(100)...), status: 201},
		"good with a long text":     {body: batch(`"name":"` + strings.Repeat("é", 65536) + `"`), status: 201},
		"good with an escaped name": {body: batch(`"n\u0061me":"a\"\u0000"`), status: 201},

		"GET": {spoil: func(r *http.Request) { r.Method = "GET" }, status: 405},
		"PUT": {spoil: func(r *http.Request) { r.Method = "PUT" }, status: 405},
		"another version": {spoil: func(r *http.Request) { r.URL.Path = "/crm/v3/objects/contacts/batch/create" },
			status: 404},
		"another operation":      {path: "contacts/batch/upsert", status: 404},
		"a slash at the end":     {path: "contacts/batch/create/", status: 404},
		"no object type":         {path: "/batch/create", status: 404},
		"an object type of two":  {path: "a/b/batch/create", status: 404},
		"an unknown object type": {path: "tickets/batch/create", status: 400, message: unknownTickets},
		"and in a read": {path: "tickets/batch/read", body: readBody("name", "a"),
			status: 400, message: unknownTickets},
		"a read-only one": {path: "0-721/batch/create", status: 405},

		"no credential": {spoil: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401,
			category: "INVALID_AUTHENTICATION"},
		"a wrong credential": {spoil: header("Authorization", "Bearer "+token+"x"), status: 401,
			category: "INVALID_AUTHENTICATION"},
		"no bearer": {spoil: header("Authorization", token), status: 401, category: "INVALID_AUTHENTICATION"},

		"no content type":      {spoil: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 415},
		"another content type": {spoil: header("Content-Type", "text/plain"), status: 415},
		"another charset":      {spoil: header("Content-Type", "application/json; charset=latin1"), status: 415},
		"packed":               {spoil: header("Content-Encoding", "gzip"), status: 415},

		"no body":          {body: " ", status: 400, category: "VALIDATION_ERROR"},
		"no JSON":          {body: "inputs", status: 400, category: "VALIDATION_ERROR"},
		"half of it":       {body: good[:len(good)/2], status: 400, category: "VALIDATION_ERROR"},
		"no closing brace": {body: good[:len(good)-1], status: 400, category: "VALIDATION_ERROR"},
		"two of them":      {body: good + good, status: 400, category: "VALIDATION_ERROR", message: "follows"},
		"an array":         {body: "[" + good + "]", status: 400, category: "VALIDATION_ERROR"},
		"invalid UTF-8":    {body: batch("\"name\":\"\xff\""), status: 400, category: "VALIDATION_ERROR", message: "UTF-8"},
		"a lone surrogate": {body: batch(`"name":"\ud800"`), status: 400, category: "VALIDATION_ERROR"},
		"no inputs":        {body: `{}`, status: 400, category: "VALIDATION_ERROR", message: "inputs"},
		"empty inputs":     {body: `{"inputs":[]}`, status: 400, category: "VALIDATION_ERROR", message: "inputs"},
		"inputs that are no array": {body: `{"inputs":{}}`, status: 400, category: "VALIDATION_ERROR",
			message: "inputs is not an array"},
		"101 inputs": {body: batch(many(101)...), status: 400, category: "VALIDATION_ERROR",
			message: "The maximum number of inputs supported in a batch is 100"},
		"an unknown member": {body: `{"inputs":[],"more":1}`, status: 400, category: "VALIDATION_ERROR", message: "more"},
		"inputs twice": {body: `{"inputs":[],"inputs":[]}`, status: 400, category: "VALIDATION_ERROR",
			message: "duplicate"},

		"an input that is a string": {body: input(`"x"`), status: 400, category: "VALIDATION_ERROR", message: "input"},
		"unknown member of an input": {body: input(`{"properties":{},"associations":[],"id":"1"}`), status: 400,
			category: "VALIDATION_ERROR", message: `"id"`},
		"no associations": {body: input(`{"properties":{}}`), status: 400, category: "VALIDATION_ERROR",
			message: "associations"},
		"associations of null": {body: input(`{"properties":{},"associations":null}`), status: 400,
			category: "VALIDATION_ERROR", message: "associations"},
		"no properties": {body: input(`{"associations":[]}`), status: 400, category: "VALIDATION_ERROR",
			message: "properties"},
		"properties in an array": {body: input(`{"associations":[],"properties":[]}`), status: 400,
			category: "VALIDATION_ERROR", message: "properties"},
		"a property twice": {body: batch(`"name":"a","name":"b"`), status: 400, category: "VALIDATION_ERROR",
			message: "duplicate"},
		"a property that is escaped": {body: batch(`"name":"a","n\u0061me":"b"`), status: 400, category: "VALIDATION_ERROR",
			message: "duplicate"},
		"a number as value":  {body: batch(`"name":1`), status: 400, category: "VALIDATION_ERROR", message: "value"},
		"null as value":      {body: batch(`"name":null`), status: 400, category: "VALIDATION_ERROR", message: "value"},
		"an object as value": {body: batch(`"name":{}`), status: 400, category: "VALIDATION_ERROR", message: "value"},
		"a trace id that is a number": {
			body: input(`{"properties":{},"associations":[],"objectWriteTraceId":1}`), status: 400, category: "VALIDATION_ERROR",
			message: "objectWriteTraceId"},
		"a trace id twice": {body: strings.ReplaceAll(batch(many(2)...), "t1", "t0"), status: 400,
			category: "VALIDATION_ERROR", message: "not unique"},

		"an association that is a string": {body: fmt.Sprintf(association, `"1"`), status: 400, category: "VALIDATION_ERROR",
			message: "association"},
		"one without target": {body: fmt.Sprintf(association, `{"types":[]}`), status: 400, category: "VALIDATION_ERROR",
			message: "types"},
		"one without types": {body: fmt.Sprintf(association, `{"to":{"id":"1"}}`), status: 400, category: "VALIDATION_ERROR",
			message: "types"},
		"one of no types": {body: fmt.Sprintf(association, fmt.Sprintf(kind, "")), status: 400, category: "VALIDATION_ERROR",
			message: "types"},
		"one to a number": {body: fmt.Sprintf(association, `{"to":{"id":1},"types":[]}`), status: 400,
			category: "VALIDATION_ERROR", message: "id"},
		"one to nobody": {body: fmt.Sprintf(association, `{"to":{"id":""},"types":[]}`), status: 400,
			category: "VALIDATION_ERROR", message: "id"},
		"one with more members": {body: fmt.Sprintf(association, `{"to":{"id":"1","x":""},"types":[]}`), status: 400,
			category: "VALIDATION_ERROR", message: `"x"`},
		"an unknown category": {body: fmt.Sprintf(association,
			fmt.Sprintf(kind, `{"associationCategory":"MINE","associationTypeId":1}`)), status: 400,
			category: "VALIDATION_ERROR", message: "associationCategory"},
		"a type id in quotes": {body: fmt.Sprintf(association,
			fmt.Sprintf(kind, `{"associationCategory":"WORK","associationTypeId":"1"}`)), status: 400,
			category: "VALIDATION_ERROR", message: "associationTypeId"},
		"a type id of 1.5": {body: fmt.Sprintf(association,
			fmt.Sprintf(kind, `{"associationCategory":"WORK","associationTypeId":1.5}`)), status: 400,
			category: "VALIDATION_ERROR", message: "associationTypeId"},
		"a type without id": {body: fmt.Sprintf(association, fmt.Sprintf(kind, `{"associationCategory":"WORK"}`)),
			status: 400, category: "VALIDATION_ERROR", message: "associationTypeId"},

		"a good read": {path: "contacts/batch/read", body: readBody("email", "a"), status: 207},
		"a read without inputs": {path: "contacts/batch/read", body: readBody("email"), status: 400,
			category: "VALIDATION_ERROR", message: "inputs"},
		"a read of 101": {path: "contacts/batch/read", body: readBody("email", strings.Fields(numbers(101))...), status: 400,
			category: "VALIDATION_ERROR", message: "100"},
		"a read of the same twice": {path: "contacts/batch/read", body: readBody("email", "a", "a"), status: 400,
			category: "VALIDATION_ERROR", message: "not unique"},
		"a read of nothing": {path: "contacts/batch/read", body: readBody("email", ""), status: 400,
			category: "VALIDATION_ERROR", message: "empty"},
		"a read by another": {path: "contacts/batch/read", body: readBody("name", "a"), status: 400,
			category: "VALIDATION_ERROR", message: "unique"},
		"a read without properties": {path: "contacts/batch/read", body: `{"inputs":[{"id":"1"}],"propertiesWithHistory":[]}`,
			status: 400, category: "VALIDATION_ERROR", message: "properties"},
		"a read without history": {path: "contacts/batch/read", body: `{"inputs":[{"id":"1"}],"properties":[]}`, status: 400,
			category: "VALIDATION_ERROR", message: "propertiesWithHistory"},
		"a create sent to read": {path: "contacts/batch/read", status: 400, category: "VALIDATION_ERROR",
			message: "associations"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, hubspottest.Config{})
			if c.path == "" {
				c.path = "contacts/batch/create"
			}
			if c.body == "" {
				c.body = good
			}
			r := request(t, s, c.path, c.body)
			if c.spoil != nil {
				c.spoil(r)
			}
			a, err := do(r)
			if err != nil {
				t.Fatal(err)
			}
			if a.status != c.status || a.Category != c.category || !strings.Contains(a.Message, c.message) {
				t.Errorf("answered %d %s, want %d %s %s", a.status, a.raw, c.status, c.category, c.message)
			}
			if a.status < 300 {
				return
			}
			if a.CorrelationID == "" || a.CorrelationID != a.header.Get("X-HubSpot-Correlation-Id") {
				t.Errorf("correlation id %q in the body, %q in the header", a.CorrelationID,
					a.header.Get("X-HubSpot-Correlation-Id"))
			}
			if n := s.Len("contacts"); n != 0 {
				t.Errorf("%d records, want none", n)
			}
			st := s.Stats()
			if st.Created != 0 || st.Creates != 0 || st.Statuses[c.status] != 1 {
				t.Errorf("stats: %+v", st)
			}
			about := !strings.Contains(name, "by another") && !strings.HasPrefix(c.message, "Unable to infer")
			if (c.status == 400 && about || c.status == 415) && st.Malformed != 1 {
				t.Errorf("counted %d malformed requests, want 1", st.Malformed)
			}
		})
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()
}

func TestTooLargeARequest(t *testing.T) {
	s := start(t, hubspottest.Config{MaxRequest: 1 << 20})
	ok := batch(`"name":"a"`)
	fits := ok + strings.Repeat(" ", 1<<20-len(ok))
	if a := post(t, s, "contacts/batch/create", fits); a.status != 201 {
		t.Errorf("answered %d to the largest request", a.status)
	}
	if a := post(t, s, "contacts/batch/create", fits+" "); a.status != 413 {
		t.Errorf("answered %d to one byte more", a.status)
	}
	if n := s.Len("contacts"); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestTokenChanges(t *testing.T) {
	s := start(t, hubspottest.Config{})
	s.SetToken("another")
	if a := post(t, s, "contacts/batch/create", batch(`"name":"a"`)); a.status != 401 ||
		a.Category != "EXPIRED_AUTHENTICATION" {
		t.Errorf("the former token is answered %d %s", a.status, a.Category)
	}
	s.SetToken(token)
	if a := post(t, s, "contacts/batch/create", batch(`"name":"a"`)); a.status != 201 {
		t.Errorf("the token that is good again is answered %d", a.status)
	}
}

func TestConfigFaults(t *testing.T) {
	for name, cfg := range map[string]hubspottest.Config{
		"no token":             {},
		"a limit of no window": {Token: "t", Limit: hubspottest.Limit{Calls: 1}},
		"a negative limit":     {Token: "t", Limit: hubspottest.Limit{Calls: -1}},
		"an unknown fault":     {Token: "t", Rates: map[hubspottest.Fault]float64{"x": 1}},
		"a rate above 1":       {Token: "t", Rates: map[hubspottest.Fault]float64{hubspottest.Answer400: 1.5}},
		"rates above 1": {Token: "t", Rates: map[hubspottest.Fault]float64{hubspottest.Answer400: 0.6,
			hubspottest.Answer500: 0.6}},
		"a create's for a read": {Token: "t", ReadRates: map[hubspottest.Fault]float64{hubspottest.LateWork: 1}},
		"a negative latency":    {Token: "t", MinLatency: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := hubspottest.New(cfg); err == nil {
				t.Error("accepted")
			}
		})
	}
}
