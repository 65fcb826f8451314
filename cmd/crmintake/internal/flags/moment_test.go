package flags

import (
	"testing"
	"time"
)

// A day begins with its first moment, also where clocks go forward at midnight.
func TestMomentOfADay(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Santiago")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-09-06": "2026-09-06T04:00:00Z", "2026-09-07": "2026-09-07T03:00:00Z", "2026-03-01": "2026-03-01T03:00:00Z",
	} {
		var m Moment
		if err := m.parse(text, zone); err != nil || time.Time(m).UTC().Format(time.RFC3339) != want {
			t.Errorf("%s is %v, want %s; %v", text, time.Time(m), want, err)
		}
	}
	if err := new(Moment).UnmarshalText([]byte("2026-02-30")); err == nil {
		t.Error("a day that there is not")
	}
}
