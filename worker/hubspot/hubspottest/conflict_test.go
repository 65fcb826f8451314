package hubspottest_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

// form is one in which a conflict is told: in a 207 or without trace ids by one fault, and by another where it fails
// the whole batch.
type form struct {
	told, wholly        hubspottest.Fault
	status              int    // of the whole answer
	category            string // likewise; a 207's error always has one
	message             string // with ID for the record that has the value, and NOBODY for the id of none
	existing            bool   // the context of a 207's error has the id
	errorWord, errorTyp string
}

var forms = map[string]form{
	"plain": {hubspottest.None, hubspottest.ConflictWhole, 409, "CONFLICT",
		"Contact already exists. Existing ID: <ID>", true, "", ""},
	"without id": {hubspottest.ConflictWithoutID, hubspottest.ConflictWholeWithoutID, 409, "CONFLICT",
		"Contact already exists.", false, "", ""},
	"as validation": {hubspottest.ConflictAsValidation, hubspottest.ConflictWholeValidation, 400, "VALIDATION_ERROR",
		`Property values were not valid: [{"isValid":false,"message":"Contact already exists. Existing ID: <ID>",` +
			`"error":"CONFLICTING_UNIQUE_VALUE","name":"event_id"}]`, false, "", ""},
	"as coordinates": {hubspottest.ConflictAsCoordinates, hubspottest.ConflictWholeCoordinates, 400, "VALIDATION_ERROR",
		inCoordinates, false, "", ""},
	"as exists": {hubspottest.ConflictAsExists, hubspottest.ConflictWholeExists, 409, "OBJECT_ALREADY_EXISTS",
		"Contact already exists. Existing ID: <ID>", false, "CONTACT_EXISTS", ""},
	"as error type": {hubspottest.ConflictAsErrorType, hubspottest.ConflictWholeErrorType, 400, "",
		inCoordinates, false, "", "UNIQUE_VALUE_CONFLICT"},
}

const inCoordinates = "Cannot set PropertyValueCoordinates{portalId=1, " +
	"objectTypeId=ObjectTypeId{legacyObjectType=CONTACT}, " +
	"propertyName=event_id, value=e1} on <NOBODY>. <ID> already has that value."

// says whether a message is the form's, and names the record and another one.
func (f form) says(message, id string) bool {
	pattern := strings.NewReplacer("<ID>", id, "<NOBODY>", `(\d{12})`).Replace(regexp.QuoteMeta(f.message))
	m := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(message)
	return m != nil && (len(m) == 1 || m[1] != id)
}

// refuses checks the answer to a batch that is refused for a record's value.
func (f form) refuses(t *testing.T, a answer, id string) {
	t.Helper()
	if a.status != f.status || a.Category != f.category || !f.says(a.Message, id) ||
		a.Error != f.errorWord || a.ErrorType != f.errorTyp || len(a.Errors) > 0 {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
	var tokens struct{ ErrorTokens map[string][]string }
	if err := json.Unmarshal(a.raw, &tokens); err != nil || (f.errorTyp != "") != (tokens.ErrorTokens != nil) {
		t.Fatalf("%v, answered %s", err, a.raw)
	}
	if f.errorTyp != "" {
		got := tokens.ErrorTokens
		delete(got, "objectId")
		want := map[string][]string{
			"portalId": {"1"}, "objectTypeId": {"0-1"}, "propertyName": {"event_id"}, "conflictingValue": {"e1"},
			"existingObjectId": {id},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("errorTokens -want +got:\n%s", diff)
		}
	}
}

func TestConflicts(t *testing.T) {
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			s := start(t, hubspottest.Config{})
			id, err := s.Add("contacts", map[string]string{"event_id": "e1"}, now)
			if err != nil {
				t.Fatal(err)
			}
			s.Script(f.told, f.told)
			a := post(t, s, "contacts/batch/create", batch(many(3)...))
			if a.status != 207 || len(a.Results) != 2 || len(a.Errors) != 1 {
				t.Fatalf("answered %d %s", a.status, a.raw)
			}
			names("t1")(t, a)
			e, category := a.Errors[0], f.category
			if category == "" {
				category = "VALIDATION_ERROR"
			}
			if e.Category != category || !f.says(e.Message, id) || e.Error != f.errorWord || e.ErrorType != f.errorTyp {
				t.Errorf("error %s", a.raw)
			}
			if got := strings.Contains(string(e.Context), `"existingId":["`+id+`"]`); got != f.existing {
				t.Errorf("context %s", e.Context)
			}
			f.refuses(t, post(t, s, "contacts/batch/create", untraced(`"name":"a"`, `"event_id":"e1"`)), id)
			if n := s.Len("contacts"); n != 3 {
				t.Errorf("%d records, want 3", n)
			}
		})
	}
}

