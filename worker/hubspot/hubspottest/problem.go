package hubspottest

import (
	"net/http"
	"strconv"
	"strings"
)

// problem is why an input, or a whole request, is refused.
type problem struct {
	status   int
	category string
	message  string
	existing int64  // of a conflict: the record that has the value, 0 if that is not told
	property string // of a conflict: the unique property
}

func invalid(message string) *problem {
	return &problem{status: http.StatusBadRequest, category: "VALIDATION_ERROR", message: message}
}

func conflict(objectType, property string, existing int64) *problem {
	return &problem{
		status: http.StatusConflict, category: "CONFLICT", message: noun(objectType) + " already exists.",
		existing: existing, property: property,
	}
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
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return "Object"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// check looks at an input's properties one by one, without the records that exist. It also finds out which of them are
// declared.
func (t *table) check(props []prop) *problem {
	var faults []string
	required := 0
	for i := range props {
		p := &props[i]
		name := unquote(p.name)
		p.declared = t.declared[string(name)]
		switch {
		case p.declared == nil && !t.open:
			faults = append(faults, fault(string(name), "Property "+strconv.Quote(string(name))+" does not exist", "PROPERTY_DOESNT_EXIST"))
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
	return `{"isValid":false,"message":` + string(quote(message)) + `,"error":"` + code + `","name":` + string(quote(name)) + `}`
}

// standing are the answers that a fault can put in place of the API's own, by status. What is not here comes from the
// edge, as HTML.
var standing = map[int]problem{
	400: {category: "VALIDATION_ERROR", message: "Invalid input JSON"},
	401: {category: "EXPIRED_AUTHENTICATION", message: "The OAuth token used to make this call expired."},
	403: {category: "MISSING_SCOPES", message: "This app hasn't been granted all required scopes to make this call."},
	404: {category: "OBJECT_NOT_FOUND", message: "Unable to infer object type"},
	405: {message: "HTTP 405 Method Not Allowed"},
	409: {category: "CONFLICT", message: "Object already exists."},
	413: {message: "The request is too large"},
	415: {message: "HTTP 415 Unsupported Media Type"},
	423: {message: "The resource is locked by another operation"},
	477: {message: "This account is being migrated to another data center"},
	500: {message: "internal error"},
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
	if p.category == "MISSING_SCOPES" {
		b = append(b, `,"errors":[{"message":"Some scopes are missing.",`...)
		b = append(b, `"context":{"requiredGranularScopes":["crm.objects.custom.write"]}}]`...)
	}
	return append(b, '}')
}

func throttled(b []byte, policy, correlationID string) []byte {
	b = append(b, `{"status":"error","message":"You have reached your `...)
	b = append(b, limitWords[policy]...)
	b = append(b, ` limit.","errorType":"RATE_LIMIT","correlationId":"`...)
	b = append(b, correlationID...)
	b = append(b, `","policyName":"`...)
	return append(append(b, policy...), `"}`...)
}

const page = "<!DOCTYPE html>\n<html><head><title>api.hubapi.com</title></head><body><h1>The page can't be shown</h1></body></html>\n"
