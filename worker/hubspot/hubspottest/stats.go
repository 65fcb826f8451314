package hubspottest

import (
	"maps"
	"sync"
	"time"
)

// Stats counts what has happened since New.
type Stats struct {
	// Requests is all requests.
	Requests int
	// Calls is those that had a good credential and were within the quota: what the quota counts.
	Calls int
	// Malformed is requests that break the API's rules of form: path, method, content type, or the body's shape. A
	// correct client has none, whatever its data.
	Malformed int
	// Throttled is requests that the quota refused. Faults that answer 429 are not in it.
	Throttled int
	// Creates and Reads are the calls that were correct in form, those that met a fault included.
	Creates, Reads int
	// Refreshes is how many access tokens were made.
	Refreshes int
	// Inputs is how many inputs these creates had.
	Inputs int
	// Created is how many records calls have made.
	Created int
	// Statuses is how many answers had each status. 0 stands for no answer: the connection broke.
	Statuses map[int]int
	// Faults is how many calls met each fault.
	Faults map[Fault]int
	// MostInWindow is the most calls that any interval of the length Limit.Window has held.
	MostInWindow int
}

// Call describes one request.
type Call struct {
	At      time.Time // by Config.Now, when the answer began
	Method  string
	Path    string
	Status  int // 0 if the connection broke without an answer
	Inputs  int
	Created int
	Fault   Fault // None if it met none
}

// journal is what has happened.
type journal struct {
	mu    sync.Mutex // guards all below
	stats Stats
	calls []Call // the last keep, in a circle
	keep  int
	next  int // where the next one goes, once calls is full
}

func (j *journal) begin(keep int) {
	j.keep, j.stats = keep, Stats{Statuses: make(map[int]int), Faults: make(map[Fault]int)}
}

func (j *journal) read() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Statuses, s.Faults = maps.Clone(s.Statuses), maps.Clone(s.Faults)
	return s
}

// met counts a fault.
func (j *journal) met(f Fault) {
	if f == None {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Faults[f]++
}

// refreshed counts an access token.
func (j *journal) refreshed() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Refreshes++
}

// Calls are the last requests, at most Config.KeepCalls, in the order of their answers.
func (j *journal) Calls() []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	calls := make([]Call, 0, len(j.calls))
	calls = append(calls, j.calls[j.next:]...)
	return append(calls, j.calls[:j.next]...)
}

// record counts a request.
func (j *journal) record(x *exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.stats
	s.Requests++
	s.Statuses[x.status]++
	s.Created += x.created
	if x.admitted {
		s.Calls++
	}
	if x.malformed {
		s.Malformed++
	}
	if x.throttled {
		s.Throttled++
	}
	if x.formed {
		if x.read {
			s.Reads++
		} else {
			s.Creates++
			s.Inputs += len(x.parser.inputs)
		}
	}
	if j.keep == 0 {
		return
	}
	call := Call{
		At: x.crm.cfg.Now(), Method: x.r.Method, Path: x.r.URL.Path, Status: x.status,
		Inputs: len(x.parser.inputs) + len(x.parser.values), Created: x.created, Fault: x.effect.fault,
	}
	if len(j.calls) < j.keep {
		j.calls = append(j.calls, call)
		return
	}
	j.calls[j.next] = call
	j.next = (j.next + 1) % len(j.calls)
}
