package main

import (
	"errors"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// undecidedFlags choose events that wait in retry or unknown.
type undecidedFlags struct {
	EventIDs   []string     `arg:"" optional:"" name:"event-id" help:"Only these events."`
	Status     string       `help:"Only this status: retry or unknown." enum:",retry,unknown" default:"" placeholder:"STATUS"`
	ObjectType string       `help:"Only this object type." placeholder:"TYPE"`
	OlderThan  flags.Moment `help:"Only what came, or was last replayed, so long ago: 24h, or a time." placeholder:"TIME"`
	Category   string       `help:"Only what the CRM refused with this category, such as VALIDATION_ERROR." placeholder:"CATEGORY"`
	Text       string       `help:"Only events with this text in their error (in whichever case) or in themselves." placeholder:"TEXT"`
	asFlag
	All    bool `env:"-" help:"Take every event in retry or unknown: without it, a filter is wanted."`
	Yes    bool `env:"-" help:"Don't ask; for scripts."`
	DryRun bool `help:"Only say what would be done."`
}

// AfterApply implements kong's hook.
func (f undecidedFlags) AfterApply() error { return f.OlderThan.Past("--older-than") }

func (f undecidedFlags) undecided() operator.Undecided {
	return operator.Undecided{
		Filter: operator.Filter{
			EventIDs: f.EventIDs, ObjectType: f.ObjectType, Category: f.Category, Text: f.Text, All: f.All,
		},
		Status: outbox.Status(f.Status), Before: time.Time(f.OlderThan),
	}
}

// undecidedError tells what is the fault of what was typed.
func undecidedError(err error) error {
	if errors.Is(err, operator.ErrEverything) {
		return flags.Usagef("this would take every event in retry or unknown: name events or give a filter, or say --all; " +
			"nothing was changed")
	}
	return operatorError(err)
}
