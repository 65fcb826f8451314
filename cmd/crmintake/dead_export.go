package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

type deadExportCmd struct {
	flags.Database
	deadFilterFlags
	Format string `help:"json: an event a line; csv: with a line of names first." enum:"json,csv" default:"json" placeholder:"json|csv"`
}

func (deadExportCmd) Help() string {
	return "The events go to standard output with their ids, object types and errors, and publish takes them in " +
		"again, edited or not. " +
		"They stay dead here. With --redact it writes nothing."
}

// exportLine is an event as dead export writes it in a line, and publish reads it. The event is in one of the three
// last members.
type exportLine struct {
	EventID    string          `json:"event_id"`
	ObjectType string          `json:"object_type"`
	Reason     string          `json:"reason,omitempty"`
	Group      string          `json:"group,omitempty"`
	Error      string          `json:"error,omitempty"`
	DeadAt     time.Time       `json:"dead_at,omitzero"`
	Event      json.RawMessage `json:"event,omitempty"`        // JSON in one line: byte for byte
	Text       *string         `json:"event_text,omitempty"`   // other text
	Base64     []byte          `json:"event_base64,omitempty"` // no text
}

// exportStart is how each exported line begins, and no event does.
const exportStart = `{"event_id":`

// exportColumns are the names of a CSV's columns. Those after the first two are for the reader, but for the last two,
// one of which holds the event.
var exportColumns = []string{"event_id", "object_type", "reason", "group", "error", "dead_at", "event", "event_base64"}

func (c *deadExportCmd) Run(ctx context.Context, p *program) error {
	if p.Redact {
		return flags.Usagef("dead export writes events out whole, which --redact (or CRMINTAKE_REDACT) forbids; " +
			"--no-redact allows it")
	}
	d, err := readSession(ctx, c.Database)
	if err != nil {
		return err
	}
	defer d.store.Close()
	out := bufio.NewWriterSize(p.out, 64<<10)
	write := jsonExporter(out)
	finish := out.Flush
	if c.Format == "csv" {
		w := csv.NewWriter(out)
		if err := w.Write(exportColumns); err != nil {
			return err
		}
		write = func(e operator.Exported) error { return w.Write(csvRow(e)) }
		finish = func() error {
			w.Flush()
			return out.Flush()
		}
	}
	n := 0
	err = d.DeadLetters.Export(ctx, c.filter(), func(e operator.Exported) error {
		n++
		return write(e)
	})
	if err != nil {
		return operatorError(err)
	}
	if err := finish(); err != nil {
		return err
	}
	fmt.Fprintf(p.err, "Exported %s.\n", view.Count(n, "event"))
	return nil
}

func jsonExporter(out *bufio.Writer) func(operator.Exported) error {
	return func(e operator.Exported) error {
		l := exportLine{EventID: e.EventID, ObjectType: e.ObjectType, Reason: string(e.Reason), Group: e.Group,
			Error: e.Error, DeadAt: e.DeadAt}
		raw := json.Valid(e.Payload) && utf8.Valid(e.Payload) && !bytes.ContainsAny(e.Payload, "\r\n") &&
			len(bytes.TrimSpace(e.Payload)) == len(e.Payload)
		switch {
		case raw:
		case utf8.Valid(e.Payload):
			text := string(e.Payload)
			l.Text = &text
		default:
			l.Base64 = e.Payload
		}
		head, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if raw { // by hand, since an encoder would compact it, and other bytes are another event
			head = append(head[:len(head)-1], `,"event":`...)
			head = append(append(head, e.Payload...), '}')
		}
		_, err = out.Write(append(head, '\n'))
		return err
	}
}

func csvRow(e operator.Exported) []string {
	row := []string{e.EventID, e.ObjectType, string(e.Reason), e.Group, e.Error, e.DeadAt.UTC().Format(time.RFC3339),
		"", ""}
	// A CSV's reader turns \r\n into \n.
	if utf8.Valid(e.Payload) && !bytes.Contains(e.Payload, []byte("\r")) {
		row[6] = string(e.Payload)
	} else {
		row[7] = base64.StdEncoding.EncodeToString(e.Payload)
	}
	return row
}
