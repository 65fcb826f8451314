package pipeline

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// agreement counts of what was sent, but for the property that the record was found by, what the record holds, what
// it holds another value of, and what it does not hold.
func agreement(sent, held map[string]string, but string) (same, other, absent int) {
	for name, value := range sent {
		kept, told := held[name]
		switch {
		case name == but || value == "":
		case !told:
			absent++
		case alike(value, kept):
			same++
		default:
			other++
		}
	}
	return same, other, absent
}

// alike reports whether a value that was sent and one that the CRM keeps are the same, but for what it is known to
// rewrite: case, white space, the form of numbers, times and telephone numbers, the order of several options.
func alike(sent, kept string) bool {
	a := strings.ToLower(strings.Join(strings.Fields(sent), " "))
	b := strings.ToLower(strings.Join(strings.Fields(kept), " "))
	if a == b {
		return true
	}
	if x, err := strconv.ParseFloat(a, 64); err == nil {
		if y, err := strconv.ParseFloat(b, 64); err == nil {
			return x == y
		}
	}
	if x, ok := moment(a); ok {
		if y, ok := moment(b); ok {
			return x.Equal(y)
		}
	}
	if x, y := phone(a), phone(b); len(x) >= shortestPhone && len(y) >= shortestPhone {
		return strings.HasSuffix(x, y) || strings.HasSuffix(y, x)
	}
	x, y := strings.Split(a, ";"), strings.Split(b, ";")
	slices.Sort(x)
	slices.Sort(y)
	return len(x) > 1 && slices.Equal(x, y)
}

// moment reads a date, a time, or milliseconds since 1970.
func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return at, true
		}
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) >= 12 {
		return time.UnixMilli(ms), true
	}
	return time.Time{}, false
}

// shortestPhone is how many digits a number has at least that is taken for a telephone's.
const shortestPhone = 7

// phone is the digits of what may be a telephone number, else "".
func phone(s string) string {
	digits := make([]rune, 0, len(s))
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case !strings.ContainsRune(" +-/().", c):
			return ""
		}
	}
	return strings.TrimLeft(string(digits), "0")
}
