package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"crmintake/outbox"
)

type deadCmd struct {
	List deadListCmd `cmd:"" help:"List dead events, those that died last first."`
}

type deadListCmd struct {
	databaseFlags
	ObjectType string `help:"Only this object type." placeholder:"TYPE"`
	Reason     string `help:"Only this reason: invalid_event, rejected, conflict, exhausted, unknown_outcome or id_reused." enum:",invalid_event,rejected,conflict,exhausted,unknown_outcome,id_reused" default:"" placeholder:"REASON"`
	Limit      int    `help:"How many at most." default:"50" placeholder:"N"`
}

func (c *deadListCmd) Run(ctx context.Context, p *program) error {
	if c.Limit < 1 {
		return usagef("--limit %d: want at least 1", c.Limit)
	}
	store, err := openStore(ctx, c.databaseFlags, 2)
	if err != nil {
		return err
	}
	defer store.Close()
	// One more than is shown tells whether there are more.
	records, err := store.Dead(ctx, outbox.DeadFilter{ObjectType: c.ObjectType, Reason: outbox.Reason(c.Reason), Limit: c.Limit + 1})
	if err != nil {
		return err
	}
	more := len(records) > c.Limit
	records = records[:min(len(records), c.Limit)]
	if p.Output == "json" {
		views := make([]view, len(records))
		for i, r := range records {
			views[i] = viewOf(r)
		}
		return printJSON(p.out, views)
	}
	if len(records) == 0 {
		fmt.Fprintln(p.out, "No dead events.")
		return nil
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "EVENT\tOBJECT TYPE\tREASON\tSINCE\tERROR")
	for _, r := range records {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(r.EventID), printable(r.ObjectType), r.Reason,
			r.UpdatedAt.Local().Format(time.DateTime), shorten(printable(r.Error), 100))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintln(p.out, "There are more; --limit shows them.")
	}
	return nil
}
