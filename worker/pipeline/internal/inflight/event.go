package inflight

import (
	"time"

	"crmintake/worker"
	"crmintake/worker/event"
)

// Overhead is about what an event in hand takes up beside its bytes.
const Overhead = 768

// Event is an event in hand: what its message said, and what is sent of it.
type Event struct {
	*worker.Event
	Content event.Content

	// A Set guards these, of an event that is in it and not answered yet.
	extended   time.Time // when it arrived, or when its ack deadline was last extended
	prev, next *Event    // the event extended before it, and after it
}

// Read makes the Event of a message. What is wrong with it is in Invalid then.
func Read(e *worker.Event, idProperty string) *Event {
	return &Event{Event: e, Content: event.Read(e, idProperty)}
}

// Size is about what the event takes up.
func (e *Event) Size() int { return len(e.Payload) + e.Content.Input.Len() + Overhead }

// SizeOf is about what events take up.
func SizeOf(events []*Event) (bytes int) {
	for _, e := range events {
		bytes += e.Size()
	}
	return bytes
}
