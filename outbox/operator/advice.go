package operator

import (
	"fmt"

	"crmintake/outbox"
)

// Patience says what a person can do about an event that waits in this status; "" if it does not wait.
func Patience(status outbox.Status) string {
	switch status {
	case outbox.Retry:
		return "It is sent again when it is due and no pause is in the way. Who does not want to wait for that makes " +
			"a dead letter of it " +
			"with 'crmintake outbox give-up', to edit, replay or discard it."
	case outbox.Unknown:
		return "The CRM is asked about it when it is due and not everything is paused. Who does not want to wait for " +
			"that makes a dead letter " +
			"of it with 'crmintake outbox give-up'; its record may exist."
	}
	return ""
}

// Advice says in words what a person can do about events that are dead for this. The rules are those of HubSpot's
// property validation; of one that isn't known the error's own words must do.
func Advice(reason outbox.Reason, property, rule string) string {
	named := "the property that the error names"
	if property != "" {
		named = fmt.Sprintf("the property %q", property)
	}
	switch reason {
	case outbox.InvalidEvent:
		return "These can't be sent as they are. Edit them and replay them, or discard them and have them published " +
			"again, mended, under other ids."
	case outbox.IDReused:
		return "Their ids belong to other events. If they are real, replay them as they are: each has an id of its " +
			"own here; else discard them. Have the publisher give each event its own id."
	case outbox.UnknownOutcome:
		return "Their records may exist. Look for them in the CRM: discard the events whose record is there, replay " +
			"the others. An id property spares you this."
	case outbox.Exhausted:
		return "The CRM did not take them for too long, or somebody gave up on them. Once the cause is gone, replay them."
	case outbox.Conflict:
		return "Another record has their unique value. If it is the record that was wanted, discard them; else edit " +
			"the value, and replay them."
	}
	switch rule {
	case "PROPERTY_DOESNT_EXIST":
		return "The CRM does not have " + named + ". If it is misspelled, rename it by an edit; else create it in " +
			"the CRM. Then replay them."
	case "INVALID_OPTION":
		return "The value is none of the options of " + named +
			". Add it to them in the CRM, or set another by an edit. Then replay them."
	case "REQUIRED_FIELD", "REQUIRED_PROPERTY", "MISSING_REQUIRED_PROPERTY":
		return "The CRM wants a value of " + named + ". Set it by an edit, then replay them."
	case "READ_ONLY_VALUE":
		return "The CRM sets " + named + " itself. Unset it by an edit, then replay them."
	case "CONFLICTING_UNIQUE_VALUE":
		return "Another record has the value of " + named +
			". If it is the record that was wanted, discard them; else edit the value, and replay them."
	}
	if property != "" {
		return "The CRM refuses the value of " + named + ". Edit it, or change the property in the CRM, then replay them."
	}
	return "The CRM refuses them, for what the error says. Edit them or change the CRM's settings, then replay them; " +
		"or discard them."
}
