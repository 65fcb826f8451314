package jetstream

import (
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/worker"
)

// Not every message is an event: the server keeps its own in a stream, known by their headers.

const (
	scheduleHeader = "Nats-Schedule"      // what is to be published later, and where
	markerHeader   = "Nats-Marker-Reason" // the last message of the subject was dropped
	scheduleWait   = time.Hour            // between two looks at a schedule
)

// read delivers a message if it is an event. A schedule stays in the stream, for to ack it cancels it: only what is a
// copy of one, which nobody follows, is acked.
func (r *reader) read(m *nats.Msg, deliver func(*worker.Event)) {
	if len(m.Header) == 0 {
		deliver(r.event(m))
		return
	}
	stream := r.view.stream.CachedInfo().Config
	switch answer := (&message{r.nc, m.Reply}); {
	// A mirror, or a stream with sources, has no schedules of its own.
	case m.Header.Get(scheduleHeader) != "" && (stream.Mirror != nil || len(stream.Sources) > 0):
		r.skip(m, "a copy of a schedule, which nobody follows; it is acked")
		_ = answer.Ack()
	case m.Header.Get(scheduleHeader) != "":
		r.skip(m, "a schedule, which is no event; it stays in the stream until it is due, and --drain waits for "+
			"it; type 'crmintake check'")
		_ = answer.Nak(scheduleWait)
	case len(m.Data) == 0 && m.Header.Get(markerHeader) != "" && stream.SubjectDeleteMarkerTTL > 0:
		r.skip(m, "a marker: the stream has dropped events before they were taken; type 'crmintake check'")
		_ = answer.Ack()
	default:
		deliver(r.event(m))
	}
}

// skip logs the first message that is skipped for a reason.
func (r *reader) skip(m *nats.Msg, why string) {
	if !r.skipped[why] {
		r.skipped[why] = true
		r.view.cfg.log().Warn("a message is "+why, "subject", m.Subject)
	}
}
