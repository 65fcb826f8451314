package main

import (
	"context"
	"fmt"

	"crmintake/cmd/crmintake/internal/view"
)

type deadListCmd struct {
	listFlags
	deadFilterFlags
	From string `help:"Where to begin: what the page before says at its end." placeholder:"PLACE"`
}

func (c *deadListCmd) Run(ctx context.Context, p *program) error {
	d, err := c.session(ctx)
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
		return view.JSON(p.out, page)
	}
	if len(page.Events) == 0 {
		fmt.Fprintln(p.out, c.none())
		return nil
	}
	t := view.NewTable(view.Column{Title: "EVENT", Long: true}, view.Column{Title: "OBJECT TYPE", Fit: true},
		view.Column{Title: "REASON"}, view.Column{Title: "GROUP"}, view.Column{Title: "SINCE"},
		view.Column{Title: "EDITS", Right: true}, view.Column{Title: "ERROR", Long: true})
	for _, e := range page.Events {
		t.Row(e.EventID, e.ObjectType, e.Reason, e.Group, view.Time(e.DeadAt), e.Revision, view.Shorten(e.Error, 100))
	}
	if err := t.Print(p.out, p.screen()); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(p.out, "There are more; add --from %s\n", page.Next)
	}
	return nil
}
