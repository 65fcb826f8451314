package hubspot

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

// detail is what an error says of one property: which, and the rule that it broke (PROPERTY_DOESNT_EXIST,
// INVALID_OPTION…). The API has no one place for it. Where several tell, a conflict comes first; then the JSON within a
// message is the most exact, then a code and a context beside it, then the errors within; a sub-category, and a name
// that is quoted in the words, are better than nothing.
type detail struct{ property, rule string }

// or fills in what d does not tell.
func (d detail) or(other detail) detail {
	if d.property == "" {
		d.property = other.property
	}
	if d.rule == "" {
		d.rule = other.rule
	}
	return d
}

// These bound what is kept of names that an answer gives, in bytes.
const maxName = 200

func clipped(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxName)], "") }

var quotedProperty = regexp.MustCompile(`(?i)\bproperty "([^"]+)"`)

// readMessage takes a message apart: its words, and what hides in it as JSON, as in `Property values were not valid:
// [{"isValid":false,"message":"…","error":"INVALID_OPTION","name":"stage"}]`.
func (e *apiError) readMessage(message string) {
	e.conflict = e.conflict || mentionsConflict(message)
	words := message
	if at := strings.Index(message, "[{"); at >= 0 && !coordinates.MatchString(message) && e.readHidden(message[at:]) {
		words = message[:at]
	}
	said := takenIn(words)
	about := &e.inMessage
	if said.so {
		e.conflict, about = true, &e.taken
	}
	*about = about.or(detail{property: said.property})
	if said.existing != "" {
		two(&e.inWords, said.existing)
	}
}

// readHidden reads the JSON in a message. Of several faults, and of several conflicts, it is the one that sorts first,
// for their order is not promised, and events with the same faults are to look alike. It reports false if there is
// none.
func (e *apiError) readHidden(text string) (any bool) {
	in := json.NewDecoder(strings.NewReader(text))
	_, _ = in.Token() // the array's beginning
	for in.More() {
		var one struct {
			IsValid              bool
			Error, Name, Message string
		}
		// A member of another type does not matter; what is cut short, or no JSON, ends it.
		if err := in.Decode(&one); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
			break
		}
		d, said := detail{clipped(one.Name), clipped(one.Error)}, takenIn(one.Message)
		conflict := said.so || isConflict(one.Error)
		if conflict {
			d = d.or(detail{said.property, conflictCode})
		}
		if one.IsValid || d == (detail{}) {
			continue
		}
		any = true
		first := &e.inMessage
		if conflict {
			e.conflict, first = true, &e.taken
			if said.existing != "" {
				two(&e.inWords, said.existing)
			}
		}
		if *first == (detail{}) || d.property < first.property || d.property == first.property && d.rule < first.rule {
			*first = d
		}
	}
	return any
}

// quotedIn finds a property's name in words such as `Property "amuont" does not exist`.
func quotedIn(message string) detail {
	if m := quotedProperty.FindStringSubmatch(message); m != nil {
		return detail{property: clipped(m[1])}
	}
	return detail{}
}

// propertyIn takes a property's name out of an error's context, where it is a string or an array of strings.
func propertyIn(raw []byte) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return clipped(one)
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil && len(many) > 0 {
		return clipped(many[0])
	}
	return ""
}

// apart is the property that an error is about and the rule that was broken, as far as it has them.
func (e *apiError) apart() detail {
	d := e.taken.or(e.inMessage).or(e.beside).or(e.within).or(detail{rule: e.subCategory}).or(quotedIn(e.message))
	if e.taken.property != "" {
		d = d.or(detail{rule: conflictCode})
	}
	return d
}
