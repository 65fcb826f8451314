package inflight

import (
	"sync"
	"time"

	"crmintake/worker"
)

// minFetch lets the largest event that is valid come, with its subject and headers.
const minFetch = worker.MaxEventBytes + 4096

// Config bounds a Set. All fields are required.
type Config struct {
	Memory    int           // that all events in hand and all claimed rows may take up, about
	Calls     int           // that are made at once
	BatchSize int           // events that a call carries at most
	AckWait   time.Duration // after which the stream delivers again what was neither acked nor extended
}

// Set is what a worker has in hand: events, and claimed rows. New makes one.
type Set struct {
	cfg     Config
	changed chan struct{} // holds one

	mu      sync.Mutex
	events  int   // from their arrival to their outcome
	bytes   int   // that these take up
	ring    Event // its next is the unanswered event that was extended the longest ago
	claims  int   // of rows, from the decision to their outcome
	claimed int   // bytes that these rows take up, or might
}

// New makes a Set with nothing in it.
func New(cfg Config) *Set {
	s := &Set{cfg: cfg, changed: make(chan struct{}, 1)}
	s.ring.prev, s.ring.next = &s.ring, &s.ring
	return s
}

// Add takes an event in hand, which arrived now.
func (s *Set) Add(e *Event, now time.Time) {
	e.extended = now
	size := e.Size()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	s.bytes += size
	s.append(e)
}

// Answered ends the extension of the ack deadlines of events that were acked or given back. They stay in hand.
func (s *Set) Answered(events []*Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		s.remove(e)
	}
}

// Done takes so many answered events, of so many bytes by Size, out of hand.
func (s *Set) Done(events, bytes int) {
	s.mu.Lock()
	s.events -= events
	s.bytes -= bytes
	s.mu.Unlock()
	s.Wake()
}

// ExtendAcks extends the ack deadline of each event that was not answered, nor extended, for a third of the ack wait.
func (s *Set) ExtendAcks(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.ring.next; e != &s.ring && now.Sub(e.extended) >= s.cfg.AckWait/3; e = s.ring.next {
		s.remove(e)
		e.extended = now
		s.append(e)
		_ = e.Message.InProgress() // lost, the message is delivered again, which the outbox makes harmless
	}
}

// Room returns how many events, and how many bytes of them, a fetch may bring so that all have room. It is 0, 0 while a
// fetch is not worth its while.
func (s *Set) Room() (events, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.most()
	room := s.cfg.Memory - s.memoryForClaims() - s.bytes
	events = min(most-s.events, room/2/Overhead, (room-2*minFetch)/Overhead)
	if events < max(1, min(s.cfg.BatchSize, most/4)) {
		return 0, 0
	}
	return events, (room - events*Overhead) / 2
}

// most bounds the events in hand: enough for each call under way, and as many full batches that wait.
func (s *Set) most() int { return 2 * s.cfg.Calls * s.cfg.BatchSize }

// Changed receives after there may be more room, and after Wake. One goroutine may wait for it.
func (s *Set) Changed() <-chan struct{} { return s.changed }

// Wake makes who waits for Changed look again.
func (s *Set) Wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Events returns how many events are in hand.
func (s *Set) Events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// Bytes returns what is in hand takes up, claimed rows included.
func (s *Set) Bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes + s.claimed
}

func (s *Set) append(e *Event) {
	e.prev, e.next = s.ring.prev, &s.ring
	e.prev.next, s.ring.prev = e, e
}

func (s *Set) remove(e *Event) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
