package main

import (
	"context"
	"fmt"
)

type replayListCmd struct{ listFlags }

func (c *replayListCmd) Run(ctx context.Context, p *program) error {
	d, err := c.desk(ctx)
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
		return printJSON(p.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(p.out, "No bulk replays.")
		return nil
	}
	columns := []column{{title: "REPLAY", right: true}, {title: "STATE"}}
	for _, title := range []string{"EVENTS", "SENT AGAIN", "SKIPPED", "HELD", "LEFT"} {
		columns = append(columns, column{title: title, right: true})
	}
	t := newTable(append(columns, column{title: "STARTED", long: true}, column{title: "REASON", long: true},
		column{title: "FAILS", long: true})...)
	for _, j := range list {
		fails := "-"
		if j.Failures > 0 {
			fails = fmt.Sprintf("%s; 'crmintake replay show %d' tells why", count(j.Failures, "step"), j.ID)
		}
		t.row(j.ID, j.State, grouped(j.Events), grouped(j.Replayed), grouped(j.Skipped), grouped(j.Held),
			grouped(j.Left()),
			localTime(j.StartedAt)+" by "+j.Operator, j.Reason, fails)
	}
	return t.print(p.out, p.screen())
}
