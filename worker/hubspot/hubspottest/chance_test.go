package hubspottest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

// TestReadFaults does not repeat what does the same as in a create.
func TestReadFaults(t *testing.T) {
	for _, fault := range hubspottest.AllReads() {
		t.Run(string(fault), func(t *testing.T) {
			s := start(t, hubspottest.Config{Delay: time.Millisecond, LargeAnswer: 1 << 20})
			post(t, s, "contacts/batch/create", batch(many(4)...))
			s.ScriptReads(fault)
			a, err := do(request(t, s, "contacts/batch/read", readBody("event_id", "e0", "e1", "e2", "e3")))
			status, numeric := strconv.Atoi(strings.SplitN(string(fault), "-", 2)[0])
			switch results := len(a.Results); {
			case strings.HasPrefix(string(fault), "break"):
				if err == nil {
					t.Error("answered")
				}
			case err != nil:
				t.Error(err)
			case numeric == nil:
				if a.status != status || results != 0 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			case fault == hubspottest.SlowAnswer || fault == hubspottest.LargeBody:
				if results != 4 || a.status != 200 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			case fault == hubspottest.ReadEmptyIfMissing || fault == hubspottest.Read404Unnamed: // see TestReadForms
				if results != 4 || a.status != 200 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			case fault == hubspottest.ReadLeavesOut:
				if results != 3 || a.status != 200 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			case fault == hubspottest.DoubledResults:
				if results != 8 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			case strings.HasPrefix(string(fault), "status-"):
				if results != 2 || a.Status == "COMPLETE" {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			default: // no results, and bodies that can't be read
				if results != 0 || a.status != 200 {
					t.Errorf("answered %d %s", a.status, a.raw)
				}
			}
			if got := s.Stats().Faults[fault]; got != 1 {
				t.Errorf("counted %d, want 1", got)
			}
		})
	}
}

func TestScript(t *testing.T) {
	s := start(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.Answer503: 1}})
	s.Script(hubspottest.Answer500, hubspottest.None)
	s.Script(hubspottest.Answer409)
	create := func(body string) int { return post(t, s, "contacts/batch/create", body).status }
	got := []int{create(batch(`"name":"a"`)), create(`{}`), create(batch(`"name":"a"`)), create(batch(`"name":"a"`)),
		create(batch(`"name":"a"`))}
	if diff := cmp.Diff([]int{500, 400, 201, 409, 503}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := s.SetRates(nil); err != nil {
		t.Fatal(err)
	}
	if got := create(batch(`"name":"a"`)); got != 201 {
		t.Errorf("answered %d without rates", got)
	}
	if err := s.SetReadRates(map[hubspottest.Fault]float64{hubspottest.Answer500: 1}); err != nil {
		t.Fatal(err)
	}
	if got := post(t, s, "contacts/batch/read", readBody("email", "a")).status; got != 500 {
		t.Errorf("a read is answered %d", got)
	}
	for name, script := range map[string]func(...hubspottest.Fault){"create": s.Script, "read": s.ScriptReads} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("took a fault that it can't meet")
				}
			}()
			if name == "create" {
				script("no such fault")
			}
			script(hubspottest.LateWork)
		})
	}
}

// TestChance: rates hold, and a seed repeats them.
func TestChance(t *testing.T) {
	const n = 2000
	run := func(seed uint64) (statuses []int) {
		c, err := hubspottest.New(hubspottest.Config{
			Token: token, Seed: seed, ObjectTypes: map[string]hubspottest.ObjectType{"deals": {}},
			Rates: map[hubspottest.Fault]float64{hubspottest.Answer500: 0.25, hubspottest.Answer503: 0.05,
				hubspottest.Answer409: 0},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			statuses = append(statuses, inProcess(t.Context(), c, "deals/batch/create", batch(`"name":"a"`)).Code)
		}
		st := c.Stats()
		for fault, want := range map[hubspottest.Fault]int{hubspottest.Answer500: n / 4, hubspottest.Answer503: n / 20,
			hubspottest.Answer409: 0} {
			if got := st.Faults[fault]; got < want-want/3 || got > want+want/3 {
				t.Errorf("%s: %d of %d calls, want about %d", fault, got, n, want)
			}
		}
		return statuses
	}
	first := run(1)
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Errorf("the same seed: -first +second:\n%s", diff)
	}
	if cmp.Equal(first, run(2)) {
		t.Error("another seed repeats the first")
	}
}

// inProcess makes a call without a network.
func inProcess(ctx context.Context, c http.Handler, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/crm/objects/2026-03/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// TestCallerIsGone: what is slow ends when its caller goes, and what is late does its work all the same.
func TestCallerIsGone(t *testing.T) {
	for fault, c := range map[hubspottest.Fault]struct{ whenGone, inTheEnd int }{
		hubspottest.SlowAnswer: {1, 1},
		hubspottest.LateWork:   {0, 1},
	} {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crm, err := hubspottest.New(hubspottest.Config{
					Token: token, ObjectTypes: map[string]hubspottest.ObjectType{"deals": {}}, Delay: time.Minute,
				})
				if err != nil {
					t.Fatal(err)
				}
				crm.Script(fault)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				done := make(chan time.Duration)
				go func() {
					defer func() {
						_ = recover() // the way in which a handler breaks off
						done <- time.Since(began)
					}()
					inProcess(ctx, crm, "deals/batch/create", batch(`"name":"a"`))
				}()
				time.Sleep(time.Second) // of the bubble's time
				synctest.Wait()
				if n := crm.Len("deals"); n != c.whenGone {
					t.Errorf("%d records when the caller goes, want %d", n, c.whenGone)
				}
				want := time.Second
				if fault == hubspottest.LateWork {
					want = time.Minute
				}
				if got := <-done; got != want {
					t.Errorf("ended after %v, want %v", got, want)
				}
				if n := crm.Len("deals"); n != c.inTheEnd {
					t.Errorf("%d records in the end, want %d", n, c.inTheEnd)
				}
			})
		})
	}
}

// TestCloseEndsAll: Close waits for nobody's delay. Leaks are looked for by TestMain.
func TestCloseEndsAll(t *testing.T) {
	for _, fault := range []hubspottest.Fault{hubspottest.SlowAnswer, hubspottest.LateWork} {
		s := start(t, hubspottest.Config{Delay: 24 * time.Hour, KeepCalls: 1})
		s.Script(fault)
		failed := make(chan error)
		go func() {
			_, err := do(request(t, s, "contacts/batch/create", batch(`"name":"a"`)))
			failed <- err
		}()
		for s.Stats().Faults[fault] == 0 { // until the call has begun
			runtime.Gosched()
		}
		s.Close()
		if err := <-failed; err == nil {
			t.Errorf("%s: answered", fault)
		}
	}
}
