package pipeline

import (
	"slices"
	"time"

	"crmintake/outbox"
)

// Health tells whether a worker can do its work.
type Health struct {
	// DatabaseFails and StreamFails are for how long what is asked of them has failed by now; 0 if it works. Of a
	// stream that nothing is fetched from, because of a pause, only the snapshot for Config.Metrics learns that it works
	// again.
	DatabaseFails, StreamFails time.Duration
	// Database is what is the matter with it, as the last failure tells.
	Database outbox.Fault
	// Paused names what is paused and for which cause, as "contracts (breaker)", sorted. A worker can work nevertheless.
	Paused []string
}

// Health may be asked at any time, and asks nobody. That it answers shows that the worker goes on: it takes the
// locks that all its work takes.
func (w *Worker) Health() Health {
	h := Health{StreamFails: w.stream.lasting()}
	var err error
	h.DatabaseFails, err = w.database.failure()
	h.Database = outbox.FaultOf(err)
	w.inflight.Events()
	w.waiting.len()
	for _, p := range w.pauses.List() {
		h.Paused = append(h.Paused, pausedName(p.Key)+" ("+string(p.Cause)+")")
	}
	slices.Sort(h.Paused)
	return h
}
