package main

import (
	"context"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
)

type outboxTailCmd struct {
	flags.Database
	rowFlags
}

func (outboxTailCmd) Help() string {
	return "Each time that a call has ended for an event, or that it became dead, a line is shown; with --output " +
		"json, a JSON object. " +
		"None is left out, but what happens to one event in quick succession is shown once. What persons do to events is " +
		"not shown: see 'crmintake audit'. While it runs, and two minutes longer, the workers write down which " +
		"events each call had, " +
		"some 40 bytes an event."
}

func (c *outboxTailCmd) Run(ctx context.Context, p *program) error {
	store, err := openStore(ctx, c.Database, 2)
	if err != nil {
		return err
	}
	defer store.Close()
	began := func() { p.log.Info("following; Ctrl-C ends it") }
	s := p.screen()
	return store.Read.Follow(ctx, outbox.ListFilter{Status: outbox.Status(c.Status), ObjectType: c.ObjectType}, began,
		func(r outbox.Record) error {
			p.redactRecord(&r)
			if p.Output == "json" {
				return view.JSONLine(p.out, view.EventOf(r))
			}
			t := view.NewTable(view.Column{}, view.Column{}, view.Column{}, view.Column{Fit: true}, view.Column{Fit: true})
			status := view.Status(string(r.Status))
			status.Text = fmt.Sprintf("%-9s", status.Text) // each line is a table of its own
			t.Row(r.UpdatedAt.Local().Format(time.TimeOnly+" MST"), status, r.ObjectType, r.EventID, became(r))
			return t.Print(p.out, s)
		})
}
