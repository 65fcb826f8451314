package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
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
	EventIDs   []string     `arg:"" optional:"" name:"event-id" help:"Only these events."`
	Group      []string     `help:"Only these groups, as dead groups names them." placeholder:"GROUP"`
	DeadReason string       `help:"Only what is dead for this reason: invalid_event, rejected, conflict, exhausted, unknown_outcome or id_reused." enum:",invalid_event,rejected,conflict,exhausted,unknown_outcome,id_reused" default:"" placeholder:"REASON"`
	ObjectType string       `help:"Only this object type." placeholder:"TYPE"`
	Category   string       `help:"Only what the CRM refused with this category, such as VALIDATION_ERROR." placeholder:"CATEGORY"`
	Text       string       `help:"Only events with this text in their error (in whichever case) or in themselves." placeholder:"TEXT"`
	Since      flags.Moment `help:"Only what died since: a time such as 2026-03-01T10:00:00Z, a day, or how long ago, such as 2h." placeholder:"TIME"`
	Until      flags.Moment `help:"Only what died before: a time, a day, or how long ago." placeholder:"TIME"`
}

// groupForm is what dead groups calls one.
var groupForm = regexp.MustCompile(`^[0-9a-f]{12}$`)

// AfterApply implements kong's hook: it refuses what can choose nothing.
func (f deadFilterFlags) AfterApply() error {
	for _, g := range f.Group {
		if !groupForm.MatchString(g) {
			return fmt.Errorf("--group: %q is no group: want twelve characters such as 3f2a9c1b04d7, as 'crmintake "+
				"dead groups' "+
				"names them", view.Shorten(g, 50))
		}
	}
	return f.Since.Past("--since")
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
		EventIDs: f.EventIDs, Groups: f.Group, Reason: outbox.Reason(f.DeadReason), ObjectType: f.ObjectType,
		Category: f.Category,
		Text:     f.Text, Since: time.Time(f.Since), Until: time.Time(f.Until),
	}
}
