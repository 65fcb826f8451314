package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type outboxDoubtCmd struct {
	flags.Database
	EventIDs   []string          `arg:"" optional:"" name:"event-id" help:"Only these events."`
	Since      flags.Moment      `help:"The moment of the backup, or of the last commit that survived: what was committed later is lost." required:"" placeholder:"TIME"`
	ObjectType string            `help:"Only this object type." placeholder:"TYPE"`
	OlderThan  flags.Moment      `help:"Only what came, or was last replayed, so long ago: 24h, or a time." placeholder:"TIME"`
	Dead       bool              `env:"-" help:"Dead letters, too, that died since then: what workers sent again without asking, before this command, is refused as a conflict with itself."`
	NewUntil   flags.Moment      `help:"From now on have events asked about first, too, that this outbox has no row of, if they were published before then: those that come again because their rows were lost. A time in the future takes what publishers are about to publish again; a past one ends it." placeholder:"TIME"`
	IDProperty map[string]string `name:"id-property" help:"For each object type a property with unique values, by which its records can be found: objectType=property. Where an event has no value for it, the event's id goes there." mapsep:"," placeholder:"TYPE=NAME,…"`
	asFlag
	Yes    bool   `help:"Don't ask; for scripts." env:"-"`
	DryRun bool   `help:"Only say what would be done."`
	Reason string `help:"Why: it becomes each event's error, before what that was." required:"" placeholder:"TEXT"`
}

func (outboxDoubtCmd) Help() string {
	return "A database that lost commits does not know what workers sent after that moment: events that wait in retry " +
		"may have " +
		"records by now, and sent again they would be conflicts, or exist twice. This makes them unknown: the CRM is " +
		"asked about them first, " +
		"by the id property (--id-property, else the one of their last call); without one they are parked for a person, " +
		"or sent again and " +
		"marked, as --on-unknown of 'crmintake run' says.\n\n" +
		"Stop the workers first, and start them after it. It first says which events it is about, and asks. What an open " +
		"call holds is in " +
		"doubt by itself when its lease has run out, and is left alone. If workers ran before it, give --dead, and " +
		"'crmintake dead replay' what that " +
		"names: it asks first, too. The runbook tells what else a restored database wants."
}

// doubtView is what it prints for programs.
type doubtView struct {
	Plan     operator.DoubtPlan `json:"plan"`
	NewUntil time.Time          `json:"new_until,omitzero"` // as it was set now
	DryRun   bool               `json:"dry_run,omitempty"`
	Result   *operator.Result   `json:"result,omitempty"` // nil if nothing was done
}

func (c *outboxDoubtCmd) Run(ctx context.Context, p *program) error {
	if strings.TrimSpace(c.Reason) == "" {
		return operatorError(operator.ErrNoReason)
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	plan, err := d.Waiting.PlanDoubt(ctx, operator.Lost{
		Filter: operator.Filter{EventIDs: c.EventIDs, ObjectType: c.ObjectType},
		From:   time.Time(c.Since), Before: time.Time(c.OlderThan), Dead: c.Dead, Property: c.IDProperty,
	})
	if err != nil {
		return operatorError(err)
	}
	text := p.text()
	printDoubtPlan(text, plan)
	until := time.Time(c.NewUntil)
	if !until.IsZero() {
		fmt.Fprintf(text, "Events that have no row here and were published before %s are to be asked about first as they "+
			"come; without an id property they are parked, "+
			"or sent and marked, as --on-unknown says.\n", view.Time(until))
	}
	v := doubtView{Plan: plan, DryRun: c.DryRun}
	if (plan.TotalEvents > 0 || !until.IsZero()) && !c.DryRun {
		what := view.Count(int(plan.TotalEvents), "event") + " in doubt"
		if !until.IsZero() {
			what += ", and what is new"
		}
		v.Result, err = p.carryOut(ctx, c.Yes, "Should crmintake put "+what+"?", func() (r operator.Result, err error) {
			if !until.IsZero() {
				if err := d.Waiting.DoubtNew(ctx, until, c.Reason); err != nil {
					return r, err
				}
				v.NewUntil = until
			}
			tell, end := view.Progress(p.err, "doubt", plan.TotalEvents)
			defer end()
			return d.Waiting.Doubt(ctx, plan, c.Reason, tell)
		})
		if err != nil {
			return err
		}
		if c.Dead && v.Result.Done > 0 {
			fmt.Fprintln(text, "What was dead is so still, as unknown_outcome: 'crmintake dead replay --dead-reason "+
				"unknown_outcome' asks about it first.")
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}

func printDoubtPlan(w io.Writer, plan operator.DoubtPlan) {
	from := plan.Filter.From
	switch {
	case plan.Newest.IsZero():
		fmt.Fprintln(w, "This outbox knows of no call at all.")
	case plan.Newest.After(from):
		fmt.Fprintf(w, "The newest call that this outbox knows of began at %s, after %s: workers ran on it since, or "+
			"nothing of that time is lost. "+
			"Stop them first; what they sent without asking is taken in with --dead.\n",
			view.Time(plan.Newest), view.Time(from))
	default:
		fmt.Fprintf(w, "The newest call that this outbox knows of began at %s: what came after it, and what became of it, "+
			"is not here.\n",
			view.Time(plan.Newest))
	}
	if plan.InCall > 0 {
		fmt.Fprintf(w, "In an open call, and so left alone: %s. If no worker runs, the next one to start takes them for "+
			"in doubt; else type this again when the calls are over.\n",
			view.Count(int(plan.InCall), "event"))
	}
	if plan.TotalEvents == 0 {
		fmt.Fprintln(w, "No events wait that this could be done to.")
		return
	}
	fmt.Fprintf(w, "%s:\n", view.Count(int(plan.TotalEvents), "event"))
	for _, g := range plan.List {
		by := "nothing to ask by: parked, or sent again and marked, as --on-unknown says"
		if g.AskBy != "" {
			by = "to be asked about by " + view.Printable(g.AskBy)
		}
		if g.Status == "dead" && g.AskBy == "" {
			by = "nothing to ask by: it stays dead unless a person decides"
		}
		fmt.Fprintf(w, "  %s  %s %s, %s; for example %s\n",
			view.Count(int(g.Events), "event"), view.Printable(g.ObjectType), g.Status, by, view.Printable(g.Example))
	}
	if more := plan.TotalGroups - int64(len(plan.List)); more > 0 {
		fmt.Fprintf(w, "  and %d more such lines\n", more)
	}
}
