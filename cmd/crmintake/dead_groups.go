package main

import (
	"context"
	"fmt"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type deadGroupsCmd struct {
	listFlags
	deadFilterFlags
}

func (c *deadGroupsCmd) Run(ctx context.Context, p *program) error {
	d, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer d.store.Close()
	groups, err := d.DeadLetters.Groups(ctx, c.filter(), c.Limit)
	if err != nil {
		return operatorError(err)
	}
	p.redactGroups(groups.List)
	if p.Output == "json" {
		return view.JSON(p.out, groups)
	}
	if groups.TotalEvents == 0 {
		fmt.Fprintln(p.out, c.none())
		return nil
	}
	fmt.Fprintf(p.out, "%s in %s\n", view.Count(int(groups.TotalEvents), "dead event"),
		view.Count(int(groups.TotalGroups), "group"))
	for _, g := range groups.List {
		fmt.Fprintf(p.out, "\n%s  %s  %s\n", g.Fingerprint, view.Count(int(g.Events), "event"), groupWords(g))
		fmt.Fprintf(p.out, "  from %s to %s; for example %s: %s\n", view.Time(g.FirstSeen), view.Time(g.LastSeen),
			view.Printable(g.Example), view.Shorten(view.Printable(g.Error), 200))
		fmt.Fprintf(p.out, "  %s\n", view.Printable(g.Advice))
	}
	if more := int(groups.TotalGroups) - len(groups.List); more > 0 {
		fmt.Fprintf(p.out, "\nThere are %s more; --limit shows them.\n", view.Count(more, "group"))
	}
	return nil
}

// groupWords describes a group in a line.
func groupWords(g operator.Group) string {
	s := view.Printable(g.ObjectType) + " " + string(g.Reason)
	for _, part := range []string{g.Category, g.Rule, g.Property} {
		if part != "" && part != string(g.Reason) {
			s += " " + view.Printable(part)
		}
	}
	if g.Rule == "" {
		s += ": " + view.Shorten(view.Printable(g.Error), 80)
	}
	return s
}
