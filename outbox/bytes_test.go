package outbox

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// awkward has every byte, alone and in UTF-8 that isn't.
var awkward = func() string {
	var b strings.Builder
	for c := range 256 {
		b.WriteByte(byte(c))
	}
	return b.String() + `"\u0000 \xff` + "\xc3\x28\xed\xa0\x80\xf4\x90\x80\x80"
}()

func TestAnyBytesSurvive(t *testing.T) {
	t.Parallel()
	s := open(t)
	longest := strings.Repeat("é", 128)
	list := []Event{
		event(longest, "longest id"),
		event(longest+"#"+longest+":18446744073709551615", "an id that was reused"),
		event("empty", ""),
		event("nil", ""),
		event("awkward", awkward),
	}
	list[3].Payload = nil
	list[4].StreamSeq = 1<<64 - 1
	list[4].ContentHash = [16]byte{0, 0xff, '\\', 0}
	a := newAttempt()
	_, err := s.Batches.Intend(t.Context(), a, list)
	ok(t, err)
	like := retry
	like.Error = awkward
	like.Errors = []Error{{Category: awkward, Message: awkward, Raw: []byte(awkward)}, {Raw: []byte{}}}
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{CorrelationID: awkward, Detail: awkward, NotApplied: 5}, alike(like, ids...)))

	second := newAttempt()
	rows, err := s.Schedule.Claim(t.Context(), second, Retry, 100, 1<<20)
	ok(t, err)
	got := map[string]Event{}
	for _, r := range rows {
		got[r.ID] = r.Event
	}
	for _, e := range list {
		if e.Payload == nil {
			e.Payload = []byte{}
		}
		if diff := cmp.Diff(e, got[e.ID]); diff != "" {
			t.Errorf("%q: %s", e.ID, diff)
		}
	}
	var raw []byte
	ok(t, s.pool.QueryRow(t.Context(), `SELECT raw FROM outbox_error WHERE event_id = 'awkward' ORDER BY id LIMIT 1`).Scan(&raw))
	if !bytes.Equal(raw, []byte(awkward)) {
		t.Errorf("an error's bytes: %q", raw)
	}
	want(t, s, `SELECT count(DISTINCT error), min(error) LIKE '%"\\u0000 \\xff%' FROM outbox`, "1 t")

	like = Settlement{Status: Created, RecordID: awkward, URL: awkward, Warnings: []byte(awkward), Result: []byte(awkward), Keep: true}
	ok(t, s.Batches.Settle(t.Context(), second.ID, Call{Created: 5}, alike(like, ids...)))
	var payload, result []byte
	ok(t, s.pool.QueryRow(t.Context(), `SELECT payload, result FROM outbox WHERE event_id = 'awkward'`).Scan(&payload, &result))
	if !bytes.Equal(result, []byte(awkward)) || !bytes.Equal(payload, []byte(awkward)) {
		t.Errorf("payload %q, result %q", payload, result)
	}
	_, err = s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("buried", awkward), Reason: InvalidEvent, Error: awkward}})
	ok(t, err)
	ok(t, s.pool.QueryRow(t.Context(), `SELECT payload FROM outbox WHERE event_id = 'buried'`).Scan(&payload))
	if !bytes.Equal(payload, []byte(awkward)) {
		t.Errorf("buried %q", payload)
	}
}

func TestLargestBatch(t *testing.T) {
	t.Parallel()
	s := open(t)
	list, settlements := batchOf("e", 100, 1<<20)
	a := newAttempt()
	_, err := s.Batches.Intend(t.Context(), a, list)
	ok(t, err)
	for i := range settlements {
		settlements[i] = Settlement{EventID: list[i].ID, Status: Retry}
	}
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{NotApplied: 100}, settlements))
	rows, err := s.Schedule.Claim(t.Context(), newAttempt(), Retry, 100, 100<<20)
	ok(t, err)
	if len(rows) != 100 {
		t.Fatalf("claimed %d rows", len(rows))
	}
	for i, r := range rows {
		if !bytes.Equal(r.Payload, list[i].Payload) {
			t.Errorf("%s has another payload", r.ID)
		}
	}
}

// Durations, alone and in arrays, arrive to the microsecond.
func TestWaits(t *testing.T) {
	t.Parallel()
	s := open(t)
	waits := map[string]time.Duration{
		"a": 0, "b": time.Microsecond, "c": 1500 * time.Millisecond, "d": time.Hour, "e": 365*24*time.Hour + time.Microsecond, "f": -time.Second}
	ids := []string{"a", "b", "c", "d", "e", "f"}
	settlements := alike(retry, ids...)
	for i := range settlements {
		settlements[i].Wait = waits[settlements[i].EventID]
	}
	a := intend(t, s, ids...)
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{NotApplied: 6}, settlements))
	for id, wait := range waits {
		var got int64
		ok(t, s.pool.QueryRow(t.Context(), `SELECT (extract(epoch FROM next_attempt_at - updated_at) * 1000000)::int8 FROM outbox WHERE event_id = $1`, id).Scan(&got))
		if got != wait.Microseconds() {
			t.Errorf("%v became %d µs", wait, got)
		}
	}
}
