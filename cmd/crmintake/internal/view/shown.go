package view

import (
	"encoding/json"
	"slices"
	"strings"
)

// told is what a page has shown: of a long text it shows the second time that it is above.
type Shown []string

// longText is from how many bytes on it is worth that.
const LongText = 60

func (t *Shown) Once(text string) string {
	switch {
	case len(text) < LongText:
		return text
	case slices.ContainsFunc(*t, func(before string) bool { return strings.Contains(before, text) }):
		return "as above"
	}
	*t = append(*t, text)
	return text
}

// without is a text as received, with … in the place of a message that was shown.
func (t *Shown) Without(raw, message string) string {
	quoted, err := json.Marshal(message)
	if err != nil || len(message) < LongText {
		return t.Once(raw)
	}
	for _, form := range []string{strings.Trim(string(quoted), `"`), message} {
		raw = strings.ReplaceAll(raw, form, "…")
	}
	return t.Once(raw)
}
