package main

import (
	"context"
	"fmt"

	"crmintake/outbox/operator"
)

type deadGroupsCmd struct {
	listFlags
	deadFilterFlags
}

func (c *deadGroupsCmd) Run(ctx context.Context, p *program) error {
	d, err := c.desk(ctx)
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
		return printJSON(p.out, groups)
	}
	if groups.TotalEvents == 0 {
		fmt.Fprintln(p.out, c.none())
		return nil
	}
	fmt.Fprintf(p.out, "%s in %s\n", count(int(groups.TotalEvents), "dead event"), count(int(groups.TotalGroups), "group"))
	for _, g := range groups.List {
		fmt.Fprintf(p.out, "\n%s  %s  %s\n", g.Fingerprint, count(int(g.Events), "event"), groupWords(g))
		fmt.Fprintf(p.out, "  from %s to %s; for example %s: %s\n", localTime(g.FirstSeen), localTime(g.LastSeen), printable(g.Example), shorten(printable(g.Error), 200))
		fmt.Fprintf(p.out, "  %s\n", printable(g.Advice))
	}
	if more := int(groups.TotalGroups) - len(groups.List); more > 0 {
		fmt.Fprintf(p.out, "\nThere are %s more; --limit shows them.\n", count(more, "group"))
	}
	return nil
}

// groupWords describes a group in a line.
func groupWords(g operator.Group) string {
	s := printable(g.ObjectType) + " " + string(g.Reason)
	for _, part := range []string{g.Category, g.Rule, g.Property} {
		if part != "" && part != string(g.Reason) {
			s += " " + printable(part)
		}
	}
	if g.Rule == "" {
		s += ": " + shorten(printable(g.Error), 80)
	}
	return s
}
