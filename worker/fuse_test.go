package worker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"crmintake/outbox"
)

func TestSortOut(t *testing.T) {
	e := func(category, rule, property string) Outcome {
		return Outcome{Verdict: Rejected, Errors: []APIError{{Message: "a value of the event"}, {Category: category, Rule: rule, Property: property}}}
	}
	dead := func(reason outbox.Reason) outbox.Settlement {
		return outbox.Settlement{Status: outbox.Dead, Reason: reason}
	}
	outcomes := []Outcome{
		{Verdict: Created}, {Verdict: Unknown}, {Verdict: NotApplied}, {Verdict: NotApplied},
		e("VALIDATION_ERROR", "INVALID_OPTION", "stage"), e("VALIDATION_ERROR", "INVALID_OPTION", "stage"), e("VALIDATION_ERROR", "", ""),
		{Verdict: Rejected, Conflict: true}, {Verdict: Rejected, Conflict: true}, {Verdict: Rejected},
	}
	settlements := []outbox.Settlement{
		{Status: outbox.Created}, {Status: outbox.Unknown}, {Status: outbox.Retry}, dead(outbox.Exhausted),
		dead(outbox.Rejected), dead(outbox.Rejected), dead(outbox.Rejected),
		dead(outbox.Conflict), {Status: outbox.Created}, dead(outbox.Rejected), // one conflict was adopted
	}
	others, rejected := sortOut(outcomes, settlements)
	want := map[string]int{"VALIDATION_ERROR INVALID_OPTION stage": 2, "VALIDATION_ERROR": 1, "CONFLICT": 1, "for a reason that has no name": 1}
	if diff := cmp.Diff(want, rejected); diff != "" || others != 2 {
		t.Errorf("%d others; %s", others, diff)
	}
}
