package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// well is a fleet of two that has work and does it.
func well() Sight {
	told := outbox.Told{At: noon, Done: ago(time.Second), Settings: map[string]string{"quota": "100/10s",
		"on-conflict": "dead"}}
	return Sight{
		At: noon,
		Status: &Status{Snapshot: outbox.Snapshot{
			At: noon, Events: []outbox.EventCount{{ObjectType: "deals", Status: outbox.Sending, Events: 200},
				{ObjectType: "deals", Status: outbox.Created, Events: 9000}},
			Workers: []outbox.Worker{
				{Name: "a", StartedAt: ago(time.Hour), SeenAt: noon, Alive: true, Told: told},
				{Name: "b", StartedAt: ago(time.Hour), SeenAt: noon, Alive: true, Told: told},
			},
		}},
		Stream: &Stream{Name: "CRM_EVENTS", Pending: 1000, Unacked: 4},
	}
}

// tell changes what workers say of themselves.
func (s *Sight) tell(change func(*outbox.Told), names ...string) {
	for i := range s.Status.Workers {
		if w := &s.Status.Workers[i]; len(names) == 0 || slices.Contains(names, w.Name) {
			change(&w.Told)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	away := &outbox.Trouble{Kind: outbox.Broken, Why: "502 Bad Gateway", Since: ago(3 * time.Minute),
		Until: noon.Add(12 * time.Second), Times: 9}
	idle := func(s *Sight) { s.Status.Events, s.Stream.Pending, s.Stream.Unacked = nil, 0, 0 }
	pause := func(p ...outbox.Pause) func(*Sight) { return func(s *Sight) { s.Status.Pauses = p } }
	for _, c := range []struct {
		name    string
		change  func(*Sight)
		text    string
		person  bool
		stopped bool
		has     []string // in what there is to see and to do
	}{
		{"all is well", func(*Sight) {}, "moving: 1,204 events under way or waiting", false, false, nil},
		{"nothing to do", idle, "idle: nothing waits", false, false, nil},
		{"a worker that starts", func(s *Sight) { s.Status, s.Stream = nil, nil },
			"idle: how things stand is not known yet", false, false, nil},
		{"all waits for its time", func(s *Sight) {
			idle(s)
			s.Status.Events = []outbox.EventCount{{Status: outbox.Retry, Events: 5, Next: noon.Add(12 * time.Minute)}}
		}, "moving: 5 events under way or waiting, the next to be sent or asked about in 12m", false, false, nil},

		{"Postgres is away", func(s *Sight) {
			s.Status, s.Fault, s.FaultWhy = nil, outbox.Away, "connection refused"
		}, "in trouble: Postgres does not answer", true, true, []string{"connection refused", "--database-url"}},
		{"Postgres takes no writes", func(s *Sight) { s.Status.ReadOnly = true; s.Status.Workers = nil },
			"in trouble: Postgres takes no writes", true, true, []string{"target_session_attrs", "no worker is there"}},
		{"a full disk", func(s *Sight) {
			s.tell(func(t *outbox.Told) {
				t.Database = &outbox.Trouble{Kind: string(outbox.Full), Why: "No space left on device",
					Since: ago(time.Minute)}
			}, "b")
		}, "in trouble: Postgres has no room left, as b of 2 workers tell, for 1m", true, true,
			[]string{"No space left", "make room"}},
		{"a lock", func(s *Sight) {
			s.Status.Locks = []outbox.Lock{{PID: 77, User: "bob", Program: "psql", Waiting: 3, Since: ago(20 * time.Second)}}
		},
			"in trouble: session 77 of the database holds a lock that 3 others wait for, for 20s", true, true,
			[]string{"bob, psql", "pg_terminate_backend(77)"}},
		{"a lock that the worker has met itself", func(s *Sight) {
			s.Status.Locks = []outbox.Lock{{PID: 77, User: "bob", Program: "psql", Waiting: 3, Since: ago(20 * time.Second)}}
			s.Fault, s.FaultSince, s.FaultWhy = outbox.Locked, ago(10*time.Second), "lock timeout"
		},
			"in trouble: session 77 of the database holds a lock that 3 others wait for, for 20s", true, true,
			[]string{"bob, psql", "pg_terminate_backend(77)"}},
		{"a lock of somebody", func(s *Sight) { s.Status.Left = "locked" },
			"in trouble: somebody holds a lock on tables of the outbox, and some figures are left out", true, true,
			[]string{"pg_blocking_pids"}},
		{"NATS is away", func(s *Sight) { s.Stream, s.StreamWhy, s.StreamDo = nil, "no servers available", "start it" },
			"in trouble: NATS can't be asked for the stream", true, true, []string{"no servers available", "start it"}},
		{"what is delivered to nobody", func(s *Sight) {
			s.Stream.Stranded, s.Stream.StrandedDo = 20,
				"type 'nats consumer rm'"
		},
			"in trouble: 20 events of the stream will be delivered to nobody", true, false, []string{"nats consumer rm"}},
		{"a paused consumer", func(s *Sight) { s.Stream.Paused = []PausedConsumer{{"crmintake", noon.Add(time.Hour)}} },
			"held: somebody has paused the consumer crmintake of stream CRM_EVENTS in NATS for 1h more", true, true,
			[]string{"nats consumer resume CRM_EVENTS crmintake"}},
		{"one worker's stream", func(s *Sight) {
			s.tell(func(t *outbox.Told) { t.Stream = &outbox.Trouble{Why: "timeout", Since: ago(time.Minute)} }, "a")
		}, "in trouble: the stream delivers nothing to a, for 1m", true, false, []string{"timeout", "crmintake check"}},

		{"a wrong token", pause(outbox.Pause{ObjectType: "*", Cause: "credential", Reason: "401", Since: ago(time.Minute),
			TrialAt: noon.Add(12 * time.Second)}),
			"held: all calls are paused: the CRM refuses the credential, or there is none, for 1m, until a trial in 12s", true, true,
			[]string{"401", "--hubspot-token-file"}},
		{"a person's pause of all", pause(outbox.Pause{ObjectType: "*", Cause: "operator", Reason: "month's end", By: "ann",
			Since: ago(time.Hour)}),
			"held: all calls are paused by a person, for 1h", true, true, []string{"ann: month's end",
				"crmintake resume --all"}},
		{"a person's pause of a type", pause(outbox.Pause{ObjectType: "deals", Cause: "operator", Reason: "x",
			Since: ago(time.Hour)}),
			"held: deals is paused by a person, for 1h", false, false, []string{"crmintake resume deals"}},
		{"the breaker", pause(outbox.Pause{ObjectType: "deals", Cause: "breaker", Reason: "400 of 500", Since: ago(time.Hour),
			TrialAt: ago(time.Second)}),
			"held: deals is paused by the breaker: too many events are rejected for one reason, for 1h, and a trial " +
				"is due", true, false,
			[]string{"400 of 500", "dead groups --object-type deals"}},
		{"types for one reason", pause(
			outbox.Pause{ObjectType: "a", Cause: "answer", Reason: "403", Since: ago(time.Hour),
				TrialAt: noon.Add(time.Second)}, outbox.Pause{ObjectType: "b", Cause: "answer", Reason: "403"},
			outbox.Pause{ObjectType: "c", Cause: "answer", Reason: "403"}, outbox.Pause{ObjectType: "d", Cause: "answer",
				Reason: "403"}),
			"held: a, b, c and 1 more are paused: the CRM refuses such calls, for 1h, until a trial in 1s", true,
			false, []string{"scope", "resume a"}},
		{"the CRM asked for a wait", func(s *Sight) {
			s.Status.Quota = &outbox.QuotaState{BlockedUntil: noon.Add(time.Minute),
				BlockedWhy: "429"}
		},
			"held: the CRM wants no call for another 1m", false, true, []string{"429", "crmintake resume --all"}},

		{"the CRM is down", func(s *Sight) { s.tell(func(t *outbox.Told) { t.CRM = away }) },
			"in trouble: the CRM answers with faults of its own, for 3m, until a trial in 12s", false, true,
			[]string{"502 Bad Gateway", "goes on by itself"}},
		{"one worker's way to the CRM", func(s *Sight) {
			s.tell(func(t *outbox.Told) {
				t.CRM = &outbox.Trouble{Kind: outbox.Unreachable,
					Since: ago(time.Minute)}
			}, "b")
		}, "in trouble: the CRM can't be reached, as b of 2 workers tell, for 1m", false, false,
			[]string{"--hubspot-url"}},
		{"a slow call", func(s *Sight) { s.Status.Calls = outbox.OpenCalls{Create: 3, Oldest: ago(7 * time.Second)} },
			"moving: 1,204 events under way or waiting", false, false,
			[]string{"has not answered the oldest of 3 calls"}},
		{"calls that hang", func(s *Sight) {
			s.Status.Calls = outbox.OpenCalls{Create: 3, Oldest: ago(7 * time.Second)}
			s.tell(func(t *outbox.Told) { t.Done = ago(8 * time.Second) })
		}, "in trouble: the CRM has not answered the oldest of 3 calls, for 7s", false, true,
			[]string{"--call-timeout"}},

		{"no worker", func(s *Sight) { s.Status.Workers[0].Alive, s.Status.Workers[1].Alive = false, false },
			"in trouble: no worker is there, and 1,204 events wait, for 0s", true, true, []string{"crmintake run"}},
		{"no worker, no work", func(s *Sight) { idle(s); s.Status.Workers = nil },
			"idle: nothing waits; no worker is there", true, true, []string{"crmintake run"}},
		{"a killed worker", func(s *Sight) {
			s.Status.Lost = []outbox.LostCalls{{Worker: "c", Calls: 1, Events: 100, Lease: noon.Add(40 * time.Second)}}
		}, "moving: 1,204 events under way or waiting", false, false,
			[]string{"worker c was killed or cut off in 1 call with 100 events", "in 40s"}},
		{"different settings", func(s *Sight) {
			s.Status.Workers[1].Told.Settings = map[string]string{"quota": "190/10s", "on-conflict": "dead"}
		}, "in trouble: workers differ in --quota: 100/10s (a), 190/10s (b)", true, false,
			[]string{"the same --quota"}},
		{"reads that are refused", func(s *Sight) {
			s.tell(func(t *outbox.Told) {
				t.Reads = map[string]*outbox.Trouble{"deals": {Why: "403", Since: ago(time.Hour)}}
			})
		}, "held: the CRM can't be asked about events of deals whose outcome is unknown, for 1h", true, false,
			[]string{"403", "give-up --object-type deals"}},
		{"a replay", func(s *Sight) {
			s.Status.Replays = []outbox.OpenReplay{{ID: 3, State: string(ReplayRunning), Events: 1000, Left: 800}}
		},
			"moving: 1,204 events under way or waiting", false, false,
			[]string{"replay 3 is running: 800 events to go of 1,000 events", "replay show 3"}},
		{"a replay that fails", func(s *Sight) {
			s.Status.Replays = []outbox.OpenReplay{{ID: 3, State: string(ReplayRunning), Events: 10, Left: 8, Failures: 2,
				Failure: "oh"}}
		}, "in trouble: replay 3 is running: 8 events to go of 10 events; 2 steps in a row failed", true, false,
			[]string{"oh"}},
		{"nobody knows why", func(s *Sight) { s.tell(func(t *outbox.Told) { t.Done = ago(5 * time.Minute) }) },
			"in trouble: 1,000 events wait in the stream, and nothing comes to its end, for 5m", true, true,
			[]string{"crmintake check"}},
		{"dead events", func(s *Sight) {
			idle(s)
			s.Status.Events = []outbox.EventCount{{ObjectType: "deals", Status: outbox.Dead, Events: 12}}
			s.Status.Groups = []Group{{Events: 10, ObjectType: "deals", Reason: "rejected", Property: "nmae",
				Error: "no such", Advice: "Rename it."}}
		}, "idle: nothing waits; 12 dead events need a person, 10 of them alike: deals, rejected, property nmae",
			true, false,
			[]string{"no such", "Rename it.", "crmintake dead groups"}},

		// What leads to others comes first, and what is broken before what is held.
		{"a full disk beside a pause", func(s *Sight) {
			pause(outbox.Pause{ObjectType: "*", Cause: "operator", Reason: "x", Since: ago(time.Hour)})(s)
			s.tell(func(t *outbox.Told) {
				t.Database = &outbox.Trouble{Kind: string(outbox.Full), Since: ago(time.Minute)}
				t.CRM = away
			})
		}, "in trouble: Postgres has no room left, for 1m", true, true, []string{"paused by a person",
			"faults of its own"}},
	} {
		s := well()
		c.change(&s)
		v := Judge(s)
		if v.Text != c.text || v.Person != c.person || v.Stopped != c.stopped {
			t.Errorf("%s: %s (person %v, stopped %v)\n\twant %s (%v, %v)", c.name, v.Text, v.Person, v.Stopped,
				c.text, c.person, c.stopped)
		}
		all := fmt.Sprintf("%+v", v.Findings)
		for _, want := range c.has {
			if !strings.Contains(all, want) {
				t.Errorf("%s: there is no %q in %s", c.name, want, all)
			}
		}
		if v.State != Moving && v.State != Idle && v.Do == "" {
			t.Errorf("%s: it does not say what to do", c.name)
		}
		for _, f := range v.Findings {
			if f.Do == "" || f.What == "" || f.Kind == "" {
				t.Errorf("%s: %+v", c.name, f)
			}
			// The words are shown to anybody.
			if public := f.What + f.Do; f.Why != "" && strings.Contains(public, f.Why) {
				t.Errorf("%s: %q is in %q", c.name, f.Why, public)
			}
		}
	}
}
