package main

import (
	"context"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

type resumeCmd struct {
	flags.Database
	asFlag
	pausable
}

func (resumeCmd) Help() string {
	return "Ends a pause, a person's or one that the workers began by themselves, for all of them within two " +
		"seconds. What the CRM " +
		"still refuses pauses again by itself. --all ends the pause of everything, and a wait that the CRM asked " +
		"for, but not the pauses of single object types."
}

// resumeReport is what resume did.
type resumeReport struct {
	ObjectType string          `json:"object_type"`
	Ended      *operator.Ended `json:"ended,omitempty"` // the pause, if there was one
	Left       []outbox.Pause  `json:"left"`            // what is paused still
}

func (c *resumeCmd) Run(ctx context.Context, p *program) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	r := resumeReport{ObjectType: key}
	if r.Ended, err = d.Pauses.Resume(ctx, key); err != nil {
		return err
	}
	if r.Left, err = d.store.Pauses.List(ctx); err != nil {
		return err
	}
	if p.Output == "json" {
		return view.JSON(p.out, r)
	}
	switch e := r.Ended; {
	case e == nil:
		fmt.Fprintf(p.out, "%s was not paused.\n", view.Capital(pausedName(key)))
	case e.Since.IsZero():
		fmt.Fprintf(p.out, "%s goes on. The CRM wanted no call until %s: %s\n", view.Capital(pausedName(key)),
			view.Time(e.BlockedUntil), view.Printable(e.Reason))
	default:
		fmt.Fprintf(p.out, "%s goes on. It was paused for %s: %s\n", view.Capital(pausedName(key)),
			view.Short(time.Since(e.Since)), view.Printable(e.Reason))
	}
	for _, left := range r.Left {
		fmt.Fprintf(p.out, "Still paused: %s (%s); type 'crmintake resume %s' to end that.\n",
			pausedName(left.ObjectType), view.Printable(left.Reason), resumeArgument(left.ObjectType))
	}
	return nil
}
