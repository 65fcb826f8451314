package inflight

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"crmintake/worker"
)

type message struct{ extended []time.Time }

func (m *message) Ack() error              { return nil }
func (m *message) Nak(time.Duration) error { return nil }
func (m *message) InProgress() error       { m.extended = append(m.extended, time.Time{}); return nil }

func newEvent(k int) (*Event, *message) {
	m := &message{}
	return Read(&worker.Event{ID: fmt.Sprint(k), ObjectType: "deals", Payload: []byte(`{"properties":{}}`), Message: m}, ""), m
}

// The deadline of what is not answered is extended each third of the ack wait, and of nothing else.
func TestExtendAcks(t *testing.T) {
	s := New(Config{Memory: 64 << 20, Calls: 8, BatchSize: 100, AckWait: 30 * time.Second})
	start := time.Now()
	var events []*Event
	var messages []*message
	for k := range 3 {
		e, m := newEvent(k)
		s.Add(e, start.Add(time.Duration(k)*time.Second))
		events, messages = append(events, e), append(messages, m)
	}
	expect := func(after time.Duration, want ...int) {
		t.Helper()
		s.ExtendAcks(start.Add(after))
		var got []int
		for _, m := range messages {
			got = append(got, len(m.extended))
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %v: extended %v times, want %v", after, got, want)
		}
	}
	expect(9*time.Second, 0, 0, 0)
	expect(11*time.Second, 1, 1, 0)
	s.Answered(events[1:2])
	expect(21*time.Second, 2, 1, 1)
	if s.Events() != 3 {
		t.Error("an answered event is out of hand before its outcome")
	}
	s.Answered([]*Event{events[0], events[2]})
	expect(time.Hour, 2, 1, 1)
	s.Done(3, SizeOf(events))
	if s.Events() != 0 || s.Bytes() != 0 {
		t.Errorf("%d events of %d bytes are left", s.Events(), s.Bytes())
	}
}

// Who waits for room is woken by what makes some, also if that was before it waited.
func TestChanged(t *testing.T) {
	s := New(Config{Memory: 8 << 20, Calls: 1, BatchSize: 1, AckWait: time.Minute})
	var events []*Event
	for k := range 2 {
		e, _ := newEvent(k)
		s.Add(e, time.Now())
		events = append(events, e)
	}
	if n, _ := s.Room(); n != 0 {
		t.Fatalf("room for %d", n)
	}
	s.Answered(events)
	s.Done(2, SizeOf(events))
	<-s.Changed()
	if n, _ := s.Room(); n != 2 {
		t.Errorf("room for %d", n)
	}
}
