package outbox

import "time"

// NextDay returns the first moment of the date after t's, where t is. That is 00:00, but where clocks go forward then:
// there the day begins at 01:00.
func NextDay(t time.Time) time.Time {
	today := dateOf(t)
	for at := t; ; { // from one change of the clocks to the next
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		next := today.AddDate(0, 0, 1).Add(-time.Duration(offset) * time.Second).In(t.Location()) // 00:00 by these clocks
		switch {
		case end.IsZero() || next.Before(end):
			return next
		case dateOf(end).After(today):
			return end
		}
		at = end
	}
}

// dateOf is t's date, as midnight UTC.
func dateOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
