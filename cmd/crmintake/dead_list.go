package main

import (
	"context"
	"fmt"
)

type deadListCmd struct {
	listFlags
	deadFilterFlags
	From string `help:"Where to begin: what the page before says at its end." placeholder:"PLACE"`
}

func (c *deadListCmd) Run(ctx context.Context, p *program) error {
	d, err := c.desk(ctx)
	if err != nil {
		return err
	}
	defer d.store.Close()
	page, err := d.DeadLetters.List(ctx, c.filter(), c.From, c.Limit)
	if err != nil {
		return operatorError(err)
	}
	for i := range page.Events {
		p.redact(&page.Events[i].Error)
	}
	if p.Output == "json" {
		return printJSON(p.out, page)
	}
	if len(page.Events) == 0 {
		fmt.Fprintln(p.out, c.none())
		return nil
	}
	t := newTable(column{title: "EVENT", long: true}, column{title: "OBJECT TYPE", fit: true},
		column{title: "REASON"}, column{title: "GROUP"}, column{title: "SINCE"},
		column{title: "EDITS", right: true}, column{title: "ERROR", long: true})
	for _, e := range page.Events {
		t.row(e.EventID, e.ObjectType, e.Reason, e.Group, localTime(e.DeadAt), e.Revision, shorten(e.Error, 100))
	}
	if err := t.print(p.out, p.screen()); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(p.out, "There are more; add --from %s\n", page.Next)
	}
	return nil
}
