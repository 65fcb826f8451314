package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type outboxGiveUpCmd struct {
	flags.Database
	undecidedFlags
	Reason string `help:"Why: it becomes each event's error, before what that was." required:"" placeholder:"TEXT"`
}

func (outboxGiveUpCmd) Help() string {
	return "It is for events that nobody is going to send or ask about, because a pause lasts, or that you want " +
		"to edit first. They become dead letters: exhausted, or unknown_outcome where a record may exist. " +
		"'crmintake dead' edits, replays or discards them from there, and what may have a record is asked about " +
		"before it is sent.\n\n" +
		"It first says which events it is about, and asks. What is in a call right now is left alone, and so is what " +
		"changes after that; both are counted. Without it, events become dead letters when they are as old as the " +
		"workers' --retry-age, in a pause, too."
}

// giveUpView is what it prints for programs.
type giveUpView struct {
	Plan   operator.GiveUpPlan `json:"plan"`
	DryRun bool                `json:"dry_run,omitempty"`
	Result *operator.Result    `json:"result,omitempty"` // nil if nothing was done
}

func (c *outboxGiveUpCmd) Run(ctx context.Context, p *program) error {
	if strings.TrimSpace(c.Reason) == "" {
		return operatorError(operator.ErrNoReason)
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	plan, err := d.Waiting.PlanGiveUp(ctx, c.undecided())
	if err != nil {
		return undecidedError(err)
	}
	text := p.text()
	for i := range plan.List {
		p.redact(&plan.List[i].Error)
	}
	printGiveUpPlan(text, plan)
	v := giveUpView{Plan: plan, DryRun: c.DryRun}
	if plan.TotalEvents > 0 && !c.DryRun {
		question := fmt.Sprintf("Should crmintake give up on %s?", view.Count(int(plan.TotalEvents), "event"))
		v.Result, err = p.carryOut(ctx, c.Yes, question, func() (operator.Result, error) {
			tell, end := view.Progress(p.err, "give up", plan.TotalEvents)
			defer end()
			return d.Waiting.GiveUp(ctx, plan, c.Reason, tell)
		})
		if err != nil {
			return err
		}
		if v.Result.Done > 0 {
			fmt.Fprintln(text, "They are dead letters now: 'crmintake dead groups' tells what to do about them.")
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}

func printGiveUpPlan(w io.Writer, plan operator.GiveUpPlan) {
	if plan.NotUndecided > 0 {
		fmt.Fprintf(w, "Neither retry nor unknown, or not any more, and so skipped: %s.\n",
			view.Count(int(plan.NotUndecided), "event"))
	}
	if plan.InCall > 0 {
		fmt.Fprintf(w, "In a call right now, and so left alone: %s.\n", view.Count(int(plan.InCall), "event"))
	}
	if plan.TotalEvents == 0 {
		fmt.Fprintln(w, "No events in retry or unknown to do this to.")
		return
	}
	fmt.Fprintf(w, "%s:\n", view.Count(int(plan.TotalEvents), "event"))
	for _, g := range plan.List {
		fmt.Fprintf(w, "  %s  %s %s, to be dead as %s; the oldest for %s, for example %s: %s\n",
			view.Count(int(g.Events), "event"), view.Printable(g.ObjectType), g.Status, g.Becomes,
			view.Short(plan.Filter.AsOf.Sub(g.Oldest)), view.Printable(g.Example), view.Shorten(view.Printable(g.Error), 80))
	}
	if more := plan.TotalGroups - int64(len(plan.List)); more > 0 {
		fmt.Fprintf(w, "  and %d more such lines\n", more)
	}
}
