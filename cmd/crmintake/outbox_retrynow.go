package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

type outboxRetryNowCmd struct {
	flags.Database
	undecidedFlags
	Reason string `help:"Why, for whoever asks later." placeholder:"TEXT"`
}

func (outboxRetryNowCmd) Help() string {
	return "Events in retry are sent, and events in unknown asked about, as soon as pauses and the quota let the " +
		"workers, " +
		"and not only when their wait is over: for when the cause is mended. They get no more attempts by it. What is in " +
		"doubt and was not asked about yet is left to its settle time: asked too early, the CRM may say that there is no " +
		"record while the call is at work."
}

// retryNowView is what it prints for programs.
type retryNowView struct {
	Plan   operator.RetryNowPlan `json:"plan"`
	DryRun bool                  `json:"dry_run,omitempty"`
	Result *operator.Result      `json:"result,omitempty"` // nil if nothing was done
}

func (c *outboxRetryNowCmd) Run(ctx context.Context, p *program) error {
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	plan, err := d.Waiting.PlanRetryNow(ctx, c.undecided())
	if err != nil {
		return undecidedError(err)
	}
	text := p.text()
	printRetryNowPlan(text, plan)
	if err := c.tellPauses(ctx, d, text); err != nil {
		return err
	}
	v := retryNowView{Plan: plan, DryRun: c.DryRun}
	if plan.TotalEvents > 0 && !c.DryRun {
		asked := c.Yes || !c.All && len(c.EventIDs) > 0 // who names the events need not say it again
		question := fmt.Sprintf("Should crmintake have %s tried at once?", view.Count(int(plan.TotalEvents), "event"))
		v.Result, err = p.carryOut(ctx, asked, question, func() (operator.Result, error) {
			return d.Waiting.RetryNow(ctx, plan, c.Reason)
		})
		if err != nil {
			return err
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}

func printRetryNowPlan(w io.Writer, plan operator.RetryNowPlan) {
	for _, part := range []struct {
		n    int64
		what string
	}{
		{plan.NotUndecided, "Neither retry nor unknown, or not any more, and so skipped"},
		{plan.InCall, "In a call right now, and so left alone"},
		{plan.Due, "Due already: the workers take them as soon as pauses and the quota let them"},
		{plan.Asked, "In doubt, and to be asked about in a moment, when their settle time is over"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, "%s: %s.\n", part.what, view.Count(int(part.n), "event"))
		}
	}
	if plan.TotalEvents == 0 {
		fmt.Fprintln(w, "No events that wait to do this to.")
	} else {
		fmt.Fprintf(w, "%s to be tried at once.\n", view.Count(int(plan.TotalEvents), "event"))
	}
}

// tellPauses says what they wait for all the same.
func (c *outboxRetryNowCmd) tellPauses(ctx context.Context, d *session, text io.Writer) error {
	pauses, err := d.store.Pauses.List(ctx)
	if err != nil {
		return err
	}
	pauses = slices.DeleteFunc(pauses, func(one outbox.Pause) bool {
		return c.ObjectType != "" && one.ObjectType != c.ObjectType && one.ObjectType != outbox.Account
	})
	for _, one := range pauses {
		p := pausedName(one.ObjectType)
		fmt.Fprintf(text, "%s is paused, and waits until that ends ('crmintake resume %s'): %s\n",
			view.Capital(view.Printable(p)), resumeArgument(one.ObjectType), view.Shorten(view.Printable(one.Reason), 200))
	}
	return nil
}
