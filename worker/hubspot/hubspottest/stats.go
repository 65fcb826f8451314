package hubspottest

import (
	"maps"
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

// Stats tells what has happened so far. The maps are the caller's. A request is counted before the first byte of its
// answer leaves, so who has an answer finds it counted.
func (c *CRM) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Statuses, s.Faults = maps.Clone(s.Statuses), maps.Clone(s.Faults)
	s.MostInWindow = c.quota.most
	return s
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

// Calls tells of the last requests, at most Config.KeepCalls, in the order of their answers.
func (c *CRM) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := make([]Call, 0, len(c.calls))
	calls = append(calls, c.calls[c.next:]...)
	return append(calls, c.calls[:c.next]...)
}

// record counts a request.
func (c *CRM) record(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
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
	if c.cfg.KeepCalls == 0 {
		return
	}
	call := Call{
		At: c.cfg.Now(), Method: x.r.Method, Path: x.r.URL.Path, Status: x.status,
		Inputs: len(x.parser.inputs) + len(x.parser.values), Created: x.created, Fault: x.effect.fault,
	}
	if len(c.calls) < c.cfg.KeepCalls {
		c.calls = append(c.calls, call)
		return
	}
	c.calls[c.next] = call
	c.next = (c.next + 1) % len(c.calls)
}
