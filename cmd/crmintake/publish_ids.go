package main

import (
	"fmt"
	"strings"

	"crmintake/cmd/crmintake/internal/view"
)

// Sent is under which names one finds again what was sent: its ids, or its place in the stream if it has none.
type Sent struct {
	IDs     []string `json:"ids,omitempty"`      // if they are few
	FirstID string   `json:"first_id,omitempty"` // if they are more: of the first event that was sent
	LastID  string   `json:"last_id,omitempty"`  // and of the last
	First   uint64   `json:"first_message,omitempty"`
	Last    uint64   `json:"last_message,omitempty"` // others' messages may lie between
}

// fewIDs are shown one by one.
const fewIDs = 3

func (s *Sent) add(id string) {
	if id == "" {
		return
	}
	if s.FirstID == "" {
		s.FirstID = id
	}
	s.LastID = id
	if len(s.IDs) <= fewIDs {
		s.IDs = append(s.IDs, id)
	}
}

// upTo is what there is to tell when the messages between these are confirmed.
func (s Sent) upTo(first, last uint64) Sent {
	switch {
	case first == 0:
		return Sent{}
	case len(s.IDs) <= fewIDs:
		s.FirstID, s.LastID = "", ""
	default:
		s.IDs = nil
	}
	s.First, s.Last = first, last
	return s
}

func (s Sent) words(stream string) string {
	switch {
	case s.First == 0:
		return ""
	case s.FirstID != "":
		return fmt.Sprintf("\nTheir ids are from %s to %s.", view.Printable(s.FirstID), view.Printable(s.LastID))
	case s.IDs != nil:
		return "\nBy id: " + view.Printable(strings.Join(s.IDs, ", ")) + "."
	case s.First == s.Last:
		return fmt.Sprintf("\nIt has no id; it is the message %d of %s.", s.First, stream)
	}
	return fmt.Sprintf("\nThey have no ids; they are among the messages %d to %d of %s.", s.First, s.Last, stream)
}
