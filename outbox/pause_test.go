package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPause(t *testing.T) {
	s := open(t)
	pauses := func(want ...Pause) {
		t.Helper()
		got, err := s.Pauses(t.Context())
		ok(t, err)
		minutes := cmp.Transformer("minutes", func(d time.Duration) float64 { return d.Round(time.Minute).Minutes() })
		if diff := cmp.Diff(want, got, minutes, cmpopts.IgnoreFields(Pause{}, "Since"), cmpopts.EquateEmpty(),
			cmpopts.SortSlices(func(a, b Pause) bool { return a.ObjectType < b.ObjectType })); diff != "" {
			t.Error(diff)
		}
	}
	pause := func(objectType, reason string, wait time.Duration, want bool) {
		t.Helper()
		if fresh, err := s.Pause(t.Context(), objectType, reason, wait); fresh != want || err != nil {
			t.Errorf("fresh: %v, %v; want %v", fresh, err, want)
		}
	}
	try := func(objectType string, want bool) {
		t.Helper()
		if may, err := s.Try(t.Context(), objectType, 10*time.Minute); may != want || err != nil {
			t.Errorf("try %s: %v, %v; want %v", objectType, may, err, want)
		}
	}
	pauses()
	try("deals", true) // what isn't paused needs no trial
	pause("deals", "404\x00", time.Hour, true)
	pause(Account, "401", time.Hour, true)
	since := lines(t, s, `SELECT since FROM pause WHERE object_type = 'deals'`)
	pause("deals", "405", 2*time.Hour, false)
	want(t, s, `SELECT since FROM pause WHERE object_type = 'deals'`, since...)
	pauses(Pause{Account, "401", time.Time{}, time.Hour}, Pause{"deals", "405", time.Time{}, 2 * time.Hour})
	try("deals", false)
	ok(t, s.TryNow(t.Context()))
	try("deals", true)
	try("deals", false) // one trial, of one worker
	pauses(Pause{Account, "401", time.Time{}, 0}, Pause{"deals", "405", time.Time{}, 10 * time.Minute})
	for _, was := range []bool{true, false} {
		if got, err := s.Resume(t.Context(), "deals"); got != was || err != nil {
			t.Errorf("resume: %v, %v; want %v", got, err, was)
		}
	}
	try("deals", true)
	pauses(Pause{Account, "401", time.Time{}, 0})
}
