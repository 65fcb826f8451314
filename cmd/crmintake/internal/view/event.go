package view

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"crmintake/outbox"
)

// view is a row of the outbox as JSON.
type Event struct {
	EventID           string    `json:"event_id"`
	ObjectType        string    `json:"object_type"`
	Status            string    `json:"status"`
	Reason            string    `json:"reason,omitempty"`
	Error             string    `json:"error,omitempty"`
	RecordID          string    `json:"record_id,omitempty"`
	RecordURL         string    `json:"record_url,omitempty"`
	Warnings          any       `json:"warnings,omitempty"`
	Attempts          int       `json:"attempts"`
	AttemptID         string    `json:"attempt_id,omitempty"`
	NextAttemptAt     time.Time `json:"next_attempt_at,omitzero"`
	PossibleDuplicate bool      `json:"possible_duplicate"`
	Stream            string    `json:"stream"`
	StreamSeq         uint64    `json:"stream_seq"`
	ReceivedAt        time.Time `json:"received_at"`
	UpdatedAt         time.Time `json:"updated_at"`
	Payload           *Payload  `json:"payload,omitempty"`
	Result            *Bytes    `json:"result,omitempty"`

	Errors []EventError `json:"errors,omitempty"`
}

type EventError struct {
	At            time.Time `json:"at"`
	AttemptID     string    `json:"attempt_id,omitempty"`
	HTTPStatus    int       `json:"http_status,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Category      string    `json:"category,omitempty"`
	Message       string    `json:"message"`
	Raw           *Bytes    `json:"raw,omitempty"`
}

func ID(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func EventOf(r outbox.Record) Event {
	v := Event{
		EventID: r.EventID, ObjectType: r.ObjectType, Status: string(r.Status), Reason: string(r.Reason), Error: r.Error,
		RecordID: r.RecordID, RecordURL: r.RecordURL, Attempts: r.Attempts, AttemptID: ID(r.AttemptID),
		NextAttemptAt: r.NextAttemptAt, PossibleDuplicate: r.PossibleDuplicate, Stream: r.Stream, StreamSeq: r.StreamSeq,
		ReceivedAt: r.ReceivedAt, UpdatedAt: r.UpdatedAt, Payload: PayloadOf(r.Payload), Result: BytesOf(r.Result),
	}
	if json.Valid([]byte(r.Warnings)) {
		v.Warnings = json.RawMessage(r.Warnings)
	} else if r.Warnings != "" {
		v.Warnings = r.Warnings
	}
	return v
}

func (v Event) Print(out io.Writer, s Screen) error {
	t := NewTable(Column{}, Column{})
	line := func(name string, value any) {
		c, ok := value.(Cell)
		if !ok {
			c.Text = fmt.Sprint(value)
		}
		if c.Text != "" {
			t.Row(Faint.Cell(name), c)
		}
	}
	line("event", v.EventID)
	line("object type", v.ObjectType)
	status := Status(v.Status)
	if v.Reason != "" {
		status.Text += " (" + v.Reason + ")"
	}
	if v.PossibleDuplicate {
		status.Text += ", possible duplicate"
	}
	line("status", status)
	line("record", v.RecordID)
	line("url", v.RecordURL)
	line("error", v.Error)
	line("attempts", v.Attempts)
	if !v.NextAttemptAt.IsZero() {
		line("next attempt", Time(v.NextAttemptAt))
	}
	line("message", fmt.Sprintf("%s:%d", v.Stream, v.StreamSeq))
	line("received", Time(v.ReceivedAt))
	line("updated", Time(v.UpdatedAt))
	if v.Warnings != nil {
		line("warnings", v.Warnings)
	}
	if v.Payload != nil {
		line("payload", v.Payload)
	}
	if v.Result != nil {
		line("result", v.Result)
	}
	for _, e := range v.Errors {
		line("met on "+Time(e.At), e.Headline())
		if e.Raw != nil {
			line("", e.Raw)
		}
	}
	return t.Print(out, s.Uncut())
}

func (e EventError) Headline() string {
	s := e.Message
	if e.Category != "" {
		s = e.Category + ": " + s
	}
	if e.HTTPStatus != 0 {
		s += fmt.Sprintf(" (HTTP %d", e.HTTPStatus)
		if e.CorrelationID != "" {
			s += ", correlation id " + e.CorrelationID
		}
		s += ")"
	}
	return s
}
