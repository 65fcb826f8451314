package hubspot

import (
	"bytes"
	"slices"
	"strings"

	"crmintake/worker"
)

// fault is one error object: an element of errors, or a whole body.
type fault struct {
	raw               []byte
	category, message string
	named             []int    // the inputs that it names, by itself or in an error within
	strangers         int      // names that are no input's
	existing          []string // ids of records that have a unique value already, the first two
	conflict          bool

	inMessage, beside, within detail // what tells about a property: JSON in the message, members beside it, errors within
	subCategory               string // if it is one word
}

// conflictCode is what a custom unique property's conflict is called, under the category VALIDATION_ERROR. It may stand
// in the sub-category, in the context, or in the JSON within the message.
const conflictCode = "CONFLICTING_UNIQUE_VALUE"

// inDoubt are the categories of an error that leave open what became of its inputs.
var inDoubt = []string{"INTERNAL_ERROR", "INTERNAL_SERVER_ERROR", "SERVER_ERROR", "UNKNOWN", "UNKNOWN_ERROR",
	"TIMEOUT", "REQUEST_TIMEOUT", "GATEWAY_TIMEOUT", "BAD_GATEWAY", "SERVICE_UNAVAILABLE"}

// notTheirs are the categories of an error that is not its inputs' fault, and refused them.
var notTheirs = []string{"RATE_LIMIT", "RATE_LIMITS", "LOCKED",
	"EXPIRED_AUTHENTICATION", "INVALID_AUTHENTICATION", "MISSING_SCOPES"}

// verdict says what an error in a 2xx means for the inputs that it names. A category that is in neither list, or none
// at all, speaks of the input: that is what errors with names are for.
func (f *fault) verdict() worker.Verdict {
	switch {
	case isCode(f.category, inDoubt...):
		return worker.Unknown
	case isCode(f.category, notTheirs...):
		return worker.NotApplied
	default:
		return worker.Rejected
	}
}

// existingID is the record that has the unique value of the one input that the error names; "" if the error doesn't
// tell, or could mean another input's.
func (f *fault) existingID(inputs int) string {
	switch {
	case !f.conflict || inputs != 1:
		return ""
	case len(f.existing) == 0:
		return existingInMessage(f.message)
	case len(f.existing) == 1 && validID(f.existing[0]):
		return f.existing[0]
	}
	return ""
}

// existingInMessage reads "Contact already exists. Existing ID: 123": often no other place has it.
func existingInMessage(message string) string {
	const mark = "existing id:"
	lower := strings.ToLower(message)
	at := strings.Index(lower, mark)
	if at < 0 {
		return ""
	}
	rest := strings.TrimLeft(lower[at+len(mark):], " ")
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	if id := rest[:end]; validID(id) && strings.LastIndex(lower, mark) == at {
		return strings.Clone(id)
	}
	return ""
}

func (d *document) readErrors(faults *[]fault) error {
	if d.in.PeekKind() != '[' {
		return d.noList()
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for d.in.PeekKind() != ']' {
		if len(*faults) == maxErrors {
			return errTooMany
		}
		*faults = append(*faults, fault{})
		if err := d.readFault(&(*faults)[len(*faults)-1]); err != nil {
			return err
		}
	}
	_, err := d.in.ReadToken()
	return err
}

// readFault reads one element of errors. One that is no object names nobody.
func (d *document) readFault(f *fault) error {
	if d.in.PeekKind() != '{' {
		text, _, err := d.scalar()
		f.raw, f.message = bytes.Clone(text), string(text)
		return err
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			f.raw = d.body[start:d.in.InputOffset()]
			return nil
		}
		switch {
		case string(name) != "errors":
			err = d.readFaultMember(f, name)
		default: // what an error within names, this one names; the words are this one's
			err = d.readErrorsWithin(f)
		}
		if err != nil {
			return err
		}
	}
}

func (d *document) readErrorsWithin(f *fault) error {
	var within []fault
	if kind := d.in.PeekKind(); kind != '[' {
		_, err := d.value()
		return err
	}
	err := d.readErrors(&within)
	for i := range within {
		for _, at := range within[i].named {
			f.name(at)
		}
		f.strangers += within[i].strangers
		for _, id := range within[i].existing {
			f.exists(id)
		}
		f.conflict = f.conflict || within[i].conflict
		f.within = f.within.or(within[i].apart())
	}
	return err
}

