package crash

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crmintake/deploy/local/proxy"
)

// moment is a row of the table.
type moment struct {
	after string
	arm   func(w *worker) // makes it kill itself then
	left  left
	doubt bool // the events of the second batch are in doubt then
	made  bool // their records exist
}

// left is what there is just after the kill, beside the first batch, which is done.
type left struct{ Sending, Created, Records, Unacked int }

// unseen: acks may or may not have reached the stream by then.
const unseen = -1

var moments = []moment{
	{"pull", afterPull, left{Unacked: 2 * batch}, false, false},
	{"pull, intent sent", atIntent, left{Created: batch, Records: batch, Unacked: batch}, false, false},
	{"intent", afterIntent, left{batch, batch, batch, batch}, true, false},
	{"ack", afterAck, left{batch, batch, batch, 0}, true, false},
	{"call", afterCall, left{batch, batch, 2 * batch, unseen}, true, true},
	{"answer", atOutcome, left{batch, batch, 2 * batch, unseen}, true, true},
	{"outcome", afterOutcome, left{0, 2 * batch, 2 * batch, unseen}, false, false},
}

// Each statement is known by words that no other has. If they are not met, the test says so.
func isIntent(sql string) bool {
	return strings.Contains(sql, "INSERT INTO event (event_id, object_type, content_hash")
}
func isOutcome(sql string) bool {
	return strings.Contains(sql, "UPDATE attempt a SET state = 'settled'")
}

// second tells of what it is asked about whether it is the second of its kind.
func second(is func(string) bool) func(string) bool { return nth(2, is) }

func nth(n int32, is func(string) bool) func(string) bool {
	var met atomic.Int32
	return func(sql string) bool { return is(sql) && met.Add(1) == n }
}

func afterPull(w *worker) {
	// What was pulled first could go ahead before the last has come.
	w.statement = func(sql string) bool { return !isIntent(sql) || w.waitForEnd() }
	var n atomic.Int32
	w.received = func(m proxy.Message) bool { return !m.Delivery() || n.Add(1) < 2*batch || w.kill() }
}

func atIntent(w *worker) {
	// An ack that is too early has left, too, by the time that the worker tells the stream, on the same connection,
	// that it has the events in hand still.
	now := second(isIntent)
	var held atomic.Bool
	w.statement = func(sql string) bool {
		if !now(sql) {
			return true
		}
		held.Store(true)
		return w.waitForEnd()
	}
	w.sent = func(m proxy.Message) bool { return !held.Load() || string(m.Data) != "+WPI" || w.kill() }
}

func afterIntent(w *worker) {
	now := second(isIntent)
	w.answer = func(statements []string) bool { return !slices.ContainsFunc(statements, now) || w.kill() }
}

func afterAck(w *worker) {
	w.call = onSecondCall(func(http.Handler, *http.Request) {
		w.rig.until("all is acked", func() bool { return w.rig.unacked() == 0 })
		w.kill()
	})
}

func afterCall(w *worker) {
	w.call = onSecondCall(func(crm http.Handler, r *http.Request) {
		crm.ServeHTTP(httptest.NewRecorder(), r)
		w.kill()
	})
}

func atOutcome(w *worker) {
	now := second(isOutcome)
	w.statement = func(sql string) bool { return !now(sql) || w.kill() }
}

func afterOutcome(w *worker) {
	now := second(isOutcome)
	w.answer = func(statements []string) bool { return !slices.ContainsFunc(statements, now) || w.kill() }
}

// onSecondCall does something instead of answering the second call.
func onSecondCall(do func(http.Handler, *http.Request)) func(http.Handler, http.ResponseWriter, *http.Request) {
	return onCall(2, do)
}

func onCall(n int32, do func(http.Handler, *http.Request)) func(http.Handler, http.ResponseWriter, *http.Request) {
	var met atomic.Int32
	return func(crm http.Handler, w http.ResponseWriter, r *http.Request) {
		if met.Add(1) == n {
			do(crm, r)
			panic(http.ErrAbortHandler)
		}
		crm.ServeHTTP(w, r)
	}
}

// kind is a column of the table: what becomes of an event in doubt.
type kind struct {
	name, objectType string
	args             []string
	doubt            func(made int) fate
}

var kinds = []kind{
	{"id property", withID, nil, func(int) fate { return fate{Status: "created", Records: 1} }},
	{"park", withoutID, nil, func(made int) fate {
		return fate{Status: "dead", Reason: "unknown_outcome",
			Records: made}
	}},
	{"resend", withoutID, []string{"--on-unknown", "resend"}, func(made int) fate {
		return fate{Status: "created", PossibleDuplicate: true, Records: made + 1}
	}},
}

// want is the end of a row and a column, by event.
func (k kind) want(m moment) map[string]fate {
	want := map[string]fate{}
	for n, id := range ids() {
		want[id] = fate{Status: "created", Records: 1}
		if m.doubt && n >= batch {
			made := 0
			if m.made {
				made = 1
			}
			want[id] = k.doubt(made)
		}
	}
	return want
}

func TestCrash(t *testing.T) {
	t.Parallel()
	for _, m := range moments {
		for _, k := range kinds {
			t.Run("after "+m.after+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, k.objectType)
				w := r.worker()
				m.arm(w)
				w.start(k.args...)
				w.awaitKill()
				if diff := cmp.Diff(m.left, r.left(m.left.Unacked)); diff != "" {
					t.Errorf("left behind (-want +got):\n%s", diff)
				}
				r.drain(k.args...)
				if diff := cmp.Diff(k.want(m), r.fates()); diff != "" {
					t.Errorf("in the end (-want +got):\n%s", diff)
				}
			})
		}
	}
}
