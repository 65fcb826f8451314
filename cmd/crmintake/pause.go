package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
)

// pausable names an object type, or everything.
type pausable struct {
	ObjectType string `arg:"" optional:"" name:"type" help:"Object type, such as deals."`
	All        bool   `env:"-" help:"Everything: all calls, of every object type."`
}

// key is what the outbox calls it.
func (p pausable) key() (string, error) {
	switch {
	case p.All && p.ObjectType != "":
		return "", flags.Usagef("an object type and --all are both given; give one")
	case p.All:
		return outbox.Account, nil
	case p.ObjectType == "":
		return "", flags.Usagef("give an object type, or --all for everything")
	}
	if err := flags.ObjectTypeFault(p.ObjectType); err != nil {
		return "", flags.Usagef("%q is not an object type: %w", view.Shorten(p.ObjectType, 50), err)
	}
	return p.ObjectType, nil
}

// pausedName is what people call it.
func pausedName(key string) string {
	if key == outbox.Account {
		return "everything"
	}
	return key
}

// resumeArgument is how it is named on the command line.
func resumeArgument(key string) string {
	if key == outbox.Account {
		return "--all"
	}
	return key
}

type pauseCmd struct {
	flags.Database
	asFlag
	pausable
	Reason string `help:"Why, for whoever asks later." required:"" placeholder:"TEXT"`
}

func (pauseCmd) Help() string {
	return "All workers stop within two seconds to create records of the object type, or with --all to call at all. " +
		"Calls under way " +
		"end as they would, and no attempt is counted. Nothing but 'crmintake resume' ends it: neither a trial " +
		"call, nor a new credential, nor a restart. What comes stays in the stream. What waits as retry or unknown " +
		"ages on, and " +
		"becomes a dead letter after --retry-age, to be replayed; 'crmintake outbox give-up' does not wait for that."
}

// pauseReport is what pause did.
type pauseReport struct {
	ObjectType string `json:"object_type"` // "*": everything
	Reason     string `json:"reason"`
	Already    bool   `json:"already"`           // it was paused before
	Unmet      bool   `json:"unmet,omitempty"`   // no call and no event of it is known: it may be misspelled
	Nearest    string `json:"nearest,omitempty"` // then, the one that is and whose name is nearest
}

func (c *pauseCmd) Run(ctx context.Context, p *program) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(c.Reason)
	if reason == "" {
		return flags.Usagef("--reason: say why, in a few words")
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	already, err := d.Pauses.Pause(ctx, key, reason)
	if err != nil {
		return err
	}
	r := pauseReport{ObjectType: key, Reason: reason, Already: already}
	if err := r.doubt(ctx, d); err != nil {
		p.log.Debug("it is not known whether there are events of it", "error", err)
	}
	if p.Output == "json" {
		return view.JSON(p.out, r)
	}
	how := "is paused"
	if already {
		how = "was paused already, and is so now for this reason"
	}
	fmt.Fprintf(p.out, "%s %s. Events wait; type 'crmintake resume %s' to go on.\n", view.Capital(pausedName(key)), how,
		resumeArgument(key))
	if r.Unmet {
		fmt.Fprintf(p.out, "No call was ever made for %s, and no event of it waits or is dead.", key)
		if r.Nearest != "" {
			fmt.Fprintf(p.out, " Did you mean %s?", r.Nearest)
		}
		fmt.Fprintln(p.out)
	}
	return nil
}

// doubtPatience is how long it may take to find out whether an object type is known.
const doubtPatience = 3 * time.Second

// doubt finds out whether the object type is known, and if not, which may be meant.
func (r *pauseReport) doubt(ctx context.Context, d *session) error {
	if r.ObjectType == outbox.Account {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doubtPatience)
	defer cancel()
	met, err := d.Pauses.Known(ctx, r.ObjectType)
	if err != nil || met {
		return err
	}
	r.Unmet = true
	s, err := d.Status(ctx)
	if err != nil {
		return err
	}
	r.Nearest = flags.Nearest(r.ObjectType, s.ObjectTypes())
	return nil
}
