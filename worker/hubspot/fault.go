package hubspot

import (
	"bytes"
	"cmp"
	"iter"
	"regexp"
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
	conflict          bool     // a unique value is taken
	existing, inWords []string // ids of records that have it, the first two: by contexts, and by messages
	absent            []absent // of a read: what was not found
	scopes            []string // that the credential lacks

	// What tells about a property: words or JSON in the message that say that its value is taken, what else is there,
	// members beside it, errors within.
	taken, inMessage, beside, within detail
	subCategory                      string // if it is one word
}

// absent is what one context says was not found, if its error is an OBJECT_NOT_FOUND.
type absent struct {
	category string   // of an error within; "" if it is that of the error around it
	ids      []string // as an array or one string
	java     string   // as Java's words, which are ambiguous where an id has a comma or a bracket
}

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
		default:
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
		f.absorb(&within[i])
	}
	return err
}

// absorb takes over what an error within tells: what it names, this one names; the words are this one's.
func (f *fault) absorb(e *fault) {
	for _, at := range e.named {
		f.name(at)
	}
	f.strangers += e.strangers
	for _, id := range e.existing {
		two(&f.existing, id)
	}
	for _, id := range e.inWords {
		two(&f.inWords, id)
	}
	for _, a := range e.absent {
		a.category = cmp.Or(a.category, e.category)
		f.absent = append(f.absent, a)
	}
	f.scopes = append(f.scopes, e.scopes...)
	d := e.apart()
	if e.conflict && d.property != "" {
		f.taken = f.taken.or(d)
	}
	f.conflict, f.within = f.conflict || e.conflict, f.within.or(d)
}

func (f *fault) name(at int) {
	if !slices.Contains(f.named, at) {
		f.named = append(f.named, at)
	}
}

// two keeps the first two of what is different.
func two(ids *[]string, id string) {
	if len(*ids) < 2 && !slices.Contains(*ids, id) {
		*ids = append(*ids, id)
	}
}

// maxMessage is how much is kept of an error's message; Raw has more.
const maxMessage = 16 << 10

// readFaultMember reads the value of a member of an error object, whichever it is.
func (d *document) readFaultMember(f *fault, name []byte) (err error) {
	switch string(name) {
	case "category":
		f.category, err = d.readText()
		f.conflict = f.conflict || isConflict(f.category)
	case "errorType": // what a 429 has in place of a category
		var text string
		if text, err = d.readText(); f.category == "" {
			f.category = text
		}
		f.conflict = f.conflict || isConflict(text)
	case "message":
		var text []byte
		text, _, err = d.scalar()
		f.message = string(text[:min(len(text), maxMessage)])
		f.readMessage(string(text))
	case "code":
		var text []byte
		text, _, err = d.scalar()
		f.beside.rule = clipped(string(text))
		f.conflict = f.conflict || isConflict(f.beside.rule)
	case "error": // as CONTACT_EXISTS
		var text string
		if text, err = d.readText(); isConflict(text) {
			f.conflict = true
			f.beside = f.beside.or(detail{rule: clipped(text)})
		}
	case "subCategory":
		var raw []byte
		raw, err = d.value()
		f.subCategory = propertyIn(raw)
		f.conflict = f.conflict || mentionsConflict(string(raw)) || isConflict(f.subCategory)
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
		f.conflict = f.conflict || mentionsConflict(text)
		d.nameJavaTraces(f, text)
		for id := range javaList(text, "existingId") {
			two(&f.existing, id)
		}
		if ids := javaMember(text, "ids"); ids != "" {
			f.absent = append(f.absent, absent{java: ids})
		}
		for _, name := range scopeMembers {
			for scope := range javaList(text, name) {
				f.lacks(scope)
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
			err = d.readWords(func(id string) { two(&f.existing, id) })
		case isCode(key, "ids"):
			var a absent
			err = d.readWords(func(id string) { a.ids = append(a.ids, id) })
			f.absent = append(f.absent, a)
		case isCode(key, scopeMembers...):
			err = d.readWords(f.lacks)
		default:
			var raw []byte
			raw, err = d.value()
			f.conflict = f.conflict || mentionsConflict(string(raw))
			if isCode(key, "propertyName", "property", "properties", "invalidPropertyName") {
				f.beside.property = propertyIn(raw)
			}
		}
		if err != nil {
			return err
		}
	}
}

// scopeMembers are the contexts' names for the scopes that a credential lacks.
var scopeMembers = []string{"requiredGranularScopes", "missingScopes", "requiredScopes"}

// scopeName is what a scope looks like: it is logged, and so must not be just anything.
var scopeName = regexp.MustCompile(`^[a-z0-9._-]{1,80}$`)

func (f *fault) lacks(scope string) {
	if scopeName.MatchString(scope) && !slices.Contains(f.scopes, scope) {
		f.scopes = append(f.scopes, scope)
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

// javaList iterates over what "{name=[a, b], …}" says of a name.
func javaList(text, name string) iter.Seq[string] {
	words := javaMember(text, name)
	if words == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(words, ", ")
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
