package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"crmintake/outbox/operator"
)

type auditCmd struct {
	databaseFlags
	Operator string `help:"Only what this person did." placeholder:"NAME"`
	Action   string `help:"Only this action, such as discard." placeholder:"ACTION"`
	EventID  string `help:"Only what was done to this event." placeholder:"ID"`
	Before   int64  `help:"Only what came before the action of this number: the next page." placeholder:"NUMBER"`
	Limit    int    `help:"How many at most." default:"50" placeholder:"N"`
}

func (c *auditCmd) Run(ctx context.Context, p *program) error {
	if c.Limit < 1 {
		return usagef("--limit %d: want at least 1", c.Limit)
	}
	d, err := readDesk(ctx, c.databaseFlags)
	if err != nil {
		return err
	}
	defer d.store.Close()
	// One more than is shown tells whether there are more.
	list, err := d.Audit(ctx, operator.Actions{Operator: c.Operator, Action: c.Action, EventID: c.EventID, Before: c.Before, Limit: c.Limit + 1})
	if err != nil {
		return err
	}
	more := len(list) > c.Limit
	list = list[:min(len(list), c.Limit)]
	if p.Output == "json" {
		return printJSON(p.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(p.out, "Nothing was done by hand.")
		return nil
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACTION\tTIME\tEVENTS\tSKIPPED\tWHAT\tFILTER")
	for _, a := range list {
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%s\t%s\n", a.ID, localTime(a.At), a.Events, a.Skipped, shorten(printable(actionWords(a)), 120), shorten(printable(filterWords(a.Filter)), 120))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.out, "There are more; add --before %d\n", list[len(list)-1].ID)
	}
	return nil
}
