package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type auditCmd struct {
	listFlags
	Operator string `help:"Only what this person did." placeholder:"NAME"`
	Action   string `help:"Only this action, such as discard." placeholder:"ACTION"`
	EventID  string `help:"Only what was done to this event." placeholder:"ID"`
	Before   int64  `help:"Only what came before the action of this number: the next page." placeholder:"NUMBER"`
}

func (c *auditCmd) Run(ctx context.Context, p *program) error {
	d, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer d.store.Close()
	// One more than is shown tells whether there are more.
	list, err := d.Audit(ctx, operator.Actions{Operator: c.Operator, Action: c.Action, EventID: c.EventID,
		Before: c.Before, Limit: c.Limit + 1})
	if err != nil {
		return err
	}
	more := len(list) > c.Limit
	list = list[:min(len(list), c.Limit)]
	for i := range list {
		p.redactAction(&list[i])
	}
	if p.Output == "json" {
		return view.JSON(p.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(p.out, "Nothing was done by hand.")
		return nil
	}
	t := view.NewTable(view.Column{Title: "ACTION", Right: true}, view.Column{Title: "TIME"},
		view.Column{Title: "EVENTS", Right: true}, view.Column{Title: "SKIPPED", Right: true},
		view.Column{Title: "WHAT", Long: true}, view.Column{Title: "FILTER", Long: true})
	for _, a := range list {
		t.Row(a.ID, view.Time(a.At), view.Grouped(a.Events), view.Grouped(a.Skipped), actionWords(a), filterWords(a.Filter))
	}
	if err := t.Print(p.out, p.screen()); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.out, "There are more; add --before %d\n", list[len(list)-1].ID)
	}
	return nil
}

// actionWords describes an action in a line, without its time.
func actionWords(a operator.Action) string {
	s := a.Action + " by " + a.Operator
	if a.Detail != nil {
		s += " " + string(a.Detail)
	}
	if a.Reason != "" {
		s += ": " + a.Reason
	}
	return s
}

// filterWords are a filter as JSON, in a line.
func filterWords(f *operator.Filter) string {
	if f == nil {
		return ""
	}
	meant := *f
	meant.AsOf, meant.Seen = time.Time{}, "" // which is the action's own time, about
	b, err := json.Marshal(meant)
	if err != nil {
		return ""
	}
	return string(b)
}
