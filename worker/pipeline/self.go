package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crmintake/worker/fleet"
)

// Fleet is what this worker knows of all workers, itself included. It may be used as soon as there is a Worker.
func (w *Worker) Fleet() *fleet.Member { return w.fleet }

// self is what the fleet's part asks of a worker.
type self struct{ *parts }

// State implements fleet.Self. It asks the worker's parts one after the other.
func (s self) State() (now fleet.State) {
	now.Database, now.Stream, now.Reads = s.database.outage(), s.stream.outage(), s.readLogs.outages()
	for _, p := range s.pauses.List() {
		now.Pauses = append(now.Pauses, fleet.Pause{ObjectType: p.Key, Cause: p.Cause, TrialAt: p.TrialAt})
	}
	now.HeldUntil, _ = s.backoff.Until()
	return now
}

// fetchSilent is for how long no fetch has failed when none is made, because of a pause or because nothing more may be
// taken in hand: one that goes on failing does so more often.
const fetchSilent = 10 * time.Second

// StreamAnswered implements fleet.Self.
func (s self) StreamAnswered() {
	if s.stream.calm(fetchSilent) {
		s.stream.worked()
	}
}

// outage is a failure as the fleet is told of it; the zero value: there is none.
func (o *failureLog) outage() (out fleet.Outage) {
	out.Lasting, out.Err = o.failure()
	return out
}

// settings are those that all workers are to have alike, by their flags' names.
func (c Config) settings() map[string]string {
	quota, breaker, properties := "off", "off", []string{}
	if q := c.Quota; q.Calls > 0 {
		quota = fmt.Sprintf("%d/%v", q.Calls, q.Window)
	}
	if !c.Breaker.Off {
		breaker = fmt.Sprintf("%.4g%%/%d", 100*c.Breaker.Share, c.Breaker.Window)
	}
	for _, objectType := range slices.Sorted(maps.Keys(c.IDProperty)) {
		properties = append(properties, objectType+"="+c.IDProperty[objectType])
	}
	return map[string]string{
		"quota": quota, "breaker": breaker, "id-property": strings.Join(properties, ","), "on-conflict": string(c.OnConflict),
	}
}