func (f *fault) name(at int) {
	if !slices.Contains(f.named, at) {
		f.named = append(f.named, at)
	}
}

func (f *fault) exists(id string) {
	if len(f.existing) < 2 && !slices.Contains(f.existing, id) {
		f.existing = append(f.existing, id)
	}
}

// maxMessage is how much is kept of an error's message; Raw has more.
const maxMessage = 16 << 10

// readFaultMember reads the value of a member of an error object, whichever it is.
func (d *document) readFaultMember(f *fault, name []byte) (err error) {
	switch string(name) {
	case "category":
		f.category, err = d.readText()
		f.conflict = f.conflict || isCode(f.category, "CONFLICT")
	case "errorType": // what a 429 has in place of a category
		var text string
		if text, err = d.readText(); f.category == "" {
			f.category = text
		}
	case "message":
		var text []byte
		text, _, err = d.scalar()
		f.message = string(text[:min(len(text), maxMessage)])
		f.conflict = f.conflict || bytes.Contains(text, []byte(conflictCode))
		f.inMessage = detailIn(text)
	case "code":
		var text []byte
		text, _, err = d.scalar()
		f.beside.rule = clipped(string(text))
	case "subCategory":
		var raw []byte
		raw, err = d.value()
		f.conflict = f.conflict || bytes.Contains(raw, []byte(conflictCode))
		f.subCategory = propertyIn(raw)
	case "context":
		err = d.readContext(f)
	case "objectWriteTraceId":
		err = d.readWords(func(id string) { d.nameTrace(f, id) })
	default:
		_, err = d.value()
	}
	return err
}

// readContext reads a map of names to arrays, a map of names to scalars, or either in Java's words:
// "{objectWriteTraceId=[a, b], existingId=[1]}".
func (d *document) readContext(f *fault) error {
	switch d.in.PeekKind() {
	case '{':
	case '"':
		text, err := d.readText()
		f.conflict = f.conflict || strings.Contains(text, conflictCode)
		d.nameJavaTraces(f, text)
		if ids := javaMember(text, "existingId"); ids != "" {
			for id := range strings.SplitSeq(ids, ", ") {
				f.exists(id)
			}
		}
		return err
	default:
		_, err := d.value()
		return err
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for {
		name, more, err := d.member()
		if !more || err != nil {
			return err
		}
		switch key := string(name); {
		case isCode(key, "objectWriteTraceId"):
			err = d.readWords(func(id string) { d.nameTrace(f, id) })
		case isCode(key, "existingId"):
			err = d.readWords(f.exists)
		default:
			var raw []byte
			raw, err = d.value()
			f.conflict = f.conflict || bytes.Contains(raw, []byte(conflictCode))
			if isCode(key, "propertyName", "property", "properties", "invalidPropertyName") {
				f.beside.property = propertyIn(raw)
			}
		}
		if err != nil {
			return err
		}
	}
}

// readWords reads an array of scalars, or one scalar.
func (d *document) readWords(word func(string)) error {
	if d.in.PeekKind() != '[' {
		text, _, err := d.scalar()
		if text != nil {
			word(string(text))
		}
		return err
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for d.in.PeekKind() != ']' {
		text, _, err := d.scalar()
		if err != nil {
			return err
		}
		if text != nil {
			word(string(text))
		}
	}
	_, err := d.in.ReadToken()
	return err
}

func (d *document) nameTrace(f *fault, id string) {
	if at, ok := d.index[id]; ok && at >= 0 {
		f.name(at)
	} else {
		f.strangers++
	}
}

// nameJavaTraces takes the words for one id if one input has it: an id may hold what else separates ids.
func (d *document) nameJavaTraces(f *fault, text string) {
	words := javaMember(text, "objectWriteTraceId")
	if words == "" {
		return
	}
	if _, one := d.index[words]; one {
		d.nameTrace(f, words)
		return
	}
	for id := range strings.SplitSeq(words, ", ") {
		d.nameTrace(f, id)
	}
}

// javaMember finds what "{name=[…], …}" or "{name=…}" says of a name.
func javaMember(text, name string) string {
	for _, before := range []string{"{", " "} {
		_, rest, ok := strings.Cut(text, before+name+"=")
		if !ok {
			continue
		}
		if list, ok := strings.CutPrefix(rest, "["); ok {
			words, _, _ := strings.Cut(list, "]")
			return words
		}
		return rest[:strings.IndexAny(rest+"}", ",}")]
	}
	return ""
}
