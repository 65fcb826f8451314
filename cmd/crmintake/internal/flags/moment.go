package flags

import (
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
)

// moment is a time on the command line.
type Moment time.Time

func (m *Moment) UnmarshalText(b []byte) error { return m.parse(string(b), time.Local) }

// parse reads a time; one that names no zone is the zone's.
func (m *Moment) parse(s string, zone *time.Location) error {
	if s == "" {
		return nil
	}
	if ago, err := time.ParseDuration(s); err == nil {
		*m = Moment(time.Now().Add(-ago.Abs()))
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			*m = Moment(t)
			return nil
		}
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil { // from its first moment, which need not be 00:00
		*m = Moment(outbox.NextDay(time.Date(day.Year(), day.Month(), day.Day()-1, 12, 0, 0, 0, zone)))
		return nil
	}
	return fmt.Errorf("%q is no time: want one such as 2026-03-01T10:00:00Z, a day such as 2026-03-01, or how long "+
		"ago, such as 2h", s)
}

// past refuses a time that is still to come: nothing has happened since then, and everything before it.
func (m Moment) Past(flag string) error {
	if t := time.Time(m); t.After(time.Now()) {
		return fmt.Errorf("%s: %s is in the future", flag, view.Time(t))
	}
	return nil
}
