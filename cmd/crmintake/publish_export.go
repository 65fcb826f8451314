package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"crmintake/worker"
)

// unwrap takes the event out of a line that dead export wrote. Other lines it leaves as they are.
func (l *line) unwrap() error {
	if !bytes.HasPrefix(l.text, []byte(exportStart)) {
		return nil
	}
	var e exportLine
	if err := json.Unmarshal(l.text, &e); err != nil {
		return fmt.Errorf("an exported event that can't be read: %w", err)
	}
	switch {
	case e.Text != nil:
		l.text = []byte(*e.Text)
	case e.Base64 != nil:
		l.text = e.Base64
	default:
		l.text = e.Event
	}
	return l.export(e.EventID, e.ObjectType)
}

// export makes it a line whose id and object type are known.
func (l *line) export(id, objectType string) error {
	l.exported, l.id, l.objectType = true, id, objectType
	switch {
	case id == "":
		return errors.New("an exported event without its id")
	case len(l.text) > worker.MaxEventBytes:
		return fmt.Errorf("the event has more than the %d bytes that one may have", worker.MaxEventBytes)
	}
	return nil
}

// readCSV does for what dead export --format csv wrote what readLines does for lines.
func readCSV(ctx context.Context, r io.Reader, lines chan<- line) {
	send := func(l line) bool {
		select {
		case lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	in := csv.NewReader(r)
	in.ReuseRecord = true
	names, err := in.Read()
	if err == nil {
		names[0] = strings.TrimPrefix(names[0], "\ufeff") // spreadsheets put it there
	}
	column := map[string]int{}
	for _, name := range exportColumns {
		column[name] = slices.Index(names, name)
	}
	if err == nil && (column["event_id"] < 0 || column["object_type"] < 0 || column["event"] < 0) {
		err = errors.New("the columns event_id, object_type and event are wanted, with these names in the first line")
	}
	for l := (line{number: 1}); ; {
		var row []string
		if err == nil {
			row, err = in.Read()
		}
		if err != nil {
			l.err = err
			send(l)
			return
		}
		number, _ := in.FieldPos(0)
		l = line{number: number, end: in.InputOffset(), exported: true}
		get := func(name string) string {
			if at := column[name]; at >= 0 {
				return row[at]
			}
			return ""
		}
		l.text = []byte(get("event"))
		if b := get("event_base64"); b != "" {
			if l.text, l.bad = base64.StdEncoding.DecodeString(b); l.bad != nil {
				l.bad = fmt.Errorf("event_base64: %w", l.bad)
			}
		}
		if l.bad == nil {
			l.bad = l.export(get("event_id"), get("object_type"))
		}
		if !send(l) {
			return
		}
	}
}
