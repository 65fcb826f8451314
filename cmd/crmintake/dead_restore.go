package main

import (
	"context"
	"errors"
	"fmt"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type deadRestoreCmd struct {
	flags.Database
	EventIDs []string `arg:"" optional:"" name:"event-id" help:"These events."`
	Discard  int64    `env:"-" help:"All that this discard was done to: its number, as audit tells it." placeholder:"NUMBER"`
	asFlag
	Yes    bool   `env:"-" help:"Don't ask; for scripts."`
	DryRun bool   `help:"Only say what would be done."`
	Reason string `help:"Why, for whoever asks later." placeholder:"TEXT"`
}

func (deadRestoreCmd) Help() string {
	return "Takes a discard back: the events are dead again for what they were, and can be edited, replayed or " +
		"discarded. " +
		"It first says how many they are, and asks."
}

// restoreView is what it prints for programs.
type restoreView struct {
	Plan   operator.RestorePlan `json:"plan"`
	DryRun bool                 `json:"dry_run,omitempty"`
	Result *operator.Result     `json:"result,omitempty"` // nil if nothing was done
}

func (c *deadRestoreCmd) Run(ctx context.Context, p *program) error {
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	plan, err := d.DeadLetters.PlanRestore(ctx, operator.Discarded{EventIDs: c.EventIDs, Action: c.Discard})
	if errors.Is(err, operator.ErrNoChoice) {
		return flags.Usagef("name the events to restore, or say with --discard which one to take back; nothing was changed")
	}
	if err != nil {
		return operatorError(err)
	}
	text := p.text()
	if plan.NotSo > 0 {
		fmt.Fprintf(text, "Not discarded, or not any more, and so skipped: %s.\n", view.Count(int(plan.NotSo), "event"))
	}
	v := restoreView{Plan: plan, DryRun: c.DryRun}
	what := view.Count(int(plan.TotalEvents), "event")
	switch {
	case plan.TotalEvents == 0:
		fmt.Fprintln(text, "No discarded events to do this to.")
	case c.DryRun:
		fmt.Fprintf(text, "%s to restore, for example %s.\n", what, view.Printable(plan.Example))
	default:
		v.Result, err = p.carryOut(ctx, c.Yes, "Should crmintake restore "+what+"?", func() (operator.Result, error) {
			return d.DeadLetters.Restore(ctx, plan, c.Reason)
		})
		if err != nil {
			return err
		}
		if v.Result.Done > 0 {
			fmt.Fprintln(text, "They are dead letters again: 'crmintake dead groups' tells what to do about them.")
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}
