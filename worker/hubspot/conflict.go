package hubspot

import (
	"regexp"
	"strings"
)

// conflictCode is what a custom unique property's conflict is called, under the category VALIDATION_ERROR. It may stand
// in the sub-category, in the context, or in the JSON within the message.
const conflictCode = "CONFLICTING_UNIQUE_VALUE"

// isConflict: the code means that a unique value is taken, as CONFLICT, OBJECT_ALREADY_EXISTS, CONTACT_EXISTS,
// CONFLICTING_UNIQUE_VALUE, UNIQUE_VALUE_CONFLICT and their like. PROPERTY_DOESNT_EXIST does not.
func isConflict(code string) bool {
	code = strings.ToUpper(code)
	if strings.Contains(code, "NOT_EXIST") || strings.Contains(code, "ESNT_EXIST") {
		return false
	}
	return code == "CONFLICT" || strings.Contains(code, "UNIQUE_VALUE") || strings.Contains(code, "ALREADY_EXIST") ||
		strings.HasSuffix(code, "_EXISTS")
}

// mentionsConflict finds a conflict's code in what may hold anything else, too.
func mentionsConflict(text string) bool {
	return strings.Contains(text, conflictCode) || strings.Contains(text, "UNIQUE_VALUE_CONFLICT")
}

// taken is what words say of a unique value that a record has already.
type taken struct {
	so       bool
	property string // "" if they don't tell
	existing string // the record that has the value; "" if they don't tell. They may tell without being about a conflict
}

var (
	// coordinates stand at the beginning, before the value, which is the event's and may hold anything.
	coordinates = regexp.MustCompile(`^[A-Za-z ,.:]{0,80}PropertyValueCoordinates\{`)
	// holder stands at the end, after the value.
	holder = regexp.MustCompile(`\} on [^{}]{0,100}\. ([0-9]+) already has that value[.\s]*$`)
)

// takenIn reads the API's words:
//
//	Contact already exists. Existing ID: 123
//	Cannot set PropertyValueCoordinates{portalId=1, objectTypeId=0-7, propertyName=p, value=v} on A. B already has
//	that value.
//
// B has the value. A is the record that was not made.
func takenIn(words string) (t taken) {
	if coordinates.MatchString(words) {
		_, rest, _ := strings.Cut(words, "propertyName=")
		t.property = clipped(rest[:strings.IndexAny(rest+",", ",}")])
		if m := holder.FindStringSubmatch(words[max(0, len(words)-300):]); m != nil && validID(m[1]) {
			t.existing = m[1]
		}
		t.so = strings.Contains(words[strings.LastIndexByte(words, '}')+1:], "already has that value")
		return t
	}
	lower := strings.ToLower(words)
	t.existing = existingIn(lower)
	t.so = strings.Contains(lower, "already has that value") ||
		strings.Contains(lower, "already exists") && strings.Contains(lower, existingMark)
	return t
}

const existingMark = "existing id:"

// existingIn reads the id that follows "existing id:", if it is there once: often no other place has it.
func existingIn(lower string) string {
	at := strings.Index(lower, existingMark)
	if at < 0 || strings.LastIndex(lower, existingMark) != at {
		return ""
	}
	rest := strings.TrimLeft(lower[at+len(existingMark):], " ")
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	if !validID(rest[:end]) {
		return ""
	}
	return strings.Clone(rest[:end])
}

// existingID is the record that has the unique value of the one input that the error names; "" if the error doesn't
// tell, or could mean another input's. A context is more exact than words.
func (e *apiError) existingID(inputs int) string {
	ids := e.existing
	if len(ids) == 0 {
		ids = e.inWords
	}
	if e.conflict && inputs == 1 && len(ids) == 1 && validID(ids[0]) {
		return ids[0]
	}
	return ""
}
