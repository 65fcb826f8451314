package main

import (
	"context"
	"fmt"

	"crmintake/cmd/crmintake/internal/view"
)

type replayListCmd struct{ listFlags }

func (c *replayListCmd) Run(ctx context.Context, p *program) error {
	d, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer d.store.Close()
	list, err := d.Replays.List(ctx, c.Limit)
	if err != nil {
		return err
	}
	for i := range list {
		p.redactFilter(&list[i].Filter)
	}
	if p.Output == "json" {
		return view.JSON(p.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(p.out, "No bulk replays.")
		return nil
	}
	columns := []view.Column{{Title: "REPLAY", Right: true}, {Title: "STATE"}}
	for _, title := range []string{"EVENTS", "SENT AGAIN", "SKIPPED", "HELD", "LEFT"} {
		columns = append(columns, view.Column{Title: title, Right: true})
	}
	t := view.NewTable(append(columns, view.Column{Title: "STARTED", Long: true}, view.Column{Title: "REASON", Long: true},
		view.Column{Title: "FAILS", Long: true})...)
	for _, j := range list {
		fails := "-"
		if j.Failures > 0 {
			fails = fmt.Sprintf("%s; 'crmintake replay show %d' tells why", view.Count(j.Failures, "step"), j.ID)
		}
		t.Row(j.ID, j.State, view.Grouped(j.Events), view.Grouped(j.Replayed), view.Grouped(j.Skipped), view.Grouped(j.Held),
			view.Grouped(j.Left()),
			view.Time(j.StartedAt)+" by "+j.Operator, j.Reason, fails)
	}
	return t.Print(p.out, p.screen())
}
