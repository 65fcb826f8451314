package main

import (
	"context"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox/operator"
)

type deadDiscardCmd struct {
	flags.Database
	deadFilterFlags
	bulkFlags
	Reason string `help:"Why, for whoever asks later." required:"" placeholder:"TEXT"`
}

func (deadDiscardCmd) Help() string {
	return "It first says which events and groups it is about, and asks. Events that change after that are left " +
		"alone, and counted. " +
		"'crmintake dead restore' takes it back."
}

func (c *deadDiscardCmd) Run(ctx context.Context, p *program) error {
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	if strings.TrimSpace(c.Reason) == "" {
		return operatorError(operator.ErrNoReason)
	}
	return p.bulk(ctx, d, c.deadFilterFlags, c.bulkFlags, "discard",
		func(operator.Plan) (string, error) { return "'crmintake dead restore' can take it back.", nil },
		func(plan operator.Plan) (operator.Result, error) { return d.DeadLetters.Discard(ctx, plan, c.Reason) })
}
