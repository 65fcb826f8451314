package jetstream

import (
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/worker"
)

// Not every message is an event: the server's own way to keep things in a stream is messages with headers.

const (
	scheduleHeader = "Nats-Schedule"      // what is to be published later, and where
	markerHeader   = "Nats-Marker-Reason" // the last message of the subject was dropped
	scheduleWait   = time.Hour            // between two looks at a schedule
)

// give delivers a message if it is an event. A schedule stays in the stream, for to ack it cancels it: only what is a
// copy of one, which nobody follows, is acked.
func (s *Source) give(m *nats.Msg, deliver func(*worker.Event)) {
	if len(m.Header) == 0 {
		deliver(s.event(m))
		return
	}
	stream := s.stream.CachedInfo().Config
	switch answer := (&message{s.nc, m.Reply}); {
	// no such stream has schedules of its own
	case m.Header.Get(scheduleHeader) != "" && (stream.Mirror != nil || len(stream.Sources) > 0):
		s.leaveOut(m, "a copy of a schedule, which nobody follows; it is acked")
		_ = answer.Ack()
	case m.Header.Get(scheduleHeader) != "":
		s.leaveOut(m, "a schedule, which is no event; it stays in the stream until it is due, and --drain waits for "+
			"it; type 'crmintake check'")
		_ = answer.Nak(scheduleWait)
	case len(m.Data) == 0 && m.Header.Get(markerHeader) != "" && stream.SubjectDeleteMarkerTTL > 0:
		s.leaveOut(m, "a marker: the stream has dropped events before they were taken; type 'crmintake check'")
		_ = answer.Ack()
	default:
		deliver(s.event(m))
	}
}

// leaveOut logs the first message that is left out for a reason.
func (s *Source) leaveOut(m *nats.Msg, why string) {
	if !s.aside[why] {
		s.aside[why] = true
		s.cfg.log().Warn("a message is "+why, "subject", m.Subject)
	}
}
