package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

type deadEditCmd struct {
	flags.Database
	deadFilterFlags
	bulkFlags
	File     string            `env:"-" help:"Take the event from this file; - is standard input." placeholder:"FILE"`
	Revision *int              `env:"-" help:"With --file: the revision that you read, as dead show tells; if it is not the last any more, nothing is changed." placeholder:"N"`
	Set      map[string]string `env:"-" help:"Set a property, as in properties.amount=12; may be repeated." mapsep:"none" placeholder:"properties.NAME=VALUE"`
	Unset    []string          `env:"-" help:"Take a property out, as in properties.amount; may be repeated." placeholder:"properties.NAME"`
	Rename   map[string]string `env:"-" help:"Rename a property, as in properties.amuont=properties.amount, where it is there; may be repeated." placeholder:"properties.NAME=properties.NAME"`
	Reason   string            `help:"Why, for whoever asks later." placeholder:"TEXT"`
}

func (deadEditCmd) Help() string {
	return "One event by its id opens in $VISUAL, $EDITOR or vi, or is taken from --file. With --set, --unset and " +
		"--rename the same change is made to one event or to " +
		"all that a filter chooses; it first says which those are, and asks.\n\n" +
		"An edited event must be one that can be sent. The original and all revisions stay. Send edited events again " +
		"with replay."
}

func (c *deadEditCmd) Run(ctx context.Context, p *program) error {
	change, err := c.change()
	if err != nil {
		return err
	}
	bulk := len(change.Set)+len(change.Unset)+len(change.Rename) > 0
	switch one := len(c.EventIDs) == 1 && !c.All; {
	case bulk && (c.File != "" || c.Revision != nil):
		return flags.Usagef("--file and --revision are for one event, and --set, --unset and --rename change it " +
			"another way: use one of both")
	case !bulk && !one:
		return flags.Usagef("name one event to edit, or say with --set, --unset or --rename what to change")
	case !bulk && (c.DryRun || c.Yes):
		return flags.Usagef("--dry-run and --yes go with --set, --unset and --rename")
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	if bulk {
		return p.bulk(ctx, d, c.deadFilterFlags, c.bulkFlags, "edit",
			func(plan operator.Plan) (string, error) {
				r, err := d.DeadLetters.TryEdit(ctx, plan, change)
				return tryWords(r), err
			},
			func(plan operator.Plan) (operator.Result, error) {
				return d.DeadLetters.EditAll(ctx, plan, change, c.Reason)
			})
	}
	return c.one(ctx, p, d, c.EventIDs[0])
}

// tryWords says what an edit would come to where that is less than what was planned.
func tryWords(r operator.Result) string {
	if r.Unchanged == 0 && r.Unfit == 0 {
		return ""
	}
	s := fmt.Sprintf("Of these, %d would change, and %d are so already", r.Done, r.Unchanged)
	if r.Unfit > 0 {
		s += fmt.Sprintf("; %d would be left, because they could not be sent then (%s)", r.Unfit, view.Printable(r.Why))
	}
	return s + "."
}

// change reads paths, which begin with properties.
func (c *deadEditCmd) change() (change operator.Change, err error) {
	name := func(path string) string {
		n, ok := strings.CutPrefix(path, "properties.")
		if !ok || n == "" {
			err = flags.Usagef("%q is no property: want properties.NAME", path)
		}
		return n
	}
	for path, value := range c.Set {
		if change.Set == nil {
			change.Set = map[string]string{}
		}
		change.Set[name(path)] = value
	}
	for _, path := range c.Unset {
		change.Unset = append(change.Unset, name(path))
	}
	for from, to := range c.Rename {
		if change.Rename == nil {
			change.Rename = map[string]string{}
		}
		change.Rename[name(from)] = name(to)
	}
	return change, err
}

// editView is what an edit of one event prints for programs.
type editView struct {
	EventID  string `json:"event_id"`
	Revision int    `json:"revision"`
	Changed  bool   `json:"changed"`
}

// one edits one event.
func (c *deadEditCmd) one(ctx context.Context, p *program, d *session, id string) error {
	story, err := d.Show(ctx, id)
	if err != nil {
		return operatorError(err)
	}
	if story.Status != outbox.Dead {
		return operatorError(operator.ErrNotDead)
	}
	revision := story.Revision
	var payload []byte
	keep := func() {}
	switch {
	case c.File == "-":
		payload, err = io.ReadAll(p.in)
	case c.File != "":
		payload, err = os.ReadFile(c.File)
	default:
		payload, keep, err = edited(ctx, p, story.Payload)
	}
	if err != nil {
		return err
	}
	if c.Revision != nil {
		revision = *c.Revision
	}
	// The line break is the file's.
	if payload = bytes.TrimRight(payload, "\r\n"); bytes.Equal(compact(payload), compact(story.Payload)) {
		payload = story.Payload
	}
	now, err := d.DeadLetters.Edit(ctx, id, revision, payload, c.Reason)
	if err != nil {
		keep()
		return operatorError(err)
	}
	v := editView{id, now, now != story.Revision}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	if !v.Changed {
		fmt.Fprintln(p.out, "Nothing was changed.")
		return nil
	}
	fmt.Fprintf(p.out, "%s is edited, revision %d. Its original stays; 'crmintake dead replay' sends it again.\n",
		view.Printable(id), now)
	return nil
}

// compact takes white space out of JSON, and leaves anything else as it is.
func compact(b []byte) []byte {
	var c bytes.Buffer
	if json.Compact(&c, b) != nil {
		return b
	}
	return c.Bytes()
}

// edited has a person edit a payload in their editor, or vi. It is shown with white space, if it is JSON, and comes
// back without. What was edited is lost unless keep is called.
func edited(ctx context.Context, p *program, payload []byte) (after []byte, keep func(), err error) {
	editor := cmp.Or(p.env["VISUAL"], p.env["EDITOR"])
	if _, err := exec.LookPath("vi"); editor == "" && err == nil && view.IsTerminal(p.in) {
		editor = "vi"
	}
	if editor == "" {
		return nil, nil, flags.Usagef("there is no editor to edit it in: set VISUAL or EDITOR, or use --file or --set")
	}
	var shown bytes.Buffer
	if json.Indent(&shown, payload, "", "  ") != nil {
		shown.Reset()
		shown.Write(payload)
	}
	shown.WriteByte('\n')
	file, err := os.CreateTemp("", "crmintake-*.json")
	if err != nil {
		return nil, nil, err
	}
	_, err = file.Write(shown.Bytes())
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, errors.Join(err, os.Remove(file.Name()))
	}
	command := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", file.Name()) // which may have arguments
	command.Env = p.env.List()
	command.Stdin, command.Stdout, command.Stderr = p.in, p.err, p.err
	if view.IsTerminal(p.out) {
		command.Stdout = p.out
	}
	if err = command.Run(); err != nil {
		err = fmt.Errorf("the editor %s: %w; nothing was changed", editor, err)
	} else {
		after, err = os.ReadFile(file.Name())
	}
	if removed := os.Remove(file.Name()); err != nil || removed != nil {
		return nil, nil, errors.Join(err, removed)
	}
	keep = func() {
		if os.WriteFile(file.Name(), after, 0o600) == nil {
			fmt.Fprintf(p.err, "What you edited is in %s\n", file.Name())
		}
	}
	return compact(after), keep, nil
}