// TestConflictWhole: one conflict fails the batch, whatever else is wrong, and nothing is written or claimed. Other
// problems don't.
func TestConflictWhole(t *testing.T) {
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			s := start(t, hubspottest.Config{})
			id, err := s.Add("contacts", map[string]string{"event_id": "e1"}, now)
			if err != nil {
				t.Fatal(err)
			}
			s.Script(f.wholly, f.wholly, f.wholly)
			f.refuses(t, post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`, `"colour":"x"`, `"event_id":"e1"`)), id)
			if n := s.Len("contacts"); n != 1 {
				t.Errorf("%d records, want 1", n)
			}
			// Of two that conflict with each other, no record is named that exists.
			a := post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`, `"event_id":"e0"`))
			if a.status != f.status || strings.Contains(a.Message, id) || s.Len("contacts") != 1 {
				t.Errorf("two of one value are answered %d %s", a.status, a.raw)
			}
			a = post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`, `"colour":"x"`))
			if a.status != 207 || len(a.Results) != 1 || len(a.Errors) != 1 {
				t.Errorf("without a conflict, answered %d %s", a.status, a.raw)
			}
		})
	}
}

// TestCoordinates: how messages call an object type.
func TestCoordinates(t *testing.T) {
	types := map[string]string{
		"companies": "ObjectTypeId{legacyObjectType=COMPANY}", "0-3": "0-3", "2-123456": "2-123456", "p1_pets": "2-1",
	}
	cfg := hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{}}
	for name := range types {
		cfg.ObjectTypes[name] = hubspottest.ObjectType{Unique: []string{"key"}}
	}
	s := start(t, cfg)
	for name, want := range types {
		s.Script(hubspottest.ConflictAsCoordinates)
		a := post(t, s, name+"/batch/create", batch(`"key":"a"`, `"key":"a"`))
		if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, "objectTypeId="+want+",") {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
}

// TestConflictWithin: of two inputs with one unique value the first wins, and the second names its record.
func TestConflictWithin(t *testing.T) {
	s := start(t, hubspottest.Config{})
	a := post(t, s, "contacts/batch/create", batch(`"email":"A@x.y"`, `"email":"a@X.y"`, `"email":""`, `"email":""`))
	if a.status != 207 || len(a.Results) != 3 {
		t.Fatalf("answered %d %s", a.status, a.raw)
	}
	names("t1")(t, a)
	for _, r := range a.Results {
		if *r.ObjectWriteTraceID == "t0" {
			if *r.Properties["email"] != "a@x.y" || !strings.Contains(a.Errors[0].Message, r.ID) {
				t.Errorf("result %v, error %s", *r.Properties["email"], a.Errors[0].Message)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"a@x.y": 1}, s.Count("contacts", "email")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestNoHalfClaims: an input that conflicts in one property has not taken its other unique value.
func TestNoHalfClaims(t *testing.T) {
	s := start(t, hubspottest.Config{})
	post(t, s, "contacts/batch/create", batch(`"email":"a"`))
	post(t, s, "contacts/batch/create", batch(`"event_id":"e","email":"a"`))
	if a := post(t, s, "contacts/batch/create", batch(`"event_id":"e"`)); a.status != 201 {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
}
