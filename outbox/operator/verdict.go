package operator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
)

// State is how things stand, in a word.
type State string

const (
	Moving  State = "moving"  // there is work, and nothing known is in its way
	Idle    State = "idle"    // there is none
	Held    State = "held"    // some or all of it is not to go on now, by somebody's or something's word
	Trouble State = "trouble" // something is broken
)

// States are all of them.
var States = []State{Moving, Idle, Held, Trouble}

// Verdict is what a Sight comes to. Its words are in verdict.go and findings.go, and nowhere else. Only Finding.Why
// holds what an error, an answer or a person said: all else may be shown to anybody.
type Verdict struct {
	At    time.Time `json:"at"` // by the clock of the Sight
	State State     `json:"state"`
	Text  string    `json:"text"`         // the first line
	Do    string    `json:"do,omitempty"` // what to do about it
	// Person says that something needs a person, and Stopped that nothing moves.
	Person   bool      `json:"needs_person"`
	Stopped  bool      `json:"stopped"`
	Findings []Finding `json:"findings"` // what leads to others first
}

// Finding is one thing that is in the way, or that a person had better know.
type Finding struct {
	State State     `json:"state"` // Held, Trouble, or Moving: it is in nobody's way
	Kind  string    `json:"kind"`
	What  string    `json:"what"`
	Why   string    `json:"why,omitempty"` // in the words of an error, an answer or a person
	Do    string    `json:"do,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // when it ends, or is tried again
	// Person says that it lasts until a person does something, and Stops that nothing moves meanwhile.
	Person bool `json:"needs_person,omitempty"`
	Stops  bool `json:"stops,omitempty"`
}

// Sight is all that a verdict is made of.
type Sight struct {
	At time.Time // now, by the clock of Status
	// Status is nil if the database can't be asked; Fault and FaultWhy say why. There may be a Fault beside it: of
	// what was to be written, since then.
	Status     *Status
	Fault      outbox.Fault
	FaultSince time.Time
	FaultWhy   string
	// Stream is nil if NATS can't be asked; StreamWhy says why, and StreamDo what to do.
	Stream              *Stream
	StreamWhy, StreamDo string
}

// Stream is what the stream holds for its consumer.
type Stream struct {
	Name             string
	Pending, Unacked int
	Paused           []PausedConsumer
	Stranded         int    // neither pending nor unacked: delivered to nobody
	StrandedDo       string // why, and what to do, if it is known here
}

// PausedConsumer is a consumer that NATS delivers nothing from, as somebody has told it.
type PausedConsumer struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}

// Judge says how things stand. It asks nobody, and says the same of the same sight.
func Judge(s Sight) Verdict {
	v := Verdict{At: s.At, Findings: []Finding{}}
	for _, look := range []func(*Sight) []Finding{
		database, locks, stream, accountPaused, crm, fleet, typesPaused, reading, settings, replays, stuck, dead,
	} {
		v.Findings = append(v.Findings, look(&s)...)
	}
	// What is broken comes before what is held back, what stops all before what stops some, and what needs a person
	// before what does not.
	rank := func(f Finding) int {
		n := 4 * slices.Index([]State{Trouble, Held, Moving}, f.State)
		if !f.Stops {
			n += 2
		}
		if !f.Person {
			n++
		}
		return n
	}
	slices.SortStableFunc(v.Findings, func(a, b Finding) int { return rank(a) - rank(b) })
	for _, f := range v.Findings {
		v.Person, v.Stopped = v.Person || f.Person, v.Stopped || f.Stops
	}
	if len(v.Findings) > 0 && v.Findings[0].State != Moving {
		first := v.Findings[0]
		v.State, v.Do = first.State, first.Do
		v.Text = v.word() + ": " + first.Line(s.At)
		return v
	}
	v.State = Idle
	text := "nothing waits"
	if s.Status == nil || s.Stream == nil {
		text = "how things stand is not known yet"
	} else if n := s.work(); n > 0 {
		v.State = Moving
		text = count(n, "event") + " under way or waiting"
		if next := s.next(); !next.IsZero() {
			text += fmt.Sprintf(", the next to be sent or asked about in %s", Short(next.Sub(s.At)))
		}
	}
	v.Text = v.word() + ": " + text
	for _, f := range v.Findings {
		if f.Person {
			v.Text += "; " + f.What
			v.Do = f.Do
			break
		}
	}
	return v
}

// word is the first of the first line.
func (v *Verdict) word() string {
	if v.State == Trouble {
		return "in trouble"
	}
	return string(v.State)
}

// Line is the finding in a line, at that time, without why and what to do.
func (f *Finding) Line(at time.Time) string {
	text := f.What
	if !f.Since.IsZero() {
		text += ", for " + Short(at.Sub(f.Since))
	}
	switch {
	case f.Until.IsZero():
	case f.Until.After(at):
		text += ", until a trial in " + Short(f.Until.Sub(at))
	default:
		text += ", and a trial is due"
	}
	return text
}

// work is how many events have not come to their end, as far as is known.
func (s *Sight) work() (n int64) {
	if s.Stream != nil {
		n += int64(s.Stream.Pending + s.Stream.Unacked)
	}
	if s.Status != nil {
		for _, e := range s.Status.Events {
			switch e.Status {
			case outbox.Sending, outbox.Retry, outbox.Unknown:
				n += e.Events
			}
		}
	}
	return n
}

// next is when there is something to do again, if all that there is waits for its time.
func (s *Sight) next() (at time.Time) {
	if s.Status == nil || s.Stream == nil || s.Stream.Pending+s.Stream.Unacked > 0 {
		return time.Time{}
	}
	for _, e := range s.Status.Events {
		switch {
		case e.Status == outbox.Sending || !e.Next.IsZero() && !e.Next.After(s.At):
			return time.Time{}
		case !e.Next.IsZero() && (at.IsZero() || e.Next.Before(at)):
			at = e.Next
		}
	}
	return at
}

// alive are the workers that are there.
func (s *Sight) alive() (list []outbox.Worker) {
	if s.Status != nil {
		for _, w := range s.Status.Workers {
			if w.Alive {
				list = append(list, w)
			}
		}
	}
	return list
}

// Short writes a time for people, as a verdict's words do: 42s, 12m, 3h, 2d.
func Short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// count writes a number of things: 1 event, 1,234 events.
func count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text + " " + thing
}

// listed names some things, and how many more there are.
func listed(names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 1:
		return names[0]
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}
