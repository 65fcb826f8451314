package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"crmintake/outbox/operator"
)

type deadShowCmd struct {
	databaseFlags
	EventID string `arg:"" name:"event-id" help:"The event's id, as in the outbox. It need not be dead (any more)."`
}

func (c *deadShowCmd) Run(ctx context.Context, p *program) error {
	d, err := readDesk(ctx, c.databaseFlags)
	if err != nil {
		return err
	}
	defer d.store.Close()
	story, err := d.Show(ctx, c.EventID)
	if err != nil {
		return operatorError(err)
	}
	p.redactStory(&story)
	v := storyViewOf(story)
	if p.Output == "json" {
		return printJSON(p.out, v)
	}
	return v.print(p.out, p.screen())
}

// storyView is a story as JSON: the row as outbox get shows it, and what else there is.
type storyView struct {
	view
	Group     string            `json:"group,omitempty"`
	Advice    string            `json:"advice,omitempty"`
	DeadAt    time.Time         `json:"dead_at,omitzero"`
	Revision  int               `json:"revision"`
	Attempts  []attemptView     `json:"calls,omitempty"`
	Revisions []revisionView    `json:"revisions,omitempty"`
	Actions   []operator.Action `json:"actions,omitempty"`
}

type attemptView struct {
	ID            string           `json:"attempt_id,omitempty"`
	Parent        string           `json:"parent_id,omitempty"`
	Kind          string           `json:"kind,omitempty"`
	Worker        string           `json:"worker,omitempty"`
	State         string           `json:"state,omitempty"`
	StartedAt     time.Time        `json:"started_at"`
	ClosedAt      time.Time        `json:"closed_at,omitzero"`
	Inputs        int              `json:"inputs,omitempty"`
	Status        int              `json:"http_status,omitempty"`
	CorrelationID string           `json:"correlation_id,omitempty"`
	Detail        string           `json:"detail,omitempty"`
	Errors        []storyErrorView `json:"errors,omitempty"`
}

type storyErrorView struct {
	At       time.Time  `json:"at"`
	Category string     `json:"category,omitempty"`
	Property string     `json:"property,omitempty"`
	Rule     string     `json:"rule,omitempty"`
	Value    string     `json:"value,omitempty"`
	Message  string     `json:"message"`
	Raw      *bytesJSON `json:"raw,omitempty"`
}

type revisionView struct {
	Revision int        `json:"revision"`
	Action   int64      `json:"action,omitempty"`
	At       time.Time  `json:"at,omitzero"`
	Payload  *eventJSON `json:"payload"`
}

func storyViewOf(s operator.Story) storyView {
	v := storyView{view: viewOf(s.Record), Group: s.Group, Advice: s.Advice, DeadAt: s.DeadAt, Revision: s.Revision, Actions: s.Actions}
	for _, a := range s.Attempts {
		av := attemptView{
			ID: idView(a.ID), Parent: idView(a.Parent), Kind: a.Kind, Worker: a.Worker, State: a.State, StartedAt: a.StartedAt, ClosedAt: a.ClosedAt,
			Inputs: a.Inputs, Status: a.Status, CorrelationID: a.CorrelationID, Detail: a.Detail,
		}
		for _, e := range a.Errors {
			av.Errors = append(av.Errors, storyErrorView{e.At, e.Category, e.Property, e.Rule, e.Value, e.Message, bytesView(e.Raw)})
		}
		v.Attempts = append(v.Attempts, av)
	}
	for _, r := range s.Revisions {
		v.Revisions = append(v.Revisions, revisionView{r.Number, r.Action, r.At, eventView(r.Payload)})
	}
	return v
}

func (v storyView) print(out io.Writer, s screen) error {
	if err := v.view.print(out, s); err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, printable(value))
		}
	}
	line("group", v.Group)
	line("what to do", v.Advice)
	seen := told{v.Error}
	for i, a := range v.Attempts {
		line(fmt.Sprintf("attempt %d", i+1), a.headline())
		for _, e := range a.Errors {
			line("  error", seen.once(errorView{Category: e.Category, Message: e.Message}.headline()))
			line("  property", e.Property)
			line("  rule", e.Rule)
			line("  value", e.Value)
			if e.Raw != nil {
				line("  as received", seen.without(e.Raw.String(), e.Message))
			}
		}
	}
	for _, r := range v.Revisions {
		name := fmt.Sprintf("revision %d", r.Revision)
		if r.Revision == 0 {
			name = "original"
		}
		if v.Payload != nil && *r.Payload == *v.Payload {
			line(name, "the payload above")
			continue
		}
		line(name, r.Payload.String())
	}
	for _, a := range v.Actions {
		line("done on "+localTime(a.At), actionWords(a))
	}
	return t.Flush()
}

func (a attemptView) headline() string {
	s := localTime(a.StartedAt)
	if a.Kind == "" {
		return s + ", without a call"
	}
	s += fmt.Sprintf(", %s with %s by %s, %s", a.Kind, count(a.Inputs, "event"), a.Worker, a.State)
	if a.Status != 0 {
		s += fmt.Sprintf(", HTTP %d", a.Status)
	}
	if a.CorrelationID != "" {
		s += ", correlation id " + a.CorrelationID
	}
	return s
}
