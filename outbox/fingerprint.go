package outbox

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A fingerprint is the same for rows that are dead for the same thing, so that a person can deal with all of them at
// once: of one object type, one reason and one cause. It is made in SQL, because only the row knows its object type
// when it is settled, and it is short, because people type it.
func fingerprint(objectType, reason, cause string) string {
	return fmt.Sprintf(`substr(encode(sha256(convert_to(concat_ws(E'\x1f', %s, %s, %s), 'UTF8')), 'hex'), 1, 12)`, objectType, reason, cause)
}

// causeOf says why a row is dead, alike for what is of one kind: by the first of its errors that names a property or a
// rule, else the first with a message, else in these words.
func causeOf(errors []Error, words string) string {
	var said *Error
	for i := range errors {
		e := &errors[i]
		if e.Property != "" || e.Rule != "" {
			return e.cause()
		}
		if said == nil && e.Message != "" {
			said = e
		}
	}
	if said == nil {
		said = &Error{Message: words}
	}
	return said.cause()
}

// cause leaves out the message if there is a rule, which says the same without the values.
func (e *Error) cause() string {
	message := ""
	if e.Rule == "" {
		message = normalised(e.Message)
	}
	return strings.Join([]string{e.Category, e.Property, e.Rule, message}, "\x1f")
}

// variable is what differs between messages of one kind: what is quoted, addresses, and all words with digits: ids,
// numbers, times. A property's name after "property" or in a path is what the message is about, and stays.
var variable = regexp.MustCompile(`(?i)(?P<kept>\bproperty "[^"]*"|\bproperties\.[\w-]+)` +
	`|"[^"]*"|\B'[^']*'\B|\w+://\S+|\S+@\S+|[\w:+-]*\d(?:[\w:.+-]*[\w])?`)

// longEnough is how much of a message tells its kind, in bytes.
const longEnough = 300

func normalised(message string) string {
	message = message[:min(len(message), 10*longEnough)]
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "")), " ")
	kept := variable.SubexpIndex("kept")
	var b strings.Builder
	last := 0
	for _, at := range variable.FindAllStringSubmatchIndex(message, -1) {
		if at[2*kept] >= 0 {
			continue
		}
		b.WriteString(message[last:at[0]])
		b.WriteString("#")
		last = at[1]
	}
	b.WriteString(message[last:])
	end := min(b.Len(), longEnough)
	for end < b.Len() && !utf8.RuneStart(b.String()[end]) {
		end--
	}
	return b.String()[:end]
}
