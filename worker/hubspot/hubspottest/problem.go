package hubspottest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// problem is why an input, or a whole request, is refused.
type problem struct {
	status    int
	category  string
	message   string
	existing  int64  // of a conflict: the record that has the value, 0 if that is not told
	property  string // of a conflict: the unique property
	value     string // of a conflict: what it can't have
	code      string // the member error
	errorType string
	tokens    []byte   // the member errorTokens, an object
	ids       [][]byte // of values that have no record, in quotes
	scope     string   // that is missing
	whole     bool     // of an input: the whole call is refused for it
}

func invalid(message string) *problem {
	return &problem{status: http.StatusBadRequest, category: "VALIDATION_ERROR", message: message}
}

// unknownType is what an object type is answered that the account does not know.
func unknownType(objectType string) *problem {
	return &problem{message: "Unable to infer object type from: " + objectType}
}

// text is the whole message.
func (p problem) text() string {
	if p.existing == 0 {
		return p.message
	}
	return p.message + " Existing ID: " + strconv.FormatInt(p.existing, 10)
}

// noun is what messages call an object of this type.
func noun(objectType string) string {
	name := strings.TrimSuffix(objectType, "s")
	if stem, ok := strings.CutSuffix(objectType, "ies"); ok {
		name = stem + "y"
	}
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return "Object"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// check looks at an input's properties one by one, without the records that exist. It also finds out which of them are
// declared, and puts values into the form in which they are kept.
func (t *table) check(props []prop) *problem {
	var faults []string
	required := 0
	for i := range props {
		p := &props[i]
		name := unquote(p.name)
		p.declared = t.declared[string(name)]
		if p.declared != nil && p.declared.sensitive {
			return forbidden
		}
		p.value = kept(p.declared, name, p.value)
		switch {
		case p.declared == nil && !t.open:
			faults = append(faults, fault(string(name),
				"Property "+strconv.Quote(string(name))+" does not exist", "PROPERTY_DOESNT_EXIST"))
		case tooLong(p.value):
			faults = append(faults, fault(string(name), "Property values are at most 65536 characters long", "INVALID_LENGTH"))
		case p.declared != nil && p.declared.required && len(p.value) > len(`""`):
			required++
		}
	}
	if required < len(t.required) {
		for _, name := range t.required {
			if !has(props, name) {
				faults = append(faults, fault(name, "Property "+strconv.Quote(name)+" is required", "REQUIRED_FIELD"))
			}
		}
	}
	if faults == nil {
		return nil
	}
	return invalid("Property values were not valid: [" + strings.Join(faults, ",") + "]")
}

func has(props []prop, name string) bool {
	for _, p := range props {
		if p.declared != nil && p.declared.name == name && len(p.value) > len(`""`) {
			return true
		}
	}
	return false
}

// fault is one element of the JSON that hides in a message.
func fault(name, message, code string) string {
	return `{"isValid":false,"message":` + string(quote(message)) +
		`,"error":"` + code + `","name":` + string(quote(name)) + `}`
}

// standing are the answers that a fault can put in place of the API's own, by status. What is not here comes from the
// edge, as HTML.
var standing = map[int]problem{
	400: {category: "VALIDATION_ERROR", message: "Invalid input JSON"},
	401: {category: "EXPIRED_AUTHENTICATION", message: "The OAuth token used to make this call expired."},
	403: {category: "MISSING_SCOPES", message: missingScopes, scope: "crm.objects.custom.write"},
	404: {category: "OBJECT_NOT_FOUND", message: "Object not found."},
	405: {message: "HTTP 405 Method Not Allowed"},
	409: {category: "CONFLICT", message: "Object already exists."},
	413: {message: "The request is too large"},
	415: {message: "HTTP 415 Unsupported Media Type"},
	423: {message: "The resource is locked by another operation"},
	477: {message: "This account is being migrated to another data center"},
	500: {message: "internal error"},
}

const missingScopes = "This app hasn't been granted all required scopes to make this call."

// forbidden is the problem of an input that sets a sensitive property.
var forbidden = &problem{
	status: http.StatusForbidden, category: "MISSING_SCOPES", message: missingScopes,
	scope: "crm.objects.custom.sensitive.write.v2", whole: true,
}

// limitWords are how the message of a 429 calls each policy.
var limitWords = map[string]string{
	policyRolling:  "ten_secondly_rolling",
	policySecondly: "secondly",
	policyDaily:    "daily",
}

// body makes an Error object.
func (p problem) body(b []byte, correlationID string) []byte {
	b = append(b, `{"status":"error","message":`...)
	b = append(b, quote(p.text())...)
	b = append(b, `,"correlationId":"`...)
	b = append(append(b, correlationID...), '"')
	if p.category != "" {
		b = append(append(append(b, `,"category":"`...), p.category...), '"')
	}
	b = p.types(b)
	if p.ids != nil {
		b = append(append(append(b, `,"context":{"ids":[`...), bytes.Join(p.ids, []byte(","))...), `]}`...)
	}
	if p.scope != "" {
		b = append(b, `,"errors":[{"message":"One or more of the following scopes are required.",`...)
		b = append(b, `"context":{"requiredGranularScopes":["`...)
		b = append(append(b, p.scope...), `"]}}]`...)
	}
	return append(b, '}')
}

// types adds the members that some errors have beside their category.
func (p problem) types(b []byte) []byte {
	if p.code != "" {
		b = append(append(append(b, `,"error":"`...), p.code...), '"')
	}
	if p.errorType != "" {
		b = append(append(append(b, `,"errorType":"`...), p.errorType...), '"')
		b = append(append(b, `,"errorTokens":`...), p.tokens...)
	}
	return b
}

func throttled(b []byte, policy, correlationID string) []byte {
	b = append(b, `{"status":"error","message":"You have reached your `...)
	b = append(b, limitWords[policy]...)
	b = append(b, ` limit.","errorType":"RATE_LIMIT","correlationId":"`...)
	b = append(b, correlationID...)
	b = append(b, `","policyName":"`...)
	return append(append(b, policy...), `"}`...)
}

const page = "<!DOCTYPE html>\n<html><head><title>api.hubapi.com</title></head>" +
	"<body><h1>The page can't be shown</h1></body></html>\n"
