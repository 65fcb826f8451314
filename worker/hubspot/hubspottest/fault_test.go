package hubspottest_test

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

// TestFaults sends four inputs with trace ids that each meet one fault, and looks at what can be seen of it.
func TestFaults(t *testing.T) {
	type sight struct {
		Status          int // 0: no answer
		Results, Errors int
		Records         int
	}
	refused := func(status int) sight { return sight{Status: status} }
	written := func(status int) sight { return sight{Status: status, Records: 4} }
	type row struct {
		want  sight
		check func(t *testing.T, a answer)
	}
	rows := map[hubspottest.Fault]row{
		hubspottest.None:       {want: sight{201, 4, 0, 4}},
		hubspottest.Status200:  {want: sight{200, 4, 0, 4}},
		hubspottest.NoTraceIDs: {sight{201, 4, 0, 4}, traced(0)},
		hubspottest.UnknownTraceID: {sight{201, 4, 0, 4}, func(t *testing.T, a answer) {
			if n := unknownResults(a); n != 1 {
				t.Errorf("%d results of nobody, want 1", n)
			}
		}},
		hubspottest.DoubledResults: {sight{201, 8, 0, 4}, ids(4)},
		hubspottest.ContradictoryResults: {sight{201, 5, 0, 4}, func(t *testing.T, a answer) {
			ids(5)(t, a)
			if n := unknownResults(a); n != 0 {
				t.Errorf("%d results of nobody, want none", n)
			}
		}},
		hubspottest.MoreResults: {sight{201, 5, 0, 4}, func(t *testing.T, a answer) {
			ids(5)(t, a)
			if n := unknownResults(a); n != 1 {
				t.Errorf("%d results of nobody, want 1", n)
			}
		}},

		hubspottest.RejectAll:            {sight{207, 0, 4, 0}, names("t0", "t1", "t2", "t3")},
		hubspottest.OneErrorNamesSeveral: {sight{207, 2, 1, 2}, names("t0", "t1")},
		hubspottest.SeveralErrorsNameOne: {sight{207, 3, 2, 3}, names("t0", "t0")},
		hubspottest.ErrorNamesNobody:     {sight{207, 3, 1, 3}, names()},
		hubspottest.ContextAbsent: {sight{207, 3, 1, 3}, func(t *testing.T, a answer) {
			if c := a.Errors[0].Context; c != nil {
				t.Errorf("context %s, want none", c)
			}
		}},
		hubspottest.ContextString: {sight{207, 3, 1, 3}, func(t *testing.T, a answer) {
			if c := string(a.Errors[0].Context); c != `"{objectWriteTraceId=[t0]}"` {
				t.Errorf("context %s", c)
			}
		}},
		hubspottest.SubCategoryObject: {sight{207, 3, 1, 3}, subCategory(`{"name":"crm.REJECTED"}`)},
		hubspottest.SubCategoryString: {sight{207, 3, 1, 3}, subCategory(`"crm.REJECTED"`)},

		// These show only where something is wrong, and the last one where there are associations: see TestConflicts,
		// TestConflictWhole, TestWithoutTraceIDs and TestAssociations.
		hubspottest.WholeBatch:               {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWithoutID:        {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictAsValidation:     {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictAsCoordinates:    {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictAsExists:         {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictAsErrorType:      {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWhole:            {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWholeWithoutID:   {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWholeValidation:  {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWholeCoordinates: {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWholeExists:      {want: sight{201, 4, 0, 4}},
		hubspottest.ConflictWholeErrorType:   {want: sight{201, 4, 0, 4}},
		hubspottest.AssociationDropped:       {want: sight{201, 4, 0, 4}},

		hubspottest.NoResults: {sight{201, 0, 0, 0}, func(t *testing.T, a answer) {
			if a.Status != "COMPLETE" || strings.Contains(string(a.raw), "results") {
				t.Errorf("body %s", a.raw)
			}
		}},
		hubspottest.StatusPending:    {sight{201, 2, 0, 3}, word("PENDING")},
		hubspottest.StatusProcessing: {sight{201, 2, 0, 3}, word("PROCESSING")},
		hubspottest.StatusCanceled:   {sight{201, 2, 0, 3}, word("CANCELED")},
		hubspottest.StatusCancelled:  {sight{201, 2, 0, 3}, word("CANCELLED")},

		hubspottest.Answer400: {refused(400), category("VALIDATION_ERROR")},
		hubspottest.Answer400Type: {refused(400), func(t *testing.T, a answer) {
			category("")(t, a)
			if a.Message != "Unable to infer object type from: contacts" {
				t.Errorf("message %s", a.Message)
			}
		}},
		hubspottest.Answer401: {refused(401), category("EXPIRED_AUTHENTICATION")},
		hubspottest.Answer403: {sight{403, 0, 1, 0}, func(t *testing.T, a answer) {
			category("MISSING_SCOPES")(t, a)
			if c := string(a.Errors[0].Context); !strings.Contains(c, "requiredGranularScopes") {
				t.Errorf("context %s", c)
			}
		}},
		hubspottest.Answer404:           {refused(404), category("OBJECT_NOT_FOUND")},
		hubspottest.Answer405:           {refused(405), category("")},
		hubspottest.Answer409:           {refused(409), category("CONFLICT")},
		hubspottest.Answer413:           {refused(413), category("")},
		hubspottest.Answer423:           {refused(423), category("")},
		hubspottest.Answer429:           {refused(429), throttle("TEN_SECONDLY_ROLLING", "")},
		hubspottest.Answer429RetryAfter: {refused(429), throttle("TEN_SECONDLY_ROLLING", "2")},
		hubspottest.Answer429Secondly:   {refused(429), throttle("SECONDLY", "")},
		hubspottest.Answer429Daily:      {refused(429), throttle("DAILY", "")},
		hubspottest.Answer477:           {refused(477), retryAfter("2")},
		hubspottest.Answer500:           {refused(500), category("")},
		hubspottest.Answer502:           {refused(502), html},
		hubspottest.Answer503:           {refused(503), html},
		hubspottest.Answer504:           {refused(504), html},
		hubspottest.Answer521:           {refused(521), html},
		hubspottest.Answer522:           {refused(522), html},
		hubspottest.Answer523:           {refused(523), html},
		hubspottest.Answer525:           {refused(525), html},
		hubspottest.Answer526:           {refused(526), html},

		hubspottest.Answer500Written: {want: written(500)},
		hubspottest.Answer502Written: {written(502), html},
		hubspottest.Answer504Written: {written(504), html},
		hubspottest.Answer524Written: {written(524), html},

		hubspottest.HTMLBody: {written(201), html},
		hubspottest.EmptyBody: {written(201), func(t *testing.T, a answer) {
			if len(a.raw) > 0 || a.err != nil {
				t.Errorf("body %s, %v", a.raw, a.err)
			}
		}},
		hubspottest.TruncatedBody: {written(201), func(t *testing.T, a answer) {
			if a.err == nil || len(a.raw) == 0 || json.Valid(a.raw) {
				t.Errorf("read %d bytes and %v", len(a.raw), a.err)
			}
		}},
		hubspottest.LargeBody: {sight{201, 4, 0, 4}, func(t *testing.T, a answer) {
			if len(a.raw) != 1<<20 {
				t.Errorf("%d bytes, want %d", len(a.raw), 1<<20)
			}
		}},

		hubspottest.BreakBefore: {want: sight{}},
		hubspottest.BreakAfter:  {want: sight{Records: 4}},
		hubspottest.SlowAnswer:  {want: sight{201, 4, 0, 4}},
		hubspottest.LateWork:    {want: sight{201, 4, 0, 4}},
	}
	for _, fault := range append(hubspottest.All(), hubspottest.None) {
		if _, ok := rows[fault]; !ok {
			t.Errorf("no row for %s", fault)
		}
	}
	for fault, c := range rows {
		t.Run(string(fault), func(t *testing.T) {
			s := start(t, hubspottest.Config{Delay: time.Millisecond, LargeAnswer: 1 << 20,
				Limit: hubspottest.Limit{Calls: 5, Window: time.Hour}})
			s.Script(fault)
			a, err := do(request(t, s, "contacts/batch/create", batch(many(4)...)))
			if (err != nil) != (c.want.Status == 0) {
				t.Fatalf("error %v", err)
			}
			if err != nil && fault != hubspottest.BreakBefore && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
			got := sight{a.status, len(a.Results), len(a.Errors), s.Len("contacts")}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s%s", diff, a.raw)
			}
			if a.status == 207 && a.NumErrors != len(a.Errors) {
				t.Errorf("numErrors %d of %d", a.NumErrors, len(a.Errors))
			}
			if c.check != nil {
				c.check(t, a)
			}
			st := s.Stats()
			want := map[hubspottest.Fault]int{fault: 1}
			if fault == hubspottest.None {
				want = map[hubspottest.Fault]int{}
			}
			if diff := cmp.Diff(want, st.Faults); diff != "" {
				t.Errorf("faults -want +got:\n%s", diff)
			}
			if st.Created != got.Records || st.Statuses[got.Status] != 1 || st.Calls != 1 || st.Inputs != 4 {
				t.Errorf("stats: %+v", st)
			}
			// The script is over: what was not written can be, and only that.
			n := s.Len("contacts")
			a = post(t, s, "contacts/batch/create", batch(many(4)...))
			if len(a.Results) != 4-n || len(a.Errors) != n {
				t.Errorf("once more: %d results, %d errors; %d were written", len(a.Results), len(a.Errors), n)
			}
		})
	}
}

func traced(n int) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		for _, r := range a.Results {
			if r.ObjectWriteTraceID != nil {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%d results with trace ids too few", n)
		}
	}
}

// unknownResults counts the results with trace ids that batch doesn't make.
func unknownResults(a answer) (n int) {
	for _, r := range a.Results {
		if r.ObjectWriteTraceID == nil || !strings.HasPrefix(*r.ObjectWriteTraceID, "t") {
			n++
		}
	}
	return n
}

func ids(n int) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		different := make(map[string]bool)
		for _, r := range a.Results {
			different[r.ID] = true
		}
		if len(different) != n {
			t.Errorf("%d different ids, want %d", len(different), n)
		}
	}
}

func names(want ...string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		var got []string
		for _, e := range a.Errors {
			got = append(got, e.names(t)...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("names -want +got:\n%s", diff)
		}
	}
}

func subCategory(want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		names("t0")(t, a)
		if got := string(a.Errors[0].SubCategory); got != want {
			t.Errorf("subCategory %s, want %s", got, want)
		}
	}
}

func word(want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		if a.Status != want {
			t.Errorf("status %s, want %s", a.Status, want)
		}
	}
}

func category(want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		if a.Category != want || a.CorrelationID == "" || a.header.Get("X-HubSpot-RateLimit-Remaining") != "4" {
			t.Errorf("want category %q, a correlation id and 4 calls left: %s %v", want, a.raw, a.header)
		}
	}
}

func retryAfter(want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		if got := a.header.Get("Retry-After"); got != want {
			t.Errorf("Retry-After %q, want %q", got, want)
		}
	}
}

func throttle(policy, wait string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		retryAfter(wait)(t, a)
		if a.ErrorType != "RATE_LIMIT" || a.PolicyName != policy || a.Category != "" ||
			a.Message != "You have reached your "+strings.ToLower(policy)+" limit." {
			t.Errorf("body %s", a.raw)
		}
	}
}

func html(t *testing.T, a answer) {
	if !strings.HasPrefix(string(a.raw), "<!DOCTYPE html>") ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("%s: %s", a.header.Get("Content-Type"), a.raw)
	}
	if a.status >= 500 && a.header.Get("X-HubSpot-RateLimit-Max") != "" {
		t.Error("the edge has a quota header")
	}
}
