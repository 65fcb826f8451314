package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const leaseLost = "the lease of a call ran out"

// A worker that is frozen in a call for longer than its lease finds, when it goes on, that others have ended its work,
// and changes nothing.
func TestFreeze(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, k.objectType)
			w := r.worker()
			frozen, goOn := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(goOn) })
			var once sync.Once
			w.call = func(crm http.Handler, rw http.ResponseWriter, req *http.Request) {
				to := rw
				once.Do(func() {
					<-w.started
					_ = body(t, req) // all of it has to be here before nothing more comes
					if err := w.process.Signal(syscall.SIGSTOP); err != nil {
						t.Errorf("freeze: %v", err)
					}
					to = httptest.NewRecorder()
					crm.ServeHTTP(to, req)
					close(frozen)
					<-goOn
				})
				if to != rw {
					panic(http.ErrAbortHandler) // the call's time is over: nobody reads an answer
				}
				crm.ServeHTTP(rw, req)
			}
			w.start(k.args...)
			t.Cleanup(release)
			select {
			case <-frozen:
			case <-time.After(patience):
				t.Fatalf("no call to be frozen in; the log:\n%s", &w.log)
			}
			r.drain(k.args...)
			want := map[string]fate{}
			for n, id := range ids() {
				want[id] = fate{Status: "created", Records: 1}
				if n < batch {
					want[id] = k.doubt(1)
				}
			}
			if diff := cmp.Diff(want, r.fates()); diff != "" {
				t.Errorf("what the other worker made of it (-want +got):\n%s", diff)
			}

			before := r.everything()
			if err := w.process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			release()
			r.until("the frozen worker finds its lease lost", func() bool { return strings.Contains(w.log.String(), leaseLost) })
			if err := w.process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			w.awaitEnd()
			if diff := cmp.Diff(before, r.everything()); diff != "" {
				t.Errorf("the worker that was frozen has changed something (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(want, r.fates()); diff != "" {
				t.Errorf("after the worker that was frozen (-want +got):\n%s", diff)
			}
		})
	}
}

// everything is what the outbox has of rows, calls and errors.
func (r *rig) everything() []string {
	return slices.Concat(
		ask[string](r, `SELECT o::text FROM outbox o ORDER BY event_id`),
		ask[string](r, `SELECT a::text FROM attempt a ORDER BY id`),
		ask[string](r, `SELECT e::text FROM outbox_error e ORDER BY e::text`))
}

// No call is started whose deadline is not inside its lease by the database's clock, however late the worker learns
// that its intent was committed.
func TestIntentAnsweredLate(t *testing.T) {
	t.Parallel()
	const one = `SELECT EXISTS (SELECT FROM attempt WHERE kind = 'create' AND `
	for name, test := range map[string]struct {
		until string // when the answer is let through, about the attempt
		lost  bool   // the attempt is certainly not the worker's any more then
	}{
		"no time for a call": {until: one + fmt.Sprintf(`lease_until < now() + '%v')`, callTimeout)},
		"lease over":         {until: one + `lease_until < now())`},
		"attempt closed":     {until: one + `state = 'expired')`, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, withID)
			// Attempts expire from then on: see restartGrace in package worker.
			r.until("the database is ten seconds old", func() bool {
				return slices.Equal(ask[bool](r, `SELECT pg_postmaster_start_time() + '10 seconds' < now()`), []bool{true})
			})
			w := r.worker()
			var once sync.Once
			held := make(chan bool, 1)
			w.answer = func(statements []string) bool {
				if slices.ContainsFunc(statements, isIntent) {
					once.Do(func() {
						held <- r.until(test.until, func() bool { return slices.Equal(ask[bool](r, test.until), []bool{true}) })
					})
				}
				return true
			}
			var mu sync.Mutex
			calls := 0
			w.call = func(crm http.Handler, rw http.ResponseWriter, req *http.Request) {
				r.insideLease(req)
				mu.Lock()
				calls++
				mu.Unlock()
				crm.ServeHTTP(rw, req)
			}
			w.start("--drain")
			w.awaitEnd()
			select {
			case ok := <-held:
				if !ok {
					t.Fatalf("the answer was not held back as it should; the log:\n%s", &w.log)
				}
			default:
				t.Fatalf("no intent has been seen; the log:\n%s", &w.log)
			}
			if test.lost && !strings.Contains(w.log.String(), leaseLost) {
				t.Errorf("the worker has not noticed that its lease was lost; the log:\n%s", &w.log)
			}
			mu.Lock()
			defer mu.Unlock()
			if calls < 2 {
				t.Errorf("%d calls, want one for each batch at least", calls)
			}
			want := map[string]fate{}
			for _, id := range ids() {
				want[id] = fate{Status: "created", Records: 1}
			}
			if diff := cmp.Diff(want, r.fates()); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
		})
	}
}

// insideLease checks of a call that has just begun that its deadline, which is not later than a call timeout from now,
// is inside the lease of an open attempt that has all of the call's events.
func (r *rig) insideLease(req *http.Request) {
	var call struct {
		Inputs []struct{ Properties map[string]string }
	}
	if err := json.Unmarshal(body(r.t, req), &call); err != nil {
		r.t.Errorf("a call that can't be read: %v", err)
		return
	}
	var events []string
	for _, input := range call.Inputs {
		events = append(events, input.Properties["name"])
	}
	inside := ask[string](r, `
SELECT o.event_id FROM outbox o JOIN attempt a ON a.id = o.attempt_id
WHERE o.event_id = ANY($1) AND o.status = 'sending' AND a.state = 'open' AND a.lease_until > now() + $2::interval
ORDER BY o.event_id`, events, callTimeout)
	slices.Sort(events)
	if diff := cmp.Diff(events, inside); diff != "" {
		r.t.Errorf("a call outside of its lease (-called +inside):\n%s", diff)
	}
}

// body takes in the whole body of a request, for the simulated CRM to read once more.
func body(t *testing.T, req *http.Request) []byte {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		t.Errorf("a call breaks off: %v", err)
	}
	req.Body = io.NopCloser(bytes.NewReader(b))
	return b
}
