package hubspottest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"crmintake/worker/hubspot/hubspottest"

	"pgregory.net/rapid"
)

// TestQuotaWindow makes calls at random times of a bubble's clock and compares each answer with the law itself, over
// the list of all admitted calls.
func TestQuotaWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := hubspottest.Limit{
			Calls:  rapid.IntRange(1, 5).Draw(rt, "calls"),
			Window: time.Duration(rapid.IntRange(1, 50).Draw(rt, "window")) * time.Millisecond,
		}
		gaps := rapid.SliceOfN(rapid.IntRange(0, 20), 1, 100).Draw(rt, "gaps")
		synctest.Test(t, func(t *testing.T) { follow(t, limit, gaps) })
	})
}

// TestQuotaManyCalls: the same with many calls in a window, a millisecond apart, after others have left it.
func TestQuotaManyCalls(t *testing.T) {
	var gaps []int
	for _, calls := range []int{40, 300, 20, 300} {
		gaps = append(gaps, 200)
		gaps = append(gaps, slices.Repeat([]int{1}, calls)...)
	}
	for _, most := range []int{90, 1000} {
		synctest.Test(t, func(t *testing.T) {
			follow(t, hubspottest.Limit{Calls: most, Window: 100 * time.Millisecond}, gaps)
		})
	}
}

// follow makes a call after each gap, in milliseconds.
func follow(t *testing.T, limit hubspottest.Limit, gaps []int) {
	t.Helper()
	c := inBubble(t, hubspottest.Config{Limit: limit})
	var admitted []time.Time
	refused, most := 0, 0
	for i, gap := range gaps {
		time.Sleep(time.Duration(gap) * time.Millisecond)
		within := 0
		for _, at := range admitted {
			if time.Since(at) < limit.Window {
				within++
			}
		}
		w := call(t, c, i)
		h := w.Header()
		status, left := http.StatusCreated, limit.Calls-within-1
		if within == limit.Calls {
			status, left = http.StatusTooManyRequests, 0
			refused++
		} else {
			admitted = append(admitted, time.Now())
			most = max(most, within+1)
		}
		if status == http.StatusCreated && i%3 == 2 {
			status = http.StatusBadRequest
		}
		if w.Code != status {
			t.Fatalf("call %d: answered %d with %d in the window of %v, want %d", i, w.Code, within, limit, status)
		}
		for name, want := range map[string]int{
			"Max": limit.Calls, "Remaining": left, "Interval-Milliseconds": int(limit.Window / time.Millisecond),
		} {
			if got := h.Get("X-HubSpot-RateLimit-" + name); got != strconv.Itoa(want) {
				t.Fatalf("call %d: %s is %q, want %d", i, name, got, want)
			}
		}
		if h.Get("X-HubSpot-RateLimit-Daily") != "" {
			t.Fatal("a daily limit that is not there")
		}
	}
	st := c.Stats()
	if st.MostInWindow != most || st.Throttled != refused || st.Calls != len(admitted) || st.Requests != len(gaps) {
		t.Fatalf("%d admitted, %d refused, at most %d in a window; stats %+v", len(admitted), refused, most, st)
	}
}

func inBubble(t *testing.T, cfg hubspottest.Config) *hubspottest.CRM {
	t.Helper()
	cfg.Token = token
	cfg.ObjectTypes = map[string]hubspottest.ObjectType{"deals": {Unique: []string{"name"}}}
	c, err := hubspottest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call makes creates, every third of them bad in form: they count all the same.
func call(t *testing.T, c *hubspottest.CRM, i int) *httptest.ResponseRecorder {
	if i%3 == 2 {
		return inProcess(t.Context(), c, "deals/batch/create", `{}`)
	}
	return inProcess(t.Context(), c, "deals/batch/create", batch(`"any":"x"`))
}

func TestQuotaAnswer(t *testing.T) {
	s := start(t, hubspottest.Config{Limit: hubspottest.Limit{Calls: 3, Window: time.Hour}})
	post(t, s, "contacts/batch/create", batch(`"name":"a"`))
	post(t, s, "contacts/batch/read", readBody("email", "a"))
	post(t, s, "contacts/batch/create", `{}`)
	r := request(t, s, "contacts/batch/create", batch(`"name":"a"`))
	r.Header.Set("Authorization", "Bearer other")
	if a, err := do(r); err != nil || a.status != 401 {
		t.Errorf("a bad credential: %d, %v", a.status, err)
	}
	a := post(t, s, "contacts/batch/create", batch(`"name":"a"`))
	throttle("TEN_SECONDLY_ROLLING", "")(t, a)
	if a.status != 429 || a.CorrelationID == "" || a.header.Get("X-HubSpot-RateLimit-Remaining") != "0" {
		t.Errorf("answered %d %v", a.status, a.header)
	}
	if st := s.Stats(); st.Calls != 3 || st.Throttled != 1 || s.Len("contacts") != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := s.SetLimit(hubspottest.Limit{Calls: 4, Window: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if a := post(t, s, "contacts/batch/create", batch(`"name":"a"`)); a.status != 201 ||
		a.header.Get("X-HubSpot-RateLimit-Max") != "4" {
		t.Errorf("after the limit rose: %d %v", a.status, a.header)
	}
	if err := s.SetLimit(hubspottest.Limit{Calls: 1}); err == nil {
		t.Error("accepted a limit of no window")
	}
}

// TestDaily: the day turns at midnight UTC of the CRM's clock.
func TestDaily(t *testing.T) {
	clock := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)
	s := start(t, hubspottest.Config{Daily: 2, Now: func() time.Time { return clock }})
	create := func(status int, left string) {
		t.Helper()
		a := post(t, s, "contacts/batch/create", batch(`"name":"a"`))
		h := a.header
		if a.status != status || h.Get("X-HubSpot-RateLimit-Daily") != "2" ||
			h.Get("X-HubSpot-RateLimit-Daily-Remaining") != left {
			t.Errorf("answered %d %v, want %d and %s left", a.status, h, status, left)
		}
		if status == 429 {
			throttle("DAILY", "")(t, a)
		}
	}
	create(201, "1")
	create(201, "0")
	create(429, "0")
	clock = clock.Add(time.Second)
	create(201, "1")
	s.SetDaily(0)
	if a := post(t, s, "contacts/batch/create", batch(`"name":"a"`)); a.header.Get("X-HubSpot-RateLimit-Daily") != "" {
		t.Errorf("a daily limit that is not there any more: %v", a.header)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, hubspottest.Config{MinLatency: time.Second, MaxLatency: 3 * time.Second})
		different := make(map[time.Duration]bool)
		for range 100 {
			began := time.Now()
			inProcess(t.Context(), c, "deals/batch/create", batch(`"any":"x"`))
			took := time.Since(began)
			if took < time.Second || took > 3*time.Second {
				t.Fatalf("took %v", took)
			}
			different[took] = true
		}
		if len(different) < 50 {
			t.Errorf("only %d different times", len(different))
		}
	})
}

// TestTransit: a request counts when it has arrived, not when it was sent.
func TestTransit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, hubspottest.Config{MinTransit: time.Second, MaxTransit: 3 * time.Second,
			Limit: hubspottest.Limit{Calls: 1, Window: 10 * time.Second}})
		for _, status := range []int{http.StatusCreated, http.StatusTooManyRequests} {
			began := time.Now()
			if w := call(t, c, 0); w.Code != status {
				t.Errorf("answered %d, want %d", w.Code, status)
			}
			if took := time.Since(began); took < time.Second || took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		}
	})
}
