package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Stats are those counts of the Metrics that a program reads.
type Stats struct {
	Received   Count // messages from the stream
	GivenBack  Count // of these, returned to it
	Duplicates Count // of these, already in the outbox
	Calls      Count
	Created    Count // events whose record is known
	Dead       Count
	Removed    Count // created rows that were kept for long enough
}

// Count is the sum of some counters.
type Count []prometheus.Counter

// Load returns the count as it is now.
func (c Count) Load() (n int64) {
	for _, one := range c {
		var m dto.Metric
		_ = one.Write(&m) // a counter's always succeeds
		n += int64(m.GetCounter().GetValue())
	}
	return n
}

// Stats returns the counts, which may be read at any time.
func (w *Worker) Stats() *Stats {
	m := w.metrics
	s := &Stats{
		Received: Count{m.received}, GivenBack: Count{m.givenBack}, Duplicates: Count{m.duplicates},
		Removed: Count{m.removed},
		Created: Count{m.events.WithLabelValues("created", "")},
	}
	for _, reason := range deadReasons {
		s.Dead = append(s.Dead, m.events.WithLabelValues("dead", reason))
	}
	for _, kind := range callKinds {
		for _, status := range statusClasses {
			s.Calls = append(s.Calls, m.calls.WithLabelValues(kind, status))
		}
	}
	return s
}
