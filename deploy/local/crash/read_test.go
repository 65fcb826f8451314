package crash

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A worker that is killed while it asks what became of a call has concluded nothing: the next one asks as often as if
// it had not asked.
func TestCrashInReconcile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		made  bool // the call that broke off was applied
		arm   func(w *worker)
		reads []string // how they ended, of all workers
	}{
		"sent, found":            {true, atRead(1), []string{"expired", "settled"}},
		"sent, not found":        {false, atRead(1), []string{"expired", "settled", "settled"}},
		"answered, found":        {true, atReadOutcome(1), []string{"expired", "settled"}},
		"answered, not found":    {false, atReadOutcome(1), []string{"expired", "settled", "settled"}},
		"second sent":            {false, atRead(2), []string{"settled", "expired", "settled"}},
		"second answered":        {false, atReadOutcome(2), []string{"settled", "expired", "settled"}},
		"found, answer withheld": {true, afterReadOutcome, []string{"settled"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, withID)
			w := r.worker()
			w.call = onSecondCall(func(crm http.Handler, req *http.Request) {
				if test.made {
					crm.ServeHTTP(httptest.NewRecorder(), req)
				}
			})
			test.arm(w)
			w.start()
			w.awaitKill()
			wantOpen, wantRows := []string{"read"}, []string{"created 10", "unknown 10"}
			if len(test.reads) == 1 { // it was committed
				wantOpen, wantRows = []string{}, []string{"created 20"}
			}
			if diff := cmp.Diff(wantOpen, ask[string](r, `SELECT kind FROM attempt WHERE state = 'open'`)); diff != "" {
				t.Errorf("calls left open (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantRows, ask[string](r,
				`SELECT status || ' ' || count(*) FROM outbox GROUP BY status ORDER BY status`)); diff != "" {
				t.Errorf("rows left behind (-want +got):\n%s", diff)
			}
			r.drain()
			want := map[string]fate{}
			for _, id := range ids() {
				want[id] = fate{Status: "created", Records: 1}
			}
			if diff := cmp.Diff(want, r.fates()); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.reads, ask[string](r,
				`SELECT state FROM attempt WHERE kind = 'read' ORDER BY started_at`)); diff != "" {
				t.Errorf("reads (-want +got):\n%s", diff)
			}
			creates := 2
			if !test.made {
				creates = 3
			}
			if n := len(ask[string](r, `SELECT id::text FROM attempt WHERE kind = 'create'`)); n != creates {
				t.Errorf("%d create calls, want %d", n, creates)
			}
		})
	}
}

// atRead kills it when the CRM has looked at its nth read and has not answered.
func atRead(n int32) func(*worker) {
	return func(w *worker) {
		w.read = onCall(n, func(crm http.Handler, r *http.Request) {
			crm.ServeHTTP(httptest.NewRecorder(), r)
			w.kill()
		})
	}
}

// atReadOutcome kills it before the outcome of its nth read is committed. The outcomes of two create calls come first.
func atReadOutcome(n int32) func(*worker) {
	return func(w *worker) {
		now := nth(2+n, isOutcome)
		w.statement = func(sql string) bool { return !now(sql) || w.kill() }
	}
}

// afterReadOutcome kills it when the outcome of its first read is committed, which it is not told.
func afterReadOutcome(w *worker) {
	now := nth(3, isOutcome)
	w.answer = func(statements []string) bool {
		for _, sql := range statements {
			if now(sql) {
				return w.kill()
			}
		}
		return true
	}
}
