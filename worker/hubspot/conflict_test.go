package hubspot

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"crmintake/worker"

	"github.com/google/go-cmp/cmp"
)

// coordinatesMessage is how the API says that record 999 can't have a property's value, which existing has.
func coordinatesMessage(property, value, existing string) string {
	return fmt.Sprintf("Cannot set PropertyValueCoordinates{portalId=1, "+
		"objectTypeId=ObjectTypeId{legacyObjectType=PRODUCT}, propertyName=%s, value=%s} on 999. %s already has that value.",
		property, value, existing)
}

// Forms of a unique value that is taken, and what only looks like one: as a whole answer to a lone input, and as an
// error that names one of three in a 207 and in a refusal.
func TestConflict(t *testing.T) {
	text := func(s string) string {
		b, _ := json.Marshal(s)
		return string(b)
	}
	validation := func(message string) string { return `"category":"VALIDATION_ERROR","message":` + text(message) }
	hidden := func(details string) string { return validation("Property values were not valid: [" + details + "]") }
	within := coordinatesMessage("other", "v", "7")
	const none = "rejected"
	for name, c := range map[string]struct {
		status  int
		members string
		want    string
		about   detail
	}{
		"CONFLICT": {409, `"category":"CONFLICT","message":"Contact already exists. Existing ID: 171"`, "rejected!171",
			detail{}},
		"CONFLICT as a 400": {400, `"category":"CONFLICT","message":"Contact already exists. Existing ID: 171"`,
			"rejected!171", detail{}},
		"coordinates": {400, validation(coordinatesMessage("hs_sku", "v", "12")), "rejected!12",
			detail{"hs_sku", conflictCode}},
		"coordinates, no dot": {400, validation(strings.TrimSuffix(coordinatesMessage("hs_sku", "v", "12"), ".")),
			"rejected!12", detail{"hs_sku", conflictCode}},
		"coordinates in a value": {400, validation(coordinatesMessage("hs_sku", within, "12")), "rejected!12",
			detail{"hs_sku", conflictCode}},
		"coordinates, and a code": {400, validation(coordinatesMessage("hs_sku", "v", "12")) + `,"code":"TAKEN"`,
			"rejected!12", detail{"hs_sku", "TAKEN"}},
		"coordinates and JSON in a value": {400, validation(coordinatesMessage("hs_sku",
			`[{"error":"INVALID_OPTION","name":"stage"}]`, "12")),
			"rejected!12", detail{"hs_sku", conflictCode}},
		"coordinates, a long value": {400, validation(coordinatesMessage("hs_sku", strings.Repeat("x", 2*maxMessage), "12")),
			"rejected!12", detail{"hs_sku", conflictCode}},
		"coordinates, no holder's id": {400, validation(coordinatesMessage("hs_sku", "v", "Another record")), "rejected!",
			detail{"hs_sku", conflictCode}},
		"coordinates in the JSON": {400, hidden(`{"isValid":false,"error":"INVALID_OPTION","name":"a"},{"isValid":false,` +
			`"message":` +
			text(coordinatesMessage("hs_sku", "v", "12")) + `,"name":"hs_sku"}`), "rejected!12", detail{"hs_sku", conflictCode}},
		"other words": {400, validation("propertyValue: already has that value hs_external_order_id"), "rejected!",
			detail{}},
		"words of an old form": {400, validation("Contact already exists. Existing ID: 5"), "rejected!5", detail{}},
		"OBJECT_ALREADY_EXISTS": {409, `"category":"OBJECT_ALREADY_EXISTS","error":"CONTACT_EXISTS","message":"Contact ` +
			`already exists. Existing ID: 5"`, "rejected!5", detail{"", "CONTACT_EXISTS"}},
		"an error's word only": {400, `"category":"VALIDATION_ERROR","error":"ACCOUNT_EXISTS"`, "rejected!",
			detail{"", "ACCOUNT_EXISTS"}},
		"errorType": {400, `"category":"VALIDATION_ERROR","errorType":"UNIQUE_VALUE_CONFLICT"`, "rejected!", detail{}},
		"code": {400, `"category":"VALIDATION_ERROR","code":"DUPLICATE_UNIQUE_VALUE","context":{"propertyName":["p"]}`,
			"rejected!", detail{"p", "DUPLICATE_UNIQUE_VALUE"}},
		"sub-category": {400, `"category":"VALIDATION_ERROR","subCategory":"crm.CONTACT_ALREADY_EXISTS"`, "rejected!",
			detail{"", "crm.CONTACT_ALREADY_EXISTS"}},
		"the JSON's code": {400, hidden(`{"isValid":false,"message":"b","error":"INVALID_OPTION","name":"a"},` +
			`{"isValid":false,"message":"Contact already exists. Existing ID: 5",` +
			`"error":"CONFLICTING_UNIQUE_VALUE","name":"p"}`),
			"rejected!5", detail{"p", conflictCode}},
		"the JSON names two": {400, hidden(`{"error":"CONFLICTING_UNIQUE_VALUE","message":"Existing ID: 5","name":"p"},` +
			`{"error":"CONFLICTING_UNIQUE_VALUE","message":"Existing ID: 6","name":"q"}`),
			"rejected!", detail{"p", conflictCode}},
		"an error within": {400, `"category":"VALIDATION_ERROR","errors":[{"message":` +
			text(coordinatesMessage("hs_sku", "v", "12")) + `}]`, "rejected!12", detail{"hs_sku", conflictCode}},
		"a context is more exact": {400, validation(coordinatesMessage("hs_sku", "v", "12")) +
			`,"context":{"existingId":["13"],"objectWriteTraceId":["tb"]}`, "rejected!13", detail{"hs_sku", conflictCode}},
		"coordinates, another reason": {400, validation("Cannot set PropertyValueCoordinates{portalId=1, propertyName=p, " +
			"value=it already has that value} on 9. It is locked."),
			none, detail{"p", ""}},
		"a missing property": {400, hidden(`{"isValid":false,"message":"Property \"p\" does not exist",` +
			`"error":"PROPERTY_DOESNT_EXIST","name":"p"}`), none, detail{"p", "PROPERTY_DOESNT_EXIST"}},
		"a missing record": {400, `"category":"OBJECT_NOT_FOUND","message":"the object does not exist"`, none, detail{}},
		"a code of what is missing": {400, `"category":"VALIDATION_ERROR","code":"OPTION_DOES_NOT_EXISTS"`, none,
			detail{"", "OPTION_DOES_NOT_EXISTS"}},
		"an invalid value": {400, hidden(`{"isValid":false,"message":"Existing ID: 5 was not one of the allowed options",` +
			`"error":"INVALID_OPTION","name":"p"}`),
			none, detail{"p", "INVALID_OPTION"}},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(form string, o worker.Outcome) {
				t.Helper()
				got := detail{o.Errors[0].Property, o.Errors[0].Rule}
				if diff := cmp.Diff(c.about, got, cmp.AllowUnexported(detail{})); words([]worker.Outcome{o}) != c.want ||
					diff != "" {
					t.Errorf("%s: %s, want %s; about (-want +got)\n%s", form, words([]worker.Outcome{o}), c.want, diff)
				}
			}
			whole := client(t, fixed(c.status, nil, `{"status":"error",`+c.members+`}`)).Create(t.Context(), "contacts",
				three()[:1])
			check("whole", whole.Outcomes[0])
			checkLaws(t, whole, 1)
			named := `{"status":"error","objectWriteTraceId":"tb",` + c.members + `}`
			for status, body := range map[int]string{207: complete(`"results":[],"errors":[` + named + `]`), 400: named} {
				a := client(t, fixed(status, nil, body)).Create(t.Context(), "contacts", three())
				check(fmt.Sprint(status), a.Outcomes[1])
				if words(a.Outcomes[:1]) == c.want || a.Outcomes[0].Conflict || a.Outcomes[2].Conflict {
					t.Errorf("%d: %s", status, words(a.Outcomes))
				}
				checkLaws(t, a, 3)
			}
		})
	}
}
