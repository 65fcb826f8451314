package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/event"
)

type deadCmd struct {
	Groups  deadGroupsCmd  `cmd:"" help:"Tell of which kinds the dead events are, how many of each, and what to do about them."`
	List    deadListCmd    `cmd:"" help:"List dead events, those that died last first."`
	Show    deadShowCmd    `cmd:"" help:"Show one event: its bytes, each attempt and error in order, and who did what to it."`
	Edit    deadEditCmd    `cmd:"" help:"Edit dead events: one in an editor or from a file, any number by the same change of properties."`
	Replay  deadReplayCmd  `cmd:"" help:"Send dead events again."`
	Discard deadDiscardCmd `cmd:"" help:"Give up on dead events. Their rows stay, with who did it and why."`
	Restore deadRestoreCmd `cmd:"" help:"Take a discard back."`
	Export  deadExportCmd  `cmd:"" help:"Write dead events out, for publish to take in again."`
}

// deadFilterFlags choose dead events. All that are given must hold.
type deadFilterFlags struct {
	EventIDs   []string `arg:"" optional:"" name:"event-id" help:"Only these events."`
	Group      []string `help:"Only these groups, as dead groups names them." placeholder:"GROUP"`
	DeadReason string   `help:"Only what is dead for this reason: invalid_event, rejected, conflict, exhausted, unknown_outcome or id_reused." enum:",invalid_event,rejected,conflict,exhausted,unknown_outcome,id_reused" default:"" placeholder:"REASON"`
	ObjectType string   `help:"Only this object type." placeholder:"TYPE"`
	Category   string   `help:"Only what the CRM refused with this category, such as VALIDATION_ERROR." placeholder:"CATEGORY"`
	Text       string   `help:"Only events with this text in their error (in whichever case) or in themselves." placeholder:"TEXT"`
	Since      moment   `help:"Only what died since: a time such as 2026-03-01T10:00:00Z, a day, or how long ago, such as 2h." placeholder:"TIME"`
	Until      moment   `help:"Only what died before: a time, a day, or how long ago." placeholder:"TIME"`
}

// groupForm is what dead groups calls one.
var groupForm = regexp.MustCompile(`^[0-9a-f]{12}$`)

// AfterApply implements kong's hook: it refuses what can choose nothing.
func (f deadFilterFlags) AfterApply() error {
	for _, g := range f.Group {
		if !groupForm.MatchString(g) {
			return fmt.Errorf("--group: %q is no group: want twelve characters such as 3f2a9c1b04d7, as 'crmintake dead groups' "+
				"names them", shorten(g, 50))
		}
	}
	return f.Since.past("--since")
}

// none says that it chose nothing.
func (f deadFilterFlags) none() string {
	if len(f.Group) == 0 {
		return "No dead events."
	}
	return "No dead events in " + strings.Join(f.Group, ", ") + "; 'crmintake dead groups' tells which there are."
}

func (f deadFilterFlags) filter() operator.Filter {
	return operator.Filter{
		EventIDs: f.EventIDs, Groups: f.Group, Reason: outbox.Reason(f.DeadReason), ObjectType: f.ObjectType, Category: f.Category,
		Text: f.Text, Since: time.Time(f.Since), Until: time.Time(f.Until),
	}
}

// moment is a time on the command line.
type moment time.Time

func (m *moment) UnmarshalText(b []byte) error { return m.parse(string(b), time.Local) }

// parse reads a time; one that names no zone is the zone's.
func (m *moment) parse(s string, zone *time.Location) error {
	if s == "" {
		return nil
	}
	if ago, err := time.ParseDuration(s); err == nil {
		*m = moment(time.Now().Add(-ago.Abs()))
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			*m = moment(t)
			return nil
		}
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil { // from its first moment, which need not be 00:00
		*m = moment(outbox.NextDay(time.Date(day.Year(), day.Month(), day.Day()-1, 12, 0, 0, 0, zone)))
		return nil
	}
	return fmt.Errorf("%q is no time: want one such as 2026-03-01T10:00:00Z, a day such as 2026-03-01, or how long ago, such as 2h", s)
}

// past refuses a time that is still to come: nothing has happened since then, and everything before it.
func (m moment) past(flag string) error {
	if t := time.Time(m); t.After(time.Now()) {
		return fmt.Errorf("%s: %s is in the future", flag, localTime(t))
	}
	return nil
}

// bulkFlags are those of what is done to many events.
type bulkFlags struct {
	asFlag
	All    bool `env:"-" help:"Take every dead event: without it, a filter is wanted."`
	Yes    bool `env:"-" help:"Don't ask; for scripts."`
	DryRun bool `help:"Only say what would be done."`
}

// desk is where an operator works: the outbox, opened.
type desk struct {
	*operator.Operator
	store *outbox.Store
}

