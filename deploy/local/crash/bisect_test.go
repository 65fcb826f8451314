package crash

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crmintake/worker/hubspot/hubspottest"
)

// wrong is the event that the whole second batch is refused for. Its calls are then, one after the other, of the events
// 10 to 14, which is refused, 10 and 11, 12 to 14, and so on.
const wrong = "event-13"

// halves are the moments of the bisection at which a worker is killed.
var halves = []struct {
	name    string
	arm     func(w *worker)
	left    left
	made    []string // the events in doubt whose record exists
	created []string // those that are not in doubt any more
}{
	{"one half split off", atSecondSplit, left{batch, batch, batch, unseen}, nil, nil},
	{"between two calls", afterFirstHalf, left{batch - 2, batch + 2, batch + 2, unseen}, nil, []string{"event-10",
		"event-11"}},
	{"a call under way", inFirstHalf, left{batch, batch, batch + 2, unseen}, []string{"event-10", "event-11"}, nil},
}

func isSplit(sql string) bool { return strings.Contains(sql, "INSERT INTO attempt (id, parent_id") }

func atSecondSplit(w *worker) {
	now := second(isSplit)
	w.statement = func(sql string) bool { return !now(sql) || w.kill() }
}

// Outcomes are, in turn, of the first batch, of the second, of its first half, and of that one's.
func afterFirstHalf(w *worker) {
	now := nth(4, isOutcome)
	w.answer = func(statements []string) bool { return !slices.ContainsFunc(statements, now) || w.kill() }
}

func inFirstHalf(w *worker) {
	w.call = onCall(4, func(crm http.Handler, r *http.Request) {
		crm.ServeHTTP(httptest.NewRecorder(), r)
		w.kill()
	})
}

// A worker that is killed while it bisects leaves the events in doubt whose calls it had not settled, whether made or
// not.
func TestCrashInBisection(t *testing.T) {
	t.Parallel()
	for _, m := range halves {
		for _, k := range kinds {
			t.Run(m.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, k.objectType, wrong)
				r.must(r.crm.SetRates(map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}))
				w := r.worker()
				m.arm(w)
				w.start(k.args...)
				w.awaitKill()
				if diff := cmp.Diff(m.left, r.left(unseen)); diff != "" {
					t.Errorf("left behind (-want +got):\n%s", diff)
				}
				r.drain(k.args...)

				want := map[string]fate{}
				for n, id := range ids() {
					switch {
					case n < batch || slices.Contains(m.created, id):
						want[id] = fate{Status: "created", Records: 1}
					case slices.Contains(m.made, id):
						want[id] = k.doubt(1)
					default:
						want[id] = k.doubt(0)
					}
				}
				if f := want[wrong]; f.Status == "created" { // it is sent, again
					want[wrong] = fate{Status: "dead", Reason: "rejected", PossibleDuplicate: f.PossibleDuplicate}
					if f.PossibleDuplicate { // the call before may have made a record, and nothing can be asked
						want[wrong] = fate{Status: "dead", Reason: "unknown_outcome", PossibleDuplicate: true}
					}
				}
				if diff := cmp.Diff(want, r.fates()); diff != "" {
					t.Errorf("in the end (-want +got):\n%s", diff)
				}
			})
		}
	}
}
