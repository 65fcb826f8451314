package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type deadShowCmd struct {
	flags.Database
	EventID string `arg:"" name:"event-id" help:"The event's id, as in the outbox. It need not be dead (any more)."`
}

func (c *deadShowCmd) Run(ctx context.Context, p *program) error {
	d, err := readSession(ctx, c.Database)
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
		return view.JSON(p.out, v)
	}
	return v.Print(p.out, p.screen())
}

// storyView is a story as JSON: the row as outbox get shows it, and what else there is.
type storyView struct {
	view.Event
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
	At       time.Time   `json:"at"`
	Category string      `json:"category,omitempty"`
	Property string      `json:"property,omitempty"`
	Rule     string      `json:"rule,omitempty"`
	Value    string      `json:"value,omitempty"`
	Message  string      `json:"message"`
	Raw      *view.Bytes `json:"raw,omitempty"`
}

type revisionView struct {
	Revision int           `json:"revision"`
	Action   int64         `json:"action,omitempty"`
	At       time.Time     `json:"at,omitzero"`
	Payload  *view.Payload `json:"payload"`
}

func storyViewOf(s operator.Story) storyView {
	v := storyView{Event: view.EventOf(s.Record), Group: s.Group, Advice: s.Advice, DeadAt: s.DeadAt,
		Revision: s.Revision, Actions: s.Actions}
	for _, a := range s.Attempts {
		av := attemptView{
			ID: view.ID(a.ID), Parent: view.ID(a.Parent), Kind: a.Kind, Worker: a.Worker, State: a.State,
			StartedAt: a.StartedAt, ClosedAt: a.ClosedAt,
			Inputs: a.Inputs, Status: a.Status, CorrelationID: a.CorrelationID, Detail: a.Detail,
		}
		for _, e := range a.Errors {
			av.Errors = append(av.Errors, storyErrorView{e.At, e.Category, e.Property, e.Rule, e.Value, e.Message,
				view.BytesOf(e.Raw)})
		}
		v.Attempts = append(v.Attempts, av)
	}
	for _, r := range s.Revisions {
		v.Revisions = append(v.Revisions, revisionView{r.Number, r.Action, r.At, view.PayloadOf(r.Payload)})
	}
	return v
}

// Print prints it for people.
func (v storyView) Print(out io.Writer, s view.Screen) error {
	if err := v.Event.Print(out, s); err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, view.Printable(value))
		}
	}
	line("group", v.Group)
	line("what to do", v.Advice)
	seen := view.Shown{v.Error}
	for i, a := range v.Attempts {
		line(fmt.Sprintf("attempt %d", i+1), a.headline())
		for _, e := range a.Errors {
			line("  error", seen.Once(view.EventError{Category: e.Category, Message: e.Message}.Headline()))
			line("  property", e.Property)
			line("  rule", e.Rule)
			line("  value", e.Value)
			if e.Raw != nil {
				line("  as received", seen.Without(e.Raw.String(), e.Message))
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
		line("done on "+view.Time(a.At), actionWords(a))
	}
	return t.Flush()
}

func (a attemptView) headline() string {
	s := view.Time(a.StartedAt)
	if a.Kind == "" {
		return s + ", without a call"
	}
	s += fmt.Sprintf(", %s with %s by %s, %s", a.Kind, view.Count(a.Inputs, "event"), a.Worker, a.State)
	if a.Status != 0 {
		s += fmt.Sprintf(", HTTP %d", a.Status)
	}
	if a.CorrelationID != "" {
		s += ", correlation id " + a.CorrelationID
	}
	return s
}
