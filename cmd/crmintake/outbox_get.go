package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

type outboxGetCmd struct {
	flags.NATS
	flags.Database
	EventIDs []string `arg:"" name:"event-id" help:"The events' ids, as in the outbox."`
}

func (outboxGetCmd) Help() string {
	return "An event that the outbox has not is looked for in the stream, from the oldest on, for ten seconds at most. " +
		"One event is a JSON object with --output json, several are an array."
}

const (
	// findMost is how many events of the stream are looked at for those that the outbox has not.
	findMost = 500_000
	// findPatience is for how long.
	findPatience = 10 * time.Second
)

func (c *outboxGetCmd) Run(ctx context.Context, p *program) error {
	store, err := openStore(ctx, c.Database, 2)
	if err != nil {
		return err
	}
	defer store.Close()
	var views []answer
	var absent []string
	for _, id := range c.EventIDs {
		v, err := viewEvent(ctx, p, store, id)
		switch {
		case errors.Is(err, outbox.ErrNotFound):
			absent = append(absent, id)
		case err != nil:
			return err
		default:
			views = append(views, v)
		}
	}
	var lost error
	if absent != nil {
		var found []answer
		found, lost = c.inStream(ctx, p, absent)
		views = append(views, found...)
	}
	return errors.Join(c.print(p, views), lost)
}

// answer is what JSON or Print shows.
type answer interface {
	Print(io.Writer, view.Screen) error
}

func (c *outboxGetCmd) print(p *program, views []answer) error {
	switch {
	case views == nil:
		return nil
	case p.Output == "json" && len(c.EventIDs) == 1:
		return view.JSON(p.out, views[0])
	case p.Output == "json":
		return view.JSON(p.out, views)
	}
	for i, v := range views {
		if i > 0 {
			fmt.Fprintln(p.out)
		}
		if err := v.Print(p.out, p.screen()); err != nil {
			return err
		}
	}
	return nil
}

// viewEvent shows a row with its errors.
func viewEvent(ctx context.Context, p *program, store *outbox.Store, id string) (view.Event, error) {
	record, err := store.Read.Get(ctx, id)
	if err != nil {
		return view.Event{}, err
	}
	history, err := store.Read.History(ctx, id)
	if err != nil {
		return view.Event{}, err
	}
	p.redactRecord(&record)
	v := view.EventOf(record)
	for _, h := range history {
		p.redact(&h.Message)
		if p.Redact {
			h.Raw = nil
		}
		v.Errors = append(v.Errors, view.EventError{
			At: h.At, AttemptID: view.ID(h.AttemptID), HTTPStatus: h.Status, CorrelationID: h.CorrelationID,
			Category: h.Category, Message: h.Message, Raw: view.BytesOf(h.Raw),
		})
	}
	return v, nil
}

// waitingView is an event that the outbox has not yet, as JSON.
type waitingView struct {
	EventID     string    `json:"event_id"`
	ObjectType  string    `json:"object_type"`
	Status      string    `json:"status"` // in_stream
	Before      int       `json:"before"` // events of the stream that are older
	Stream      string    `json:"stream"`
	StreamSeq   uint64    `json:"stream_seq"`
	PublishedAt time.Time `json:"published_at"`
}

// Print prints it for people.
func (v waitingView) Print(out io.Writer, s view.Screen) error {
	t := view.NewTable(view.Column{}, view.Column{})
	for _, line := range [][2]string{
		{"event", v.EventID}, {"object type", v.ObjectType},
		{"status", fmt.Sprintf("waiting in the stream, %s before it", view.Grouped(v.Before))},
		{"message", fmt.Sprintf("%s:%d", v.Stream, v.StreamSeq)}, {"published", view.Time(v.PublishedAt)},
	} {
		t.Row(view.Faint.Cell(line[0]), line[1])
	}
	return t.Print(out, s.Uncut())
}

// inStream looks for events that the outbox has not. The error tells which are not there either.
func (c *outboxGetCmd) inStream(ctx context.Context, p *program, ids []string) (views []answer, err error) {
	s, err := c.find(ctx, p, ids)
	if err != nil {
		return nil, fmt.Errorf("%s, and in the stream it could not be looked for: %w", noEvent(ids), err)
	}
	for _, e := range s.Found {
		views = append(views, waitingView{
			EventID: e.ID, ObjectType: e.ObjectType, Status: "in_stream", Before: e.Before,
			Stream: c.Stream, StreamSeq: e.Seq, PublishedAt: e.Published.UTC(),
		})
		for i, id := range ids {
			if id == e.ID {
				ids = append(ids[:i:i], ids[i+1:]...)
				break
			}
		}
	}
	switch {
	case len(ids) == 0:
		return views, nil
	case s.Ended:
		return views, flags.Usagef("%s, nor has the stream %s", noEvent(ids), c.Stream)
	}
	return views, fmt.Errorf("%s, nor is it among the first %s of some %s events in the stream %s; "+
		"the others were not looked at", noEvent(ids), view.Grouped(s.Looked), view.Grouped(s.All), c.Stream)
}

func noEvent(ids []string) string {
	quotedIDs := make([]string, len(ids))
	for i, id := range ids {
		quotedIDs[i] = fmt.Sprintf("%q", id)
	}
	return "the outbox has no event with the id " + strings.Join(quotedIDs, " or ")
}

func (c *outboxGetCmd) find(ctx context.Context, p *program, ids []string) (jetstream.Search, error) {
	cfg := jetstream.Config{Stream: c.Stream, Subject: c.Subject}
	if err := errors.Join(c.NATS.Check(), cfg.Validate()); err != nil {
		return jetstream.Search{}, err
	}
	nc, err := c.Connect("crmintake outbox get", p.log)
	if err != nil {
		return jetstream.Search{}, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, findPatience)
	defer cancel()
	return jetstream.Find(ctx, nc, cfg, ids, findMost)
}
