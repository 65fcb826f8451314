package main

import (
	"encoding/json"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// With --redact nothing that is shown holds a property's value. It is done where rows come in to be shown, and not
// where they are written: errors are kept as received, for who may see them. What can hold a value goes as a whole,
// since a value can stand in words in any form; reason, category, rule and property stay, and so do the words that
// persons gave as their reasons.

// redacted stands where a text was.
const redacted = "[redacted]"

func (g globals) redact(text *string) {
	if g.Redact && *text != "" {
		*text = redacted
	}
}

func (g globals) redactRecord(r *outbox.Record) {
	if g.Redact {
		g.redact(&r.Error)
		r.Payload, r.Result, r.Warnings = nil, nil, ""
	}
}

func (g globals) redactGroups(list []operator.Group) {
	for i := range list {
		g.redact(&list[i].Error)
	}
}

func (g globals) redactFilter(f *operator.Filter) { g.redact(&f.Text) }

func (g globals) redactAction(a *operator.Action) {
	if !g.Redact {
		return
	}
	if a.Filter != nil {
		f := *a.Filter
		g.redactFilter(&f)
		a.Filter = &f
	}
	if a.Action == "edit" && a.Detail != nil {
		a.Detail = json.RawMessage(`"` + redacted + `"`) // it has what was set
	}
}

func (g globals) redactStory(s *operator.Story) {
	if !g.Redact {
		return
	}
	g.redactRecord(&s.Record)
	s.Revisions = nil
	for i := range s.Actions {
		g.redactAction(&s.Actions[i])
	}
	for i := range s.Attempts {
		a := &s.Attempts[i]
		g.redact(&a.Detail)
		for k := range a.Errors {
			e := &a.Errors[k]
			g.redact(&e.Message)
			g.redact(&e.Value)
			e.Raw = nil
		}
	}
}
