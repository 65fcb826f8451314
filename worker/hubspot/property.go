package hubspot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"crmintake/worker"
)

// Property is what the account says of a property of an object type.
type Property struct {
	Name           string
	Type           string // string, number, enumeration…
	FieldType      string // what people fill it in with: text, phonenumber, date…
	HasUniqueValue bool   // no two records have one value
	ReadOnly       bool   // its value can't be given: it is calculated, or the CRM's own
	Archived       bool
}

// RecordID is a property that each object type has, and nobody can give.
const RecordID = "hs_object_id"

// Rewritten describes the other form in which the CRM keeps a property's values than they were sent in, "" if none
// is known. By such a value a record may not be found again.
func (p Property) Rewritten(objectType string) string {
	switch isContact := isCode(objectType, "contacts", "contact", "0-1"); {
	case p.Type == "number":
		return "a number, which the CRM keeps without leading zeros and in a form of its own"
	case p.Type == "date", p.Type == "datetime":
		return "a " + p.Type + ", which the CRM keeps in a form of its own"
	case p.Type == "phone_number", p.FieldType == "phonenumber":
		return "a phone number, which the CRM formats"
	case isContact && isCode(p.Name, "email", "hs_additional_emails"):
		return "an email, which the CRM keeps in small letters, and a contact may have several"
	case isCode(p.Name, "domain", "hs_additional_domains"):
		return "a domain, which the CRM cuts down from an address and keeps in small letters"
	}
	return ""
}

// Property reads what the account says of a property. It changes nothing, and takes one call of the quota. It knows the
// property only if the class is Answered. With PauseObjectType the cause says more: MissingScope, the credential is
// good and may not read this; NotFound, there is no such object type or no such property.
//
// The path and the members are those of HubSpot's published description of its properties API (GET
// /crm/properties/{version}/{objectType}/{propertyName}).
func (c *Client) Property(ctx context.Context, objectType, name string) (Property, worker.Class, worker.Call) {
	if !pathSafe(objectType) || !pathSafe(name) {
		return Property{}, worker.PauseObjectType,
			unsent(oneLine(fmt.Sprintf("%q of %q is not a property; nothing was sent", name, objectType)))
	}
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.request = w.request[:0]
	w.traces.assign(nil)
	w.doc.reset(nil, nil)
	class, call := c.send(ctx, w, http.MethodGet, "/crm/properties/"+c.cfg.Version+"/"+objectType+"/"+name)
	if class != worker.Answered {
		return Property{}, class, call
	}
	var answer struct {
		Name, Type, FieldType                string
		Archived, Calculated, HasUniqueValue bool
		ModificationMetadata                 struct{ ReadOnlyValue bool }
	}
	if err := json.Unmarshal(w.doc.body, &answer); err != nil || answer.Name != name {
		call = inconclusive(call, w.doc.body)
		call.Detail = oneLine(fmt.Sprintf("%d that does not describe the property %s", call.Status, name))
		return Property{}, worker.Ambiguous, call
	}
	return Property{
		Name: answer.Name, Type: answer.Type, FieldType: answer.FieldType,
		HasUniqueValue: answer.HasUniqueValue, Archived: answer.Archived,
		ReadOnly: answer.Calculated || answer.ModificationMetadata.ReadOnlyValue,
	}, class, call
}
