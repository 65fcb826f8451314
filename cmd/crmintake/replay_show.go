package main

import (
	"context"

	"crmintake/cmd/crmintake/internal/view"
)

type replayShowCmd struct{ replayArg }

func (c *replayShowCmd) Run(ctx context.Context, p *program) error {
	d, err := readSession(ctx, c.Database)
	if err != nil {
		return err
	}
	defer d.store.Close()
	job, err := d.Replays.Get(ctx, c.ID)
	if err != nil {
		return c.error(err)
	}
	p.redactFilter(&job.Filter)
	if p.Output == "json" {
		return view.JSON(p.out, job)
	}
	printJob(p.out, &job)
	return nil
}