// openDesk opens the outbox for whoever is at work. Close the store.
func openDesk(ctx context.Context, f databaseFlags, as asFlag) (*desk, error) {
	name, err := as.operator()
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, f, 2)
	if err != nil {
		return nil, err
	}
	return &desk{operator.New(store, operator.Config{Name: name, Check: sendable}), store}, nil
}

// readDesk is for commands that only read, for which it doesn't matter who asks.
func readDesk(ctx context.Context, f databaseFlags) (*desk, error) {
	return openDesk(ctx, f, asFlag{As: "reader"})
}

// listFlags are those of commands that list what persons look for.
type listFlags struct {
	databaseFlags
	Limit int `help:"How many at most." default:"50" placeholder:"N"`
}

func (f listFlags) desk(ctx context.Context) (*desk, error) {
	if f.Limit < 1 {
		return nil, usagef("--limit %d: want at least 1", f.Limit)
	}
	return readDesk(ctx, f.databaseFlags)
}

// sendable says why a worker would not send an event.
func sendable(eventID, objectType string, payload []byte) error {
	if objectType == "" {
		return errors.New("its subject names no object type, so no edit helps: publish it again on the right subject")
	}
	_, err := event.Decode(payload, "", eventID)
	return err
}

// operatorError tells what is the fault of what was typed.
func operatorError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, operator.ErrEverything):
		return usagef("this would take every dead event: name events or give a filter, or say --all; nothing was changed")
	case errors.Is(err, operator.ErrNoReason):
		return usagef("say why, with --reason; nothing was changed")
	case errors.Is(err, operator.ErrNotDead):
		return usagef("the event is not dead, and only dead events are changed by hand; " +
			"'crmintake dead show' tells where it stands, and 'crmintake outbox give-up' makes a dead letter of one that waits in retry " +
			"or unknown, 'crmintake dead restore' of a discarded one")
	case errors.Is(err, operator.ErrEdited):
		return errors.New("somebody else edited the event after you read it; nothing was changed. Look at it with 'crmintake dead show', and edit it anew")
	case errors.As(err, new(*operator.UnfitError)):
		return usagef("the edited event could not be sent: %w; nothing was changed", err)
	case errors.As(err, new(*operator.FilterError)), errors.As(err, new(*operator.ChangeError)), errors.As(err, new(*operator.UnknownEventError)):
		return usageError{err}
	}
	return err
}

// changeView is what a command that changes events prints for programs.
type changeView struct {
	Plan   operator.Plan    `json:"plan"`
	DryRun bool             `json:"dry_run,omitempty"`
	Result *operator.Result `json:"result,omitempty"` // nil if nothing was done
}

// bulk plans, shows the plan, asks, and does it. What is what is done, as in "discard"; note says more of it, if
// anything.
func (p *program) bulk(ctx context.Context, d *desk, filter deadFilterFlags, flags bulkFlags, what string,
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
		if !flags.Yes {
			question := fmt.Sprintf("Should crmintake %s %s?", what, count(int(plan.TotalEvents), "event"))
			if err := p.confirm(ctx, question); err != nil {
				return err
			}
		}
		r, err := do(plan)
		if err != nil {
			return operatorError(err)
		}
		v.Result = &r
		printResult(text, r)
	}
	if p.Output == "json" {
		return printJSON(p.out, v)
	}
	return nil
}

func printPlan(w io.Writer, plan operator.Plan, note string) {
	if plan.NotDead > 0 {
		fmt.Fprintf(w, "Not dead, or not any more, and so skipped: %s.\n", count(int(plan.NotDead), "event"))
	}
	if plan.TotalEvents == 0 {
		fmt.Fprintln(w, "No dead events to do this to.")
		return
	}
	fmt.Fprintf(w, "%s in %s:\n", count(int(plan.TotalEvents), "event"), count(int(plan.TotalGroups), "group"))
	for _, g := range plan.List {
		fmt.Fprintf(w, "  %s  %s  %s\n", g.Fingerprint, count(int(g.Events), "event"), groupWords(g))
	}
	if more := int(plan.TotalGroups) - len(plan.List); more > 0 {
		fmt.Fprintf(w, "  and %s more\n", count(more, "group"))
	}
	if note != "" {
		fmt.Fprintln(w, note)
	}
}

func printResult(w io.Writer, r operator.Result) {
	fmt.Fprintf(w, "Done to %s", count(int(r.Done), "event"))
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Skipped, "skipped, because they changed meanwhile"}, {r.Unchanged, "so already"}, {r.Unfit, "left, because they could not be sent then"}} {
		if part.n > 0 {
			fmt.Fprintf(w, "; %d %s", part.n, part.what)
		}
	}
	if r.Why != "" {
		fmt.Fprintf(w, " (%s)", printable(r.Why))
	}
	fmt.Fprintln(w, ".")
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
