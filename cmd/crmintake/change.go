package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

// confirm asks a question, on standard error, to which yes must be the answer, before ctx ends. Without a terminal to
// ask on it is a usageError.
func (p *program) confirm(ctx context.Context, question string) error {
	if !view.IsTerminal(p.in) {
		return flags.Usagef("there is no terminal to ask on: say --yes to go on without being asked, or --dry-run to " +
			"see the plan only; nothing was changed")
	}
	fmt.Fprint(p.err, question+" [y/N] ")
	type reply struct {
		text string
		err  error
	}
	// Reading from a terminal can't be interrupted, so it has a goroutine, which ends with the answer or the program.
	replies := make(chan reply, 1)
	go func() {
		text, err := bufio.NewReader(p.in).ReadString('\n')
		replies <- reply{text, err}
	}()
	var answer reply
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return errors.New("interrupted; nothing was changed")
	case answer = <-replies:
	}
	if answer.err != nil && !errors.Is(answer.err, io.EOF) {
		return answer.err
	}
	switch strings.ToLower(strings.TrimSpace(answer.text)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed; nothing was changed")
}

// bulkFlags are those of what is done to many events.
type bulkFlags struct {
	asFlag
	All    bool `env:"-" help:"Take every dead event: without it, a filter is wanted."`
	Yes    bool `env:"-" help:"Don't ask; for scripts."`
	DryRun bool `help:"Only say what would be done."`
}

// changeView is what a command that changes events prints for programs.
type changeView struct {
	Plan   operator.Plan    `json:"plan"`
	DryRun bool             `json:"dry_run,omitempty"`
	Result *operator.Result `json:"result,omitempty"` // nil if nothing was done
}

// bulk plans, shows the plan, asks, and does it. What is what is done, as in "discard"; note says more of it, if
// anything.
func (p *program) bulk(ctx context.Context, d *session, filter deadFilterFlags, flags bulkFlags, what string,
	note func(operator.Plan) (string, error), do func(operator.Plan) (operator.Result, error)) error {
	f := filter.filter()
	f.All = flags.All
	plan, err := d.DeadLetters.Plan(ctx, f)
	if err != nil {
		return operatorError(err)
	}
	more, err := note(plan)
	if err != nil {
		return operatorError(err)
	}
	text := p.text()
	p.redactGroups(plan.List)
	printPlan(text, plan, more)
	if plan.TotalEvents == 0 && len(filter.Group) > 0 {
		fmt.Fprintln(text, filter.none())
	}
	v := changeView{Plan: plan, DryRun: flags.DryRun}
	if plan.TotalEvents > 0 && !flags.DryRun {
		question := fmt.Sprintf("Should crmintake %s %s?", what, view.Count(int(plan.TotalEvents), "event"))
		if v.Result, err = p.carryOut(ctx, flags.Yes, question, func() (operator.Result, error) {
			return do(plan)
		}); err != nil {
			return err
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}

// carryOut asks the question, unless the answer is given, does what was planned, and prints the result.
func (p *program) carryOut(ctx context.Context, yes bool, question string,
	do func() (operator.Result, error)) (*operator.Result, error) {
	if !yes {
		if err := p.confirm(ctx, question); err != nil {
			return nil, err
		}
	}
	r, err := do()
	if err != nil {
		return nil, operatorError(err)
	}
	printResult(p.text(), r)
	return &r, nil
}

func printPlan(w io.Writer, plan operator.Plan, note string) {
	if plan.NotDead > 0 {
		fmt.Fprintf(w, "Not dead, or not any more, and so skipped: %s.\n", view.Count(int(plan.NotDead), "event"))
	}
	if plan.TotalEvents == 0 {
		fmt.Fprintln(w, "No dead events to do this to.")
		return
	}
	fmt.Fprintf(w, "%s in %s:\n", view.Count(int(plan.TotalEvents), "event"), view.Count(int(plan.TotalGroups), "group"))
	for _, g := range plan.List {
		fmt.Fprintf(w, "  %s  %s  %s\n", g.Fingerprint, view.Count(int(g.Events), "event"), groupWords(g))
	}
	if more := int(plan.TotalGroups) - len(plan.List); more > 0 {
		fmt.Fprintf(w, "  and %s more\n", view.Count(more, "group"))
	}
	if note != "" {
		fmt.Fprintln(w, note)
	}
}

func printResult(w io.Writer, r operator.Result) {
	fmt.Fprintf(w, "Done to %s", view.Count(int(r.Done), "event"))
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Skipped, "skipped, because they changed meanwhile"}, {r.Unchanged, "so already"},
		{r.Unfit, "left, because they could not be sent then"}} {
		if part.n > 0 {
			fmt.Fprintf(w, "; %d %s", part.n, part.what)
		}
	}
	if r.Why != "" {
		fmt.Fprintf(w, " (%s)", view.Printable(r.Why))
	}
	fmt.Fprintln(w, ".")
}
