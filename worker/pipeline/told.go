package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker"
)

// unwell is what the last calls in a row came to that brought no answer of the CRM's about their events.
type unwell struct {
	since time.Time // the first of them; zero: the last call was answered
	times int
	kind  string
	why   string
}

// learn takes in a call. Each other answer tells that the CRM is there.
func (u *unwell) learn(class worker.Class, call *worker.Call) {
	kind := outbox.Broken
	switch class {
	case worker.Throttled:
		kind = outbox.Throttling
	case worker.Unavailable, worker.Ambiguous:
		switch {
		case call.Cause == worker.NoAnswer && class == worker.Unavailable:
			kind = outbox.Unreachable
		case call.Cause == worker.NoAnswer, call.Success: // what came can't be read
			kind = outbox.Silent
		}
	default:
		*u = unwell{}
		return
	}
	if u.since.IsZero() {
		u.since = time.Now().Add(-call.Duration)
	}
	u.times++
	u.kind, u.why = kind, call.ForLog()
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

// tell is what this worker says of itself with a beat.
func (w *Worker) tell() outbox.Told {
	now := time.Now()
	t := outbox.Told{At: now, Settings: w.cfg.settings(), Stream: w.stream.trouble(), Database: w.database.trouble()}
	if t.Database != nil {
		_, err := w.database.failure()
		t.Database.Kind = string(outbox.FaultOf(err))
	}
	if done := w.done.Load(); done > 0 {
		t.Done = time.Unix(0, done)
	}
	until, _ := w.backoff.Until()
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	if u := w.unwell; !u.since.IsZero() {
		t.CRM = &outbox.Trouble{Kind: u.kind, Why: u.why, Since: u.since, Times: u.times}
		if until.After(now) {
			t.CRM.Until = until
		}
	}
	for objectType, o := range w.readLogs {
		if trouble := o.trouble(); trouble != nil {
			if t.Reads == nil {
				t.Reads = map[string]*outbox.Trouble{}
			}
			t.Reads[objectType] = trouble
		}
	}
	return t
}

// trouble is what an outage is to others; nil if there is none.
func (o *failureLog) trouble() *outbox.Trouble {
	lasting, err := o.failure()
	if err == nil {
		return nil
	}
	return &outbox.Trouble{Why: err.Error(), Since: time.Now().Add(-lasting)}
}

// sight is the fleet as the last survey saw it.
type sight struct {
	mu   sync.Mutex // guards what follows
	at   time.Time  // by this process's clock; zero: never
	last operator.Sight
}

// keepSight takes over what a survey found; what it did not find stays as it was, but for a stream that can't be asked.
func (w *Worker) keepSight(s *snapshot) {
	w.sight.mu.Lock()
	defer w.sight.mu.Unlock()
	x := &w.sight
	if status := s.look; !status.At.IsZero() {
		if s.outboxErr != nil && x.last.Status != nil {
			status.Events = x.last.Status.Events
		}
		for _, one := range []outbox.Status{outbox.Sending, outbox.Retry, outbox.Unknown, outbox.Dead} {
			if n := s.census.Rows[one]; n > 0 {
				status.Events = append(status.Events, operator.Events{Status: one, Events: n})
			}
		}
		x.at, x.last.At, x.last.Status = time.Now(), status.At, &status
	}
	x.last.Stream, x.last.StreamWhy = nil, ""
	if s.streamErr != nil {
		x.last.StreamWhy = s.streamErr.Error()
		return
	}
	x.last.Stream = &operator.Stream{Pending: s.pending, Unacked: s.unacked, Stranded: max(0, s.stranded)}
	if paused := w.source.PausedFor(); paused > 0 {
		x.last.Stream.Paused = []operator.PausedConsumer{{Until: x.last.At.Add(paused)}}
	}
}

// Sight is how things stand, for a verdict: the fleet as it was surveyed last, some seconds ago, and what this worker
// meets itself, as it is now. It asks nobody, and may be called at any time.
func (w *Worker) Sight() operator.Sight {
	told := w.tell()
	lasting, err := w.database.failure()
	w.sight.mu.Lock()
	s, surveyed := w.sight.last, w.sight.at
	w.sight.mu.Unlock()
	if surveyed.IsZero() {
		s.At = told.At
	} else {
		s.At = s.At.Add(told.At.Sub(surveyed))
	}
	if err != nil {
		s.Fault, s.FaultSince, s.FaultWhy = outbox.FaultOf(err), s.At.Add(-lasting), err.Error()
	}
	if s.Status == nil {
		return s
	}
	told.By(s.At)
	told.Database = nil // it is the fault
	status := *s.Status
	me := operator.WorkerState{Name: w.cfg.Name, StartedAt: s.At, SeenAt: s.At, Alive: true, Told: told}
	status.Workers = slices.Clone(status.Workers)
	if i := slices.IndexFunc(status.Workers, func(o operator.WorkerState) bool { return o.Name == me.Name }); i >= 0 {
		me.StartedAt = status.Workers[i].StartedAt
		status.Workers[i] = me
	} else {
		status.Workers = append(status.Workers, me)
	}
	status.Lost = slices.DeleteFunc(slices.Clone(status.Lost),
		func(l operator.LostCalls) bool { return l.Worker == me.Name })
	status.Pauses = w.pausesNow(status.Pauses, s.At)
	s.Status = &status
	return s
}

// pausesNow are those that this worker knows of, with what was read of them.
func (w *Worker) pausesNow(read []operator.Pause, at time.Time) (list []operator.Pause) {
	for _, known := range w.pauses.List() {
		p := operator.Pause{ObjectType: known.Key, Cause: string(known.Cause)}
		for _, r := range read {
			if r.ObjectType == p.ObjectType && r.Cause == p.Cause {
				p = r
			}
		}
		if known.Cause != outbox.ByOperator {
			p.TrialAt = at.Add(time.Until(known.TrialAt))
		}
		list = append(list, p)
	}
	return list
}

// Verdict says how things stand, as Sight sees it.
func (w *Worker) Verdict() operator.Verdict { return operator.Judge(w.Sight()) }
