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

// apiError is one error object: an element of errors, or a whole body.
type apiError struct {
	raw               []byte
	category, message string
	named             []int    // the inputs that it names, by itself or in an error within
	unmatched         int      // names that are no input's
	conflict          bool     // a unique value is taken
	existing, inWords []string // ids of records that have it, the first two: by contexts, and by messages
	absent            []absent // of a read: what was not found
	scopes            []string // that the credential lacks

	// What is there about a property: words or JSON in the message that say that its value is taken, what else is there,
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

// verdict is what an error in a 2xx means for the inputs that it names. A category that is in neither list, or none
// at all, speaks of the input: that is what errors with names are for.
func (e *apiError) verdict() worker.Verdict {
	switch {
	case isCode(e.category, inDoubt...):
		return worker.Unknown
	case isCode(e.category, notTheirs...):
		return worker.NotApplied
	default:
		return worker.Rejected
	}
}

func (d *document) readErrors(list *[]apiError) error {
	if d.in.json.PeekKind() != '[' {
		return d.in.skipNull()
	}
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	for d.in.json.PeekKind() != ']' {
		if len(*list) == maxErrors {
			return errTooMany
		}
		*list = append(*list, apiError{})
		if err := d.readError(&(*list)[len(*list)-1]); err != nil {
			return err
		}
	}
	_, err := d.in.json.ReadToken()
	return err
}

// readError reads one element of errors. One that is no object names nobody.
func (d *document) readError(e *apiError) error {
	if d.in.json.PeekKind() != '{' {
		text, _, err := d.in.scalar()
		e.raw, e.message = bytes.Clone(text), string(text)
		return err
	}
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	start := d.in.json.InputOffset() - 1
	for {
		name, more, err := d.in.member()
		if err != nil {
			return err
		}
		if !more {
			e.raw = d.body[start:d.in.json.InputOffset()]
			return nil
		}
		switch {
		case string(name) != "errors":
			err = d.readErrorMember(e, name)
		default:
			err = d.readErrorsWithin(e)
		}
		if err != nil {
			return err
		}
	}
}

func (d *document) readErrorsWithin(e *apiError) error {
	var within []apiError
	if kind := d.in.json.PeekKind(); kind != '[' {
		_, err := d.in.value()
		return err
	}
	err := d.readErrors(&within)
	for i := range within {
		e.absorb(&within[i])
	}
	return err
}

// absorb takes over what an error within tells: what it names, this one names; the words are this one's.
func (e *apiError) absorb(inner *apiError) {
	for _, at := range inner.named {
		e.name(at)
	}
	e.unmatched += inner.unmatched
	for _, id := range inner.existing {
		two(&e.existing, id)
	}
	for _, id := range inner.inWords {
		two(&e.inWords, id)
	}
	for _, a := range inner.absent {
		a.category = cmp.Or(a.category, inner.category)
		e.absent = append(e.absent, a)
	}
	e.scopes = append(e.scopes, inner.scopes...)
	d := inner.apart()
	if inner.conflict && d.property != "" {
		e.taken = e.taken.or(d)
	}
	e.conflict, e.within = e.conflict || inner.conflict, e.within.or(d)
}

func (e *apiError) name(at int) {
	if !slices.Contains(e.named, at) {
		e.named = append(e.named, at)
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

// readErrorMember reads the value of a member of an error object, whichever it is.
func (d *document) readErrorMember(e *apiError, name []byte) (err error) {
	switch string(name) {
	case "category":
		e.category, err = d.in.readText()
		e.conflict = e.conflict || isConflict(e.category)
	case "errorType": // what a 429 has in place of a category
		var text string
		if text, err = d.in.readText(); e.category == "" {
			e.category = text
		}
		e.conflict = e.conflict || isConflict(text)
	case "message":
		var text []byte
		text, _, err = d.in.scalar()
		e.message = string(text[:min(len(text), maxMessage)])
		e.readMessage(string(text))
	case "code":
		var text []byte
		text, _, err = d.in.scalar()
		e.beside.rule = clipped(string(text))
		e.conflict = e.conflict || isConflict(e.beside.rule)
	case "error": // as CONTACT_EXISTS
		var text string
		if text, err = d.in.readText(); isConflict(text) {
			e.conflict = true
			e.beside = e.beside.or(detail{rule: clipped(text)})
		}
	case "subCategory":
		var raw []byte
		raw, err = d.in.value()
		e.subCategory = propertyIn(raw)
		e.conflict = e.conflict || mentionsConflict(string(raw)) || isConflict(e.subCategory)
	case "context":
		err = d.readContext(e)
	case "objectWriteTraceId":
		err = d.in.readWords(func(id string) { d.nameTrace(e, id) })
	default:
		_, err = d.in.value()
	}
	return err
}

// readContext reads a map of names to arrays, a map of names to scalars, or either in Java's words:
// "{objectWriteTraceId=[a, b], existingId=[1]}".
func (d *document) readContext(e *apiError) error {
	switch d.in.json.PeekKind() {
	case '{':
	case '"':
		text, err := d.in.readText()
		e.conflict = e.conflict || mentionsConflict(text)
		d.nameJavaTraces(e, text)
		for id := range javaList(text, "existingId") {
			two(&e.existing, id)
		}
		if ids := javaMember(text, "ids"); ids != "" {
			e.absent = append(e.absent, absent{java: ids})
		}
		for _, name := range scopeMembers {
			for scope := range javaList(text, name) {
				e.lacks(scope)
			}
		}
		return err
	default:
		_, err := d.in.value()
		return err
	}
	if _, err := d.in.json.ReadToken(); err != nil {
		return err
	}
	for {
		name, more, err := d.in.member()
		if !more || err != nil {
			return err
		}
		switch key := string(name); {
		case isCode(key, "objectWriteTraceId"):
			err = d.in.readWords(func(id string) { d.nameTrace(e, id) })
		case isCode(key, "existingId"):
			err = d.in.readWords(func(id string) { two(&e.existing, id) })
		case isCode(key, "ids"):
			var a absent
			err = d.in.readWords(func(id string) { a.ids = append(a.ids, id) })
			e.absent = append(e.absent, a)
		case isCode(key, scopeMembers...):
			err = d.in.readWords(e.lacks)
		default:
			var raw []byte
			raw, err = d.in.value()
			e.conflict = e.conflict || mentionsConflict(string(raw))
			if isCode(key, "propertyName", "property", "properties", "invalidPropertyName") {
				e.beside.property = propertyIn(raw)
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

func (e *apiError) lacks(scope string) {
	if scopeName.MatchString(scope) && !slices.Contains(e.scopes, scope) {
		e.scopes = append(e.scopes, scope)
	}
}

func (d *document) nameTrace(e *apiError, id string) {
	if at, ok := d.index[id]; ok && at >= 0 {
		e.name(at)
	} else {
		e.unmatched++
	}
}

// nameJavaTraces takes the words for one id if one input has it: an id may hold what else separates ids.
func (d *document) nameJavaTraces(e *apiError, text string) {
	words := javaMember(text, "objectWriteTraceId")
	if words == "" {
		return
	}
	if _, one := d.index[words]; one {
		d.nameTrace(e, words)
		return
	}
	for id := range strings.SplitSeq(words, ", ") {
		d.nameTrace(e, id)
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
