package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

type outboxGetCmd struct {
	natsFlags
	databaseFlags
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
	store, err := openStore(ctx, c.databaseFlags, 2)
	if err != nil {
		return err
	}
	defer store.Close()
	var views []any
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
		var found []any
		found, lost = c.inStream(ctx, p, absent)
		views = append(views, found...)
	}
	return errors.Join(c.print(p, views), lost)
}

func (c *outboxGetCmd) print(p *program, views []any) error {
	switch {
	case views == nil:
		return nil
	case p.Output == "json" && len(c.EventIDs) == 1:
		return printJSON(p.out, views[0])
	case p.Output == "json":
		return printJSON(p.out, views)
	}
	for i, v := range views {
		if i > 0 {
			fmt.Fprintln(p.out)
		}
		if err := v.(interface{ print(io.Writer, screen) error }).print(p.out, p.screen()); err != nil {
			return err
		}
	}
	return nil
}

// viewEvent shows a row with its errors.
func viewEvent(ctx context.Context, p *program, store *outbox.Store, id string) (view, error) {
	record, err := store.Read.Get(ctx, id)
	if err != nil {
		return view{}, err
	}
	history, err := store.Read.History(ctx, id)
	if err != nil {
		return view{}, err
	}
	p.redactRecord(&record)
	v := viewOf(record)
	for _, h := range history {
		p.redact(&h.Message)
		if p.Redact {
			h.Raw = nil
		}
		v.Errors = append(v.Errors, errorView{
			At: h.At, AttemptID: idView(h.AttemptID), HTTPStatus: h.Status, CorrelationID: h.CorrelationID,
			Category: h.Category, Message: h.Message, Raw: bytesView(h.Raw),
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

func (v waitingView) print(out io.Writer, s screen) error {
	t := newTable(column{}, column{})
	for _, line := range [][2]string{
		{"event", v.EventID}, {"object type", v.ObjectType},
		{"status", fmt.Sprintf("waiting in the stream, %s before it", grouped(v.Before))},
		{"message", fmt.Sprintf("%s:%d", v.Stream, v.StreamSeq)}, {"published", localTime(v.PublishedAt)},
	} {
		t.row(faint.cell(line[0]), line[1])
	}
	return t.print(out, s.uncut())
}

// inStream looks for events that the outbox has not. The error tells which are not there either.
func (c *outboxGetCmd) inStream(ctx context.Context, p *program, ids []string) (views []any, err error) {
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
		return views, usagef("%s, nor has the stream %s", noEvent(ids), c.Stream)
	}
	return views, fmt.Errorf("%s, nor is it among the first %s of some %s events in the stream %s; "+
		"the others were not looked at", noEvent(ids), grouped(s.Looked), grouped(s.All), c.Stream)
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
	if err := errors.Join(c.natsFlags.validate(), cfg.Validate()); err != nil {
		return jetstream.Search{}, err
	}
	nc, err := c.connect("crmintake outbox get", p.log)
	if err != nil {
		return jetstream.Search{}, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, findPatience)
	defer cancel()
	return jetstream.Find(ctx, nc, cfg, ids, findMost)
}
